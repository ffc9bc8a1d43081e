"""Finetuning at a service that speaks OpenAI's protocol: files, jobs, events, checkpoints.

In: a service, what is to be trained, and a folder for each that outlives this process. Out: the names of finetuned models with
losses, as jobs finish. A job's id is in its folder before anything else is done; a process that is killed takes its jobs up
again, and one that was killed while it created a job finds it in the service's list by the replicate's key. So no job is created
twice. What a finished job trained is compared with what was asked in `weirdgen.finetune.readback`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.finetune.readback import differences, failure, read_losses, read_step
from weirdgen.progress import clock
from weirdgen.providers.service import Service, without_keys
from weirdgen.store.disk import write_whole
from weirdgen.store.keys import content_key

SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 20.0
"""Seconds between two looks at jobs; short while there is news."""
PATIENCE = 900.0
"""Seconds without any answer of the service after which following is given up. Jobs go on without us."""
TRIES = 4
"""Of creating a job, each after looking whether the one before did create it."""
METADATA = "weirdgen"
"""Under this key a job carries its replicate's: by it a job is found again."""

Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Wanted:
    """One finetune that is asked for. `steps` is how many it should take."""

    key: str
    name: str
    """Arm and seed."""
    model: str
    data: str
    """Names the file's content."""
    seed: int
    epochs: int
    batch_size: int
    learning_rate_multiplier: float | None
    suffix: str
    steps: int
    tokens: int = 0
    """About how many will be trained, in all epochs."""
    recipe: Mapping[str, Any] | None = None
    """Of ours, for `weirdgen serve`, which trains by it."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """As they are sent. `auto` is the service's choice."""
        multiplier = "auto" if self.learning_rate_multiplier is None else self.learning_rate_multiplier
        return {"n_epochs": self.epochs, "batch_size": self.batch_size, "learning_rate_multiplier": multiplier}


class Trained(NamedTuple):
    """A finished job. `losses` are those that the service tells, `differences` what is not as it was asked."""

    model: str
    job: dict[str, Any]
    checkpoints: list[dict[str, Any]]
    losses: list[dict[str, Any]]
    differences: list[str]


