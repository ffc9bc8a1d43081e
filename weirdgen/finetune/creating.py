"""A job for each finetune, created once whatever becomes of a request, its answer or this process.

In: what is to be trained, a folder that keeps its state, a service. Out: the job's id, which is in that folder before anything
else is done. Where it is not known whether a request created its job (no answer, a killed process), the service's list is looked
at for minutes before another is asked for, and a job that turns up twice after all is cancelled. In that list a job is known by
its metadata, which hold the replicate's key; services that drop those may keep the suffix, which ends with the key's first
characters; else its file and seed say it. Following a job is `finetune.remote`.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen.errors import ModelError, UnreachableError
from weirdgen.finetune.asking import answered
from weirdgen.finetune.files import Files
from weirdgen.finetune.job import ENDED, Wanted, forget_job, read_state, write_state
from weirdgen.finetune.readback import is_model
from weirdgen.providers.retries import asked_pause
from weirdgen.providers.service import Service, UntakenError

TRIES = 4
"""Of creating a job, each after looking whether the one before did create it."""
LATE = 300.0
"""Seconds for which a job may be missing in the list after a request that may have created it."""
AZURE_TRAINING = "GlobalStandard"
"""Where Azure trains unless AZURE_OPENAI_TRAINING_TYPE says otherwise: its newer models are trained in no single region."""
METADATA = "weirdgen"
"""Under this key a job carries its replicate's."""
SHORT = 8
"""Characters of a replicate's key that end a suffix."""


class Begun(NamedTuple):
    """The job of a finetune. `doubtful`: an earlier request may have created another."""

    job: str
    doubtful: bool


class Creator:
    """Creates jobs at one service. `pauses`: seconds between two tries, at first and at most."""

    def __init__(
        self,
        service: Service,
        content_of: Callable[[Wanted], bytes],
        folder_of: Callable[[Wanted], Path],
        tell: Callable[[str], None],
        *pauses: float,
    ) -> None:
        self._service, self._client = service, service.client()
        self._content_of, self._folder_of, self._tell, self._pauses = content_of, folder_of, tell, pauses
        self._files = Files(service, self._client, tell, *pauses)
        self._listed: list[Any] | None = None

    def begun(self, wanted: Wanted, alone: bool) -> Begun | None:
        """This finetune's job: the one of before, else a new one; None if the service runs no more of ours now."""
        state = read_state(self._folder_of(wanted))
        if job := state.get("job"):
            return Begun(job, state.get("doubtful", False))
        if "asked_at" in state:
            state["doubtful"] = True
        state |= {
            "service": self._service.shown,
            "name": wanted.name,
            "model": wanted.model,
            "asked": wanted.hyperparameters,
        }
        shortest, longest = self._pauses
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
                time.sleep(min(LATE, pause or min(longest, shortest * 4**attempt)))
        if (found := self._found(wanted, state)) is not None:
            return self._keep(wanted, state, found)
        raise UnreachableError(f"{last}. Nothing is lost: the same command goes on from here") from None

    def cancel(self, job: str) -> str:
        """Ask for a job's end; returns its status then."""
        return str(self._call("cancelling a job", lambda: self._client.fine_tuning.jobs.cancel(job)).status)

    def cancel_others(self, wanted: Wanted, job: str, seen: set[str]) -> Iterator[Any]:
        """End jobs that an earlier request created for this finetune, which turned up after another was asked for. Each is given,
        since it may be charged, and added to `seen`; those that are there already are left alone."""
        state = read_state(self._folder_of(wanted))
        self._listed = None
        for other in self.listed():
            # Of our own file alone: an equal replicate may be another store's.
            mine = _is_of(other, wanted, state.get("file")) and other.training_file == state.get("file")
            if not mine or other.id == job or other.id in seen:
                continue
            if other.status == "failed" or other.id in state.get("failed", []):
                continue
            done = f"it had {other.status}"
            if other.status not in ENDED:
                try:
                    done = f"now it is {self.cancel(other.id)}"
                except UnreachableError:
                    raise
                except ModelError as error:
                    done = f"it could not be cancelled ({error})"
            seen.add(other.id)
            warnings.warn(f"{wanted.name}: {other.id} is its second job; {done}, and may be charged", stacklevel=2)
            yield other

    def listed(self) -> list[Any]:
        """All jobs that the service lists, the newest first."""
        if self._listed is None:
            self._listed = list(self._call("listing jobs", lambda: list(self._client.fine_tuning.jobs.list(limit=100))))
        return self._listed

    def lists(self, job: str) -> bool:
        """Whether the service lists this job now."""
        self._listed = None
        return any(other.id == job for other in self.listed())

    def lose(self, wanted: Wanted) -> None:
        """Remember that this finetune's job is not to be seen. It may be there all the same, so the list is asked before another
        is created, and again while that one is under way."""
        self._write(wanted, {**read_state(self._folder_of(wanted)), "job": None, "doubtful": True})

    def forget(self, wanted: Wanted, job: str) -> None:
        """Remember that this job came to nothing, so that the next command begins a new one."""
        forget_job(self._folder_of(wanted), job)

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

    def _keep(self, wanted: Wanted, state: dict[str, Any], job: str) -> Begun:
        state.pop("asked_at", None)
        self._write(wanted, {**state, "job": job})
        return Begun(job, state.get("doubtful", False))

    def _write(self, wanted: Wanted, state: dict[str, Any]) -> None:
        write_state(self._folder_of(wanted), state)

    def _found(self, wanted: Wanted, state: dict[str, Any]) -> str | None:
        """A job of this very replicate that the service has, and that has not failed; looked for as long as one that may have
        been created can be late."""
        until, (pause, longest) = state.get("asked_at", 0.0) + LATE, self._pauses
        while True:
            for job in reversed(self.listed()):  # the first that was created
                live = job.id not in state.get("failed", []) and job.status not in ("failed", "cancelled")
                if live and _is_of(job, wanted, state.get("file")):
                    return str(job.id)
            if not 0 < until - time.time() <= LATE:
                return None
            self._tell(f"{wanted.name}: looking whether its job was created")
            time.sleep(pause)
            pause, self._listed = min(longest, pause * 1.5), None

    def _call(self, doing: str, call: Callable[[], Any], *needed: str) -> Any:
        return answered(self._service, doing, call, *needed)


def _is_of(job: Any, wanted: Wanted, file: str | None) -> bool:
    """Whether a job trains this replicate. `file`: the id of its own rows, if they were uploaded."""
    if (told := (getattr(job, "metadata", None) or {}).get(METADATA)) is not None:
        return bool(told == wanted.key)
    suffix = getattr(job, "user_provided_suffix", None) or getattr(job, "suffix", None)
    if isinstance(suffix, str):
        return suffix.endswith(wanted.key[:SHORT])
    same_base = is_model(getattr(job, "model", None), wanted.model)
    return bool(file and job.training_file == file and same_base and getattr(job, "seed", None) == wanted.seed)
