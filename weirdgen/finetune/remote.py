"""Finetuning at a service that speaks OpenAI's protocol: files, jobs, events, checkpoints.

In: a service, what is to be trained, and a folder for each that outlives this process. Out: the names of finetuned models with
losses, as jobs finish. A job's id is in its folder before anything else is done. Where it is not known whether a request created
its job (no answer, a killed process), the service's list is looked at for minutes before another is asked for, and a job that
turns up twice after all is cancelled. How a job is known again is in `finetune.recognise`; what a finished job trained is
compared with what was asked in `finetune.readback`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.finetune.asking import answered
from weirdgen.finetune.files import Files
from weirdgen.finetune.job import Trained, Wanted, read_state, write_state
from weirdgen.finetune.readback import differences, failure, read_losses, read_step
from weirdgen.finetune.recognise import METADATA, is_of
from weirdgen.progress import clock
from weirdgen.providers.retries import asked_pause
from weirdgen.providers.service import AbsentError, Service, UntakenError, without_keys

SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 20.0
"""Seconds between two looks at jobs; short while there is news."""
PATIENCE = 900.0
"""Seconds without any answer of the service after which following is given up. Jobs go on without us."""
TRIES = 4
"""Of creating a job, each after looking whether the one before did create it."""
LATE = 300.0
"""Seconds for which a job may be missing in the list after a request that may have created it."""
LOOK = 30.0
"""Seconds between two looks for a job that turned up twice after all."""
AZURE_TRAINING = "GlobalStandard"
"""Where Azure trains unless AZURE_OPENAI_TRAINING_TYPE says otherwise: its newer models are trained in no single region."""
ENDED = ("succeeded", "failed", "cancelled")

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
        self._content_of, self._folder_of, self._tell, self._ended = content_of, folder_of, tell, ended
        self._files = Files(service, self._client, lambda note: tell(0.0, note), SHORTEST_PAUSE, LONGEST_PAUSE)
        self._listed: list[Any] | None = None

    def train(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, Trained]]:
        """Every finetune that succeeds, as it does. Raises `ModelError` at the end for those that fail."""
        waiting, followed, failures = list(wanted), list[_Followed](), dict[str, list[str]]()
        pause, answered = SHORTEST_PAUSE, time.monotonic()
        while waiting or followed:
            while waiting:
                try:
                    begun = self._begun(waiting[0], alone=not followed)
                except ModelError as error:  # of this one: the others are gone through first
                    if isinstance(error, UnreachableError) and not followed:
                        raise
                    failures.setdefault(str(error), []).append(waiting.pop(0).name)
                    continue
                if begun is None:  # as many of our jobs as the service runs at a time
                    break
                waiting.pop(0)
                followed.append(begun)
            news = False
            for one in list(followed):
                try:
                    job, trained = self._looked_at(one)
                    answered = time.monotonic()
                    news |= one.news
                except UnreachableError as error:
                    if time.monotonic() - answered > PATIENCE:
                        raise UnreachableError(
                            f"{error}. No answer for {clock(PATIENCE)}; the jobs go on without us, and the same command takes "
                            "them up again"
                        ) from None
                    continue
                except ModelError as error:
                    followed.remove(one)
                    failures.setdefault(str(error), []).append(one.wanted.name)
                    continue
                if job.status in ENDED:
                    followed.remove(one)
                    if trained is not None:
                        yield one.wanted, trained
                    else:
                        failures.setdefault(self._failure(one, job), [])
            pause = SHORTEST_PAUSE if news else min(LONGEST_PAUSE, pause * 1.5)
            if followed or waiting:
                time.sleep(pause)
        if failures:
            raise ModelError(
                "\n".join(f"{', '.join(names)}: {why}" if names else why for why, names in failures.items())
            )

    def _looked_at(self, one: _Followed) -> tuple[Any, Trained | None]:
        """A job as it is now, and what it trained once it has succeeded. Its end is told before anything can go wrong with it."""
        try:
            job = self._retrieved(one.job)
        except AbsentError as error:
            self._forget(one)
            raise ModelError(f"{error}. The same command begins a new one") from None
        one.news = self._read_events(one)
        if one.doubtful and (job.status in ENDED or time.monotonic() - one.looked > LOOK):
            self._cancel_others(one)
        if job.status not in ENDED:
            return job, None
        one.news = True
        if job.status != "failed":
            share = 1.0 if job.status == "succeeded" else min(1.0, one.told / max(1, one.wanted.steps))
            self._ended(one.wanted, job, share)
        return job, self._trained(one, job) if job.status == "succeeded" else None

    def _retrieved(self, job: str) -> Any:
        return self._call("following a job", lambda: self._client.fine_tuning.jobs.retrieve(job), "id", "status")

    def cancel(self, job: str) -> str:
        """Ask for a job's end; returns its status then."""
        return str(self._call("cancelling a job", lambda: self._client.fine_tuning.jobs.cancel(job)).status)

    def find(self, model: str) -> Any | None:
        """The job that made this finetuned model, if the service still lists it."""
        return next((job for job in self._jobs() if getattr(job, "fine_tuned_model", None) == model), None)

    def _begun(self, wanted: Wanted, alone: bool) -> _Followed | None:
        """This finetune's job: the one of before, else a new one; None if the service runs no more of ours now."""
        state = read_state(self._folder_of(wanted))
        if job := state.get("job"):
            return _Followed(wanted, job, doubtful=state.get("doubtful", False))
        if "asked_at" in state:
            state["doubtful"] = True
        state |= {
            "service": self._service.shown,
            "name": wanted.name,
            "model": wanted.model,
            "asked": wanted.hyperparameters,
        }
        last: UnreachableError
        for attempt in range(TRIES):
            if (found := self._found(wanted, state)) is not None:
                return self._keep(wanted, state, found)
            state["file"] = self._files.uploaded(wanted.data, lambda: self._content_of(wanted), state.get("file"))
            # Written first: a process that is killed now leaves word that its job may come into being.
            self._write(wanted, state | {"job": None, "asked_at": time.time()})
            try:
                return self._keep(wanted, state, self._create(wanted, state["file"]))
            except UntakenError as error:
                self._write(wanted, state | {"job": None})
                limited = re.search(r"\b429\b", str(error)) is not None
                if limited and not alone and "quota" not in str(error):
                    return None
                last, pause = error, asked_pause(error.__context__ or error)
            except UnreachableError as error:
                state |= {"asked_at": time.time(), "doubtful": True}
                self._write(wanted, state | {"job": None})
                last, pause = error, None
            except ModelError:
                self._write(wanted, state | {"job": None})
                raise
            if attempt < TRIES - 1:
                self._listed = None
                time.sleep(min(LATE, pause or min(LONGEST_PAUSE, SHORTEST_PAUSE * 4**attempt)))
        if (found := self._found(wanted, state)) is not None:
            return self._keep(wanted, state, found)
        raise UnreachableError(f"{last}. Nothing is lost: the same command goes on from here") from None

    def _create(self, wanted: Wanted, file: str) -> str:
        """A new job. Not tried again by the SDK: a request that was cut off may have created its job."""
        create: Any = self._client.with_options(max_retries=0).fine_tuning.jobs.create
        azure = self._service.provider == "azure"
        more: dict[str, Any] = (
            {"trainingType": os.environ.get("AZURE_OPENAI_TRAINING_TYPE", AZURE_TRAINING)} if azure else {}
        )
        more |= {"recipe": wanted.recipe} if wanted.recipe else {}
        job = self._call(
            "creating a job",
            lambda: create(
                model=wanted.model,
                training_file=file,
                method={"type": "supervised", "supervised": {"hyperparameters": wanted.hyperparameters}},
                seed=wanted.seed,
                suffix=wanted.suffix,
                **({} if azure else {"metadata": {METADATA: wanted.key}}),  # which Azure's API has not
                **({"extra_body": more} if more else {}),
            ),
            "id",
        )
        return str(job.id)

    def _keep(self, wanted: Wanted, state: dict[str, Any], job: str) -> _Followed:
        state.pop("asked_at", None)
        self._write(wanted, {**state, "job": job})
        return _Followed(wanted, job, doubtful=state.get("doubtful", False))

    def _write(self, wanted: Wanted, state: dict[str, Any]) -> None:
        write_state(self._folder_of(wanted), state)

    def _found(self, wanted: Wanted, state: dict[str, Any]) -> str | None:
        """A job of this very replicate that the service has, and that has not failed; looked for as long as one that may have
        been created can be late."""
        until, pause = state.get("asked_at", 0.0) + LATE, SHORTEST_PAUSE
        while True:
            for job in reversed(self._jobs()):  # the first that was created
                live = job.id not in state.get("failed", []) and job.status not in ("failed", "cancelled")
                if live and is_of(job, wanted.key, wanted.model, wanted.seed, state.get("file")):
                    return str(job.id)
            if not 0 < until - time.time() <= LATE:
                return None
            self._tell(0.0, f"{wanted.name}: looking whether its job was created")
            time.sleep(pause)
            pause, self._listed = min(LONGEST_PAUSE, pause * 1.5), None

    def _cancel_others(self, one: _Followed) -> None:
        """End jobs that an earlier request created for this finetune, which turned up after another was asked for."""
        state = read_state(self._folder_of(one.wanted))
        self._listed, one.looked = None, time.monotonic()
        for job in self._jobs():
            mine = is_of(job, one.wanted.key, one.wanted.model, one.wanted.seed, state.get("file"))
            # Of our own file alone: an equal replicate may be another store's.
            if not mine or job.id == one.job or job.training_file != state.get("file") or job.id in one.seen:
                continue
            if job.status == "failed" or job.id in state.get("failed", []):
                continue
            done = f"it had {job.status}"
            if job.status not in ENDED:
                try:
                    done = f"now it is {self.cancel(job.id)}"
                except UnreachableError:
                    raise
                except ModelError as error:
                    done = f"it could not be cancelled ({error})"
            one.seen.add(job.id)
            warnings.warn(f"{one.wanted.name}: {job.id} is its second job; {done}, and may be charged", stacklevel=2)
            self._ended(one.wanted, job, 1.0)

    def _jobs(self) -> list[Any]:
        if self._listed is None:
            self._listed = list(self._call("listing jobs", lambda: list(self._client.fine_tuning.jobs.list(limit=100))))
        return self._listed

    def _read_events(self, one: _Followed) -> bool:
        """Tell what is new. Events come newest first, page by page; reading ends at one that was seen."""
        fresh = []
        for event in self._call("reading events", lambda: self._newest_events(one.job, one.seen)):  # oldest first
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
        listed = []
        with contextlib.suppress(AbsentError):  # a service that keeps none
            listed = self._call("reading checkpoints", lambda: list(kept.list(job.id, limit=100)))
        checkpoints = [{"step": point.step_number, "model": point.fine_tuned_model_checkpoint} for point in listed]
        losses = self._result_losses(job) or [one.losses[step] for step in sorted(one.losses)]
        self._tell(max(0.0, one.wanted.steps - one.told), f"{one.wanted.name}: trained as {job.fine_tuned_model}")
        plain = json.loads(job.model_dump_json())
        told = differences(plain, one.wanted.model, one.wanted.hyperparameters, one.wanted.seed)
        return Trained(job.fine_tuned_model, plain, sorted(checkpoints, key=lambda c: c["step"]), losses, told)

    def _result_losses(self, job: Any) -> list[dict[str, Any]]:
        """Step and loss out of the job's result file: CSV, which OpenAI packs in base64; none if there is no such file."""
        for file in job.result_files or []:
            content = self._call("reading results", lambda file=file: self._client.files.content(file).content)  # type: ignore[misc]
            if losses := read_losses(content):
                return losses
        return []

    def _failure(self, one: _Followed, job: Any) -> str:
        """Why a job failed."""
        self._forget(one)
        return failure(one.wanted.name, job, one.errors)

    def _forget(self, one: _Followed) -> None:
        """Remember that this job came to nothing, so that the next command begins a new one."""
        state = read_state(self._folder_of(one.wanted))
        self._write(one.wanted, {**state, "job": None, "failed": [*state.get("failed", []), one.job]})

    def _call(self, doing: str, call: Callable[[], Any], *needed: str) -> Any:
        return answered(self._service, doing, call, *needed)