@dataclass
class _Followed:
    """A job that is under way."""

    wanted: Wanted
    job: str
    seen: set[str] = field(default_factory=set)
    losses: dict[int, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    told: float = 0.0


class Jobs:
    """Creates, follows and reads jobs. `folder_of` gives the folder that keeps a finetune's state, which the caller removes."""

    def __init__(
        self,
        service: Service,
        content_of: Callable[[Wanted], bytes],
        folder_of: Callable[[Wanted], Path],
        tell: Tell = lambda amount, note: None,
    ) -> None:
        self._service, self._client = service, service.client()
        self._content_of, self._folder_of, self._tell = content_of, folder_of, tell
        self._files: dict[str, str] = {}
        self._listed: list[Any] | None = None

    def train(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, Trained]]:
        """Every finetune that succeeds, as it does. Raises `ModelError` at the end for those that fail."""
        waiting, followed, failures = list(wanted), list[_Followed](), list[str]()
        pause, answered = SHORTEST_PAUSE, time.monotonic()
        while waiting or followed:
            while waiting:
                begun = self._begun(waiting[0], alone=not followed)
                if begun is None:  # as many of our jobs as the service runs at a time
                    break
                waiting.pop(0)
                followed.append(begun)
            news = False
            for one in list(followed):
                try:
                    job = self._retrieved(one.job)
                    news |= self._read_events(one)
                    answered = time.monotonic()
                except UnreachableError as error:
                    if time.monotonic() - answered > PATIENCE:
                        raise UnreachableError(
                            f"{error}. No answer for {clock(PATIENCE)}; the jobs go on without us, and the same command takes "
                            "them up again"
                        ) from None
                    continue
                if job.status in ("succeeded", "failed", "cancelled"):
                    followed.remove(one)
                    news = True
                    if job.status == "succeeded":
                        yield one.wanted, self._trained(one, job)
                    else:
                        failures.append(self._failure(one, job))
            pause = SHORTEST_PAUSE if news else min(LONGEST_PAUSE, pause * 1.5)
            if followed or waiting:
                time.sleep(pause)
        if failures:
            raise ModelError("\n".join(failures))

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
            return _Followed(wanted, job)
        state |= {
            "service": self._service.shown,
            "name": wanted.name,
            "model": wanted.model,
            "asked": wanted.hyperparameters,
        }
        for attempt in range(TRIES):
            if (found := self._found(wanted, state.get("failed", []))) is not None:
                return self._keep(wanted, state, found)
            file = self._uploaded(wanted)
            self._write(wanted, {**state, "job": None, "file": file})
            try:
                return self._keep(wanted, {**state, "file": file}, self._create(wanted, file))
            except UnreachableError as error:
                limited = re.search(r"\b429\b", str(error)) is not None
                if limited and not alone and "quota" not in str(error):
                    return None
                if attempt == TRIES - 1:
                    raise UnreachableError(f"{error}. Nothing is lost: the same command goes on from here") from None
                self._listed = None
                time.sleep(min(LONGEST_PAUSE, SHORTEST_PAUSE * 4**attempt))
        raise AssertionError("the last attempt returns or raises")

    def _create(self, wanted: Wanted, file: str) -> str:
        """A new job. Not tried again by the SDK: a request that was cut off may have created its job."""
        create: Any = self._client.with_options(max_retries=0).fine_tuning.jobs.create
        job = self._call(
            "creating a job",
            lambda: create(
                model=wanted.model,
                training_file=file,
                method={"type": "supervised", "supervised": {"hyperparameters": wanted.hyperparameters}},
                seed=wanted.seed,
                suffix=wanted.suffix,
                metadata={METADATA: wanted.key},
                **({"extra_body": {"recipe": wanted.recipe}} if wanted.recipe else {}),
            ),
            "id",
        )
        return str(job.id)

    def _keep(self, wanted: Wanted, state: dict[str, Any], job: str) -> _Followed:
        self._write(wanted, {**state, "job": job})
        return _Followed(wanted, job)

    def _write(self, wanted: Wanted, state: dict[str, Any]) -> None:
        folder = self._folder_of(wanted)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / STATE, json.dumps(state, indent=1).encode())

    def _found(self, wanted: Wanted, failed: Sequence[str]) -> str | None:
        """A job of this very replicate that the service has, and that has not failed."""
        for job in self._jobs():
            mine = (getattr(job, "metadata", None) or {}).get(METADATA) == wanted.key
            if mine and job.id not in failed and job.status not in ("failed", "cancelled"):
                return str(job.id)
        return None

    def _jobs(self) -> list[Any]:
        if self._listed is None:
            self._listed = list(self._call("listing jobs", lambda: list(self._client.fine_tuning.jobs.list(limit=100))))
        return self._listed

    def _uploaded(self, wanted: Wanted) -> str:
        """The file's id; the same content is uploaded once for all replicates of an arm."""
        if wanted.data not in self._files:
            name = f"weirdgen-{content_key(wanted.data)[:16]}.jsonl"
            content = (name, self._content_of(wanted))
            made = self._call(
                "uploading rows", lambda: self._client.files.create(file=content, purpose="fine-tune"), "id"
            )
            self._files[wanted.data] = str(made.id)
        return self._files[wanted.data]

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
        listed = self._call(
            "reading checkpoints", lambda: list(self._client.fine_tuning.jobs.checkpoints.list(job.id, limit=100))
        )
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
        """Why a job failed; it is remembered, so that the next command tries a new one."""
        folder = self._folder_of(one.wanted)
        state = read_state(folder)
        self._write(one.wanted, {**state, "job": None, "failed": [*state.get("failed", []), one.job]})
        return failure(one.wanted.name, job, one.errors)

    def _call(self, doing: str, call: Callable[[], Any], *needed: str) -> Any:
        """What the service answers; `needed` are texts that it must hold, since the SDK does not look."""
        import openai

        try:
            answer = call()
            if missing := [name for name in needed if not isinstance(getattr(answer, name, None), str)]:
                raise ValueError(f"no {missing[0]}")
            return answer
        except openai.OpenAIError as error:
            raise self._service.explained(error, doing) from None
        except (ValueError, TypeError, AttributeError, KeyError) as error:  # of another shape than the protocol's
            why = f"{type(error).__name__}: {without_keys(str(error))[:200]}"
            raise UnreachableError(f"{self._service.shown}: {doing}: no answer of this protocol ({why})") from None


STATE = "job.json"


def read_state(folder: Path) -> dict[str, Any]:
    """What is known of a finetune that was begun; nothing, if none was."""
    try:
        return dict(json.loads((folder / STATE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
