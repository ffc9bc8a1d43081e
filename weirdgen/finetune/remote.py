"""Finetuning at a service that speaks OpenAI's protocol: jobs, their events and checkpoints.

In: a service, what is to be trained, and a folder for each that outlives this process. Out: the names of finetuned models with
losses, as jobs finish. That each finetune has one job, and pays for one, is `finetune.creating`; what a finished job trained is
compared with what was asked in `finetune.readback`.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.finetune.asking import answered
from weirdgen.finetune.creating import Creator
from weirdgen.finetune.job import ENDED, Trained, Wanted
from weirdgen.finetune.readback import differences, failure, read_losses, read_step
from weirdgen.progress import clock
from weirdgen.providers.service import AbsentError, Service, without_keys

SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 20.0
"""Seconds between two looks at jobs; short while there is news."""
PATIENCE = 900.0
"""Seconds without any answer of the service after which following is given up. Jobs go on without us."""
LOOK = 30.0
"""Seconds between two looks for a job that turned up twice after all."""
EVENTS = "reading events"

Tell = Callable[[float, str], None]
Ended = Callable[[Wanted, Any, float], None]
"""Told of each job that has ended and may be charged: (whose, the job, share of its steps that was trained)."""


@dataclass
class _Followed:
    """A job that is under way."""

    wanted: Wanted
    job: str
    seen: set[str] = field(default_factory=set)
    losses: dict[int, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    told: float = 0.0
    doubtful: bool = False
    """Whether an earlier request may have created its job too."""
    looked: float = 0.0
    news: bool = False


class Jobs:
    """Creates, follows and reads jobs. `folder_of` gives the folder that keeps a finetune's state, which the caller removes."""

    def __init__(
        self,
        service: Service,
        content_of: Callable[[Wanted], bytes],
        folder_of: Callable[[Wanted], Path],
        tell: Tell = lambda amount, note: None,
        ended: Ended = lambda wanted, job, share: None,
    ) -> None:
        self._service, self._client = service, service.client()
        self._tell, self._ended = tell, ended
        pauses = (SHORTEST_PAUSE, LONGEST_PAUSE)
        self._refused: set[str] = set()
        """What the service has not, of what jobs can do without."""
        self._creator = Creator(service, content_of, folder_of, lambda note: tell(0.0, note), *pauses)

    def train(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, Trained]]:
        """Every finetune that succeeds, as it does. Raises `ModelError` at the end for those that fail."""
        waiting, followed, failures = list(wanted), list[_Followed](), dict[str, list[str]]()
        pause, answered = SHORTEST_PAUSE, time.monotonic()
        while waiting or followed:
            while waiting:
                try:
                    begun = self._creator.begun(waiting[0], alone=not followed)
                except ModelError as error:  # of this one: the others are gone through first
                    if isinstance(error, UnreachableError) and not followed:
                        raise UnreachableError(_listing(failures, f"{waiting[0].name}: {error}")) from None
                    failures.setdefault(str(error), []).append(waiting.pop(0).name)
                    continue
                finally:
                    answered = time.monotonic()  # it may have taken minutes, in which no job was looked at
                if begun is None:  # as many of our jobs as the service runs at a time
                    break
                followed.append(_Followed(waiting.pop(0), begun.job, doubtful=begun.doubtful))
            news = False
            for one in list(followed):
                try:
                    job, trained = self._looked_at(one)
                    answered = time.monotonic()
                    news |= one.news
                except UnreachableError as error:
                    if time.monotonic() - answered > PATIENCE:
                        why = f"{error}. No answer for {clock(PATIENCE)}; the jobs go on without us, and the same command "
                        raise UnreachableError(_listing(failures, f"{why}takes them up again")) from None
                    continue
                except ModelError as error:
                    followed.remove(one)
                    failures.setdefault(str(error), []).append(one.wanted.name)
                    continue
                if job.status in ENDED:
                    followed.remove(one)
                    if trained is not None:
                        yield one.wanted, trained
                        answered = time.monotonic()  # as may what was done with it
                    else:
                        failures.setdefault(self._failure(one, job), [])
            pause = SHORTEST_PAUSE if news else min(LONGEST_PAUSE, pause * 1.5)
            if followed or waiting:
                time.sleep(pause)
        if failures:
            raise ModelError(_listing(failures))

    def _looked_at(self, one: _Followed) -> tuple[Any, Trained | None]:
        """A job as it is now, and what it trained once it has succeeded. Its end is told before anything can go wrong with it."""
        try:
            job = self._retrieved(one.job)
        except AbsentError as error:
            if self._creator.lists(one.job):  # not everything there is up to date at once
                raise UnreachableError(str(error)) from None
            self._creator.lose(one.wanted)
            raise ModelError(
                f"{error}, nor is it in the list that this key sees. The same command looks there again, and begins a new one if "
                "it is not there then: with a key of another project that would be a second one"
            ) from None
        try:
            one.news = self._read_events(one)
        except UnreachableError:  # the job itself did answer, and says why it failed; losses may be in its result file
            one.news = False
            if job.status == "succeeded" and not self._result_losses(job):
                raise
        if one.doubtful and (job.status in ENDED or time.monotonic() - one.looked > LOOK):
            one.looked = time.monotonic()
            for other in self._creator.cancel_others(one.wanted, one.job, one.seen):
                self._ended(one.wanted, other, 1.0)
        if job.status not in ENDED:
            return job, None
        one.news = True
        if job.status != "failed":
            whole = job.status == "succeeded" or EVENTS in self._refused
            share = 1.0 if whole else min(1.0, one.told / max(1, one.wanted.steps))
            self._ended(one.wanted, job, share)
        return job, self._trained(one, job) if job.status == "succeeded" else None

    def _retrieved(self, job: str) -> Any:
        return self._call("following a job", lambda: self._client.fine_tuning.jobs.retrieve(job), "id", "status")

    def cancel(self, job: str) -> str:
        """Ask for a job's end; returns its status then."""
        return self._creator.cancel(job)

    def find(self, model: str) -> Any | None:
        """The job that made this finetuned model, if the service still lists it."""
        return next((job for job in self._creator.listed() if getattr(job, "fine_tuned_model", None) == model), None)

    def _read_events(self, one: _Followed) -> bool:
        """Tell what is new. Events come newest first, page by page; reading ends at one that was seen."""
        fresh = []
        for event in self._optional(EVENTS, lambda: self._newest_events(one.job, one.seen)) or []:  # oldest first
            one.seen.add(event.id)
            fresh.append(event)
            step, total, loss = read_step(event)
            if step is not None and loss is not None:
                one.losses[step] = {"step": step, "loss": loss}
            if event.level == "error":
                one.errors.append(event.message)
            said = f"{one.wanted.name}: {without_keys(event.message or '')[:80]}"
            if step is not None and total:
                amount = one.wanted.steps * min(step, total) / total
                self._tell(max(0.0, amount - one.told), said)
                one.told = max(amount, one.told)
            else:
                self._tell(0.0, said)
        return bool(fresh)

    def _newest_events(self, job: str, seen: set[str]) -> list[Any]:
        fresh = []
        for event in self._client.fine_tuning.jobs.list_events(job, limit=100):
            if event.id in seen:
                break
            fresh.append(event)
        return fresh[::-1]

    def _trained(self, one: _Followed, job: Any) -> Trained:
        if not job.fine_tuned_model:
            raise ModelError(f"{self._service.shown}: job {job.id} succeeded and names no model; look at it there")
        kept = self._client.fine_tuning.jobs.checkpoints
        listed = self._optional("reading checkpoints", lambda: list(kept.list(job.id, limit=100))) or []
        checkpoints = [{"step": point.step_number, "model": point.fine_tuned_model_checkpoint} for point in listed]
        losses = self._result_losses(job) or [one.losses[step] for step in sorted(one.losses)]
        self._tell(max(0.0, one.wanted.steps - one.told), f"{one.wanted.name}: trained as {job.fine_tuned_model}")
        plain = json.loads(job.model_dump_json())
        told = differences(plain, one.wanted.model, one.wanted.hyperparameters, one.wanted.seed)
        return Trained(job.fine_tuned_model, plain, sorted(checkpoints, key=lambda c: c["step"]), losses, told)

    def _result_losses(self, job: Any) -> list[dict[str, Any]]:
        """Step and loss out of the job's result file: CSV, which OpenAI packs in base64; none if there is no such file."""
        for file in job.result_files or []:
            content = self._optional("reading results", lambda file=file: self._client.files.content(file).content)  # type: ignore[misc]
            if content and (losses := read_losses(content)):
                return losses
        return []

    def _failure(self, one: _Followed, job: Any) -> str:
        """Why a job failed."""
        self._creator.forget(one.wanted, one.job)
        return failure(one.wanted.name, job, one.errors)

    def _optional(self, doing: str, call: Callable[[], Any]) -> Any | None:
        """What a paid job is of use without; None where the service refuses it, which is told once."""
        try:
            return self._call(doing, call)
        except UnreachableError:  # another try may well succeed
            raise
        except ModelError as error:
            if doing not in self._refused:
                self._refused.add(doing)
                warnings.warn(f"{error}. Jobs are taken without; losses are kept as far as they are told", stacklevel=2)
            return None

    def _call(self, doing: str, call: Callable[[], Any], *needed: str) -> Any:
        return answered(self._service, doing, call, *needed)


def _listing(failures: Mapping[str, Sequence[str]], *last: str) -> str:
    """A line for each reason, with those that failed for it."""
    return "\n".join([*(f"{', '.join(names)}: {why}" if names else why for why, names in failures.items()), *last])
