"""Finetuning jobs and their events: what was asked, how far it is, what came out; all of it on disk.

In: accepted requests, and what the trainer reports. Out: job, event and checkpoint objects as OpenAI's API shows them. Trains
nothing (`weirdgen.serve.training`). A job's states: validating_files → queued → running → succeeded, failed or cancelled.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weirdgen.config.experiment import Recipe
from weirdgen.errors import StoreError
from weirdgen.parsing import split_lines
from weirdgen.serve.disk import Records
from weirdgen.serve.hyperparameters import Hyperparameters, shown_hyperparameters
from weirdgen.serve.limits import Limits
from weirdgen.serve.problems import TOO_MANY, ApiError, bad, missing
from weirdgen.store.disk import explain_disk_errors

ACTIVE = ("validating_files", "queued", "running")
EVENTS = "events.jsonl"


@dataclass(frozen=True)
class Checkpoint:
    """An adapter kept after `step` optimizer steps; `loss` is the mean over that step's trained tokens."""

    id: str
    model: str
    step: int
    loss: float
    folder: str
    """In the job's adapter artifact."""
    valid_loss: float | None = None
    """Of the validation file, if there is one."""


@dataclass(frozen=True)
class Job:
    """One finetune. A change makes another `Job`; the book keeps the present one."""

    id: str
    model: str
    training_file: str
    suffix: str
    seed: int
    hyperparameters: dict[str, Any]
    """As asked, `auto` included."""
    changes: dict[str, Any]
    """Fields of the recipe that were asked for beside them."""
    created_at: float
    metadata: dict[str, str] | None = None
    validation_file: str | None = None
    status: str = "validating_files"
    finished_at: int | None = None
    error: dict[str, Any] | None = None
    digest: str = ""
    """Of the base's files: a base that has changed since does not answer with this adapter."""
    key: str = ""
    """Of the adapter in the store."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """What the key is made of."""
    rows: int = 0
    tokens: int = 0
    """Of all rows, in one epoch."""
    steps: int = 0
    group: tuple[str, ...] = ()
    """Jobs that train together, so that a restarted server goes on with the same ones."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """The last one is the finetuned model."""
    result_files: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def recipe(self) -> Recipe:
        """Of a job whose file has been read. Raises `ApiError` if it is not one of this version of weirdgen."""
        try:
            return Recipe.model_validate(self.inputs["recipe"])
        except ValidationError as error:
            why = "; ".join(".".join(map(str, one["loc"])) for one in error.errors())
            raise bad(
                f"another version of weirdgen made this job, with a recipe that this one does not know ({why})"
            ) from None

    @property
    def tuned_model(self) -> str:
        """The id of the model that it makes."""
        return f"ft:{self.model}:{self.suffix}:{self.id.removeprefix('ftjob-')}"


@dataclass
class Progress:
    """How far a running job is; kept in memory, as the training itself would start again from its own state."""

    step: int
    seconds_left: float


class Jobs:
    """All jobs of a server. Safe to use from several threads; `changed` is notified at every change."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._records, self._limits = Records(folder, "ftjob-"), limits
        self.changed = threading.Condition(threading.RLock())
        self._jobs = {name: _read(record) for name, record in self._records.read_all()}
        self._events = {name: self._read_events(name) for name in self._jobs}
        self.progress: dict[str, Progress] = {}
        self.version = 0
        """Another number after each change of a job."""
        for job in self._jobs.values():
            if job.status == "running":
                self.say(job.id, "The server was started again; the training goes on.", "warn")

    def create(
        self,
        model: str,
        training_file: str,
        suffix: str,
        seed: int,
        hyperparameters: Hyperparameters,
        changes: dict[str, Any],
        metadata: dict[str, str] | None,
        validation_file: str | None,
    ) -> Job:
        """Raises `ApiError` 429 if too many jobs wait, `StoreError` on a full disk."""
        with self.changed:
            if sum(job.active for job in self._jobs.values()) >= self._limits.jobs_waiting:
                message = f"{self._limits.jobs_waiting} jobs are waiting or running; try again when some have finished."
                raise ApiError(TOO_MANY, message, "rate_limit_exceeded")
            job = Job(
                self._records.new_name(), model, training_file, suffix, seed, hyperparameters.model_dump(), changes,
                time.time(), metadata, validation_file,
            )  # fmt: skip
            self._records.write(job.id, asdict(job))
            self._jobs[job.id], self._events[job.id] = job, []
            self.say(job.id, f"Created fine-tuning job: {job.id}")
            self.say(job.id, f"Validating training file: {training_file}")
            self.changed.notify_all()
            return job

    def get(self, name: str) -> Job:
        """Raises `ApiError` 404."""
        with self.changed:
            if name not in self._jobs:
                raise missing("fine-tuning job", name)
            return self._jobs[name]

    def all(self) -> list[Job]:
        """The newest first."""
        with self.changed:
            return sorted(self._jobs.values(), key=lambda job: (job.created_at, job.id), reverse=True)

    def waiting(self, status: str) -> list[Job]:
        """Those in this state, the oldest first."""
        return [job for job in reversed(self.all()) if job.status == status]

    def update(self, name: str, **changes: Any) -> Job:
        """Change a job, on disk first; one that is over stays as it is."""
        with self.changed:
            job = self._jobs[name]
            if not job.active:
                return job
            job = replace(job, **changes)
            if not job.active:
                job = replace(job, finished_at=int(time.time()))
            self._records.write(name, asdict(job))
            self._jobs[name] = job
            self.version += 1
            self.changed.notify_all()
            return job

    def fail(self, name: str, message: str, code: str, param: str | None = None) -> None:
        """End a job with an error, which is remembered even if it cannot be written."""
        error = {"code": code, "message": message, "param": param}
        with self.changed:
            if not self._jobs[name].active:
                return
            ended = replace(self._jobs[name], status="failed", error=error, finished_at=int(time.time()))
            self._jobs[name] = ended
            self.say(name, f"The job failed: {message}", "error")
            self._records.write(name, asdict(ended))
            self.changed.notify_all()

    def cancel(self, name: str) -> Job:
        """Raises `ApiError` 400 for a job that is over."""
        with self.changed:
            job = self.get(name)
            if not job.active:
                raise bad(f"Job has already completed: {name} is {job.status}.", code="invalid_job_status")
            self.say(name, "The job has been cancelled")
            return self.update(name, status="cancelled")

    def say(self, name: str, message: str, level: str = "info", data: dict[str, Any] | None = None) -> None:
        """Add an event, of type `metrics` if it has data. One that cannot be written is still shown."""
        event = {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{secrets.token_hex(12)}",
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "type": "metrics" if data else "message",
            "data": data or {},
        }
        with self.changed:
            self._events.setdefault(name, []).append(event)
            self.changed.notify_all()
            file = self._records.place(name) / EVENTS
            try:
                with explain_disk_errors(file), file.open("ab+") as out:
                    if out.tell() and out.seek(-1, os.SEEK_END) >= 0 and out.read(1) != b"\n":  # a line that a kill cut
                        out.write(b"\n")
                    out.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            except StoreError as error:  # a job does not fail because a line about it cannot be kept
                warnings.warn(str(error), stacklevel=2)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The newest first. Raises `ApiError` 404."""
        with self.changed:
            self.get(name)
            return self._events.get(name, [])[::-1]

    def shown(self, job: Job) -> dict[str, Any]:
        """OpenAI's job object."""
        recipe = job.inputs.get("recipe")
        hyperparameters = shown_hyperparameters(job.hyperparameters, recipe)
        progress = self.progress.get(job.id) if job.status == "running" else None
        done = job.status == "succeeded"
        return {
            "object": "fine_tuning.job",
            "id": job.id,
            "model": job.model,
            "created_at": int(job.created_at),
            "finished_at": job.finished_at,
            "fine_tuned_model": job.tuned_model if done else None,
            "organization_id": "weirdgen",
            "result_files": list(job.result_files),
            "status": job.status,
            "training_file": job.training_file,
            "validation_file": job.validation_file,
            "hyperparameters": hyperparameters,
            "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
            "trained_tokens": job.tokens * recipe["epochs"] if done and recipe else None,
            "error": job.error,
            "integrations": [],
            "seed": job.seed,
            "estimated_finish": int(time.time() + progress.seconds_left) if progress else None,
            "metadata": job.metadata,
            "user_provided_suffix": job.suffix or None,
        }

    def shown_checkpoints(self, job: Job) -> list[dict[str, Any]]:
        """OpenAI's checkpoint objects, the last one first."""
        return [
            {
                "object": "fine_tuning.job.checkpoint",
                "id": point.id,
                "created_at": job.finished_at or int(job.created_at),
                "fine_tuned_model_checkpoint": point.model,
                "fine_tuning_job_id": job.id,
                "metrics": {"step": point.step, "train_loss": point.loss, "full_valid_loss": point.valid_loss},
                "step_number": point.step,
            }
            for point in reversed(job.checkpoints)
        ]

    def wait(self, ready: Callable[[], Any], seconds: float | None = None) -> bool:
        """Sleep until something is ready, looked at after every change."""
        with self.changed:
            return bool(self.changed.wait_for(ready, seconds))

    def _read_events(self, name: str) -> list[dict[str, Any]]:
        """A line that a kill has cut is the last one, and is left out."""
        file, events = self._records.place(name) / EVENTS, []
        for _, line in split_lines(file.read_text(encoding="utf-8")) if file.is_file() else ():
            try:
                events.append(
                    json.loads(line, parse_constant=lambda name: None)
                )  # NaN, of an earlier version, is no JSON
            except ValueError:
                continue
        return events


def _read(record: dict[str, Any]) -> Job:
    points = tuple(Checkpoint(**point) for point in record["checkpoints"])
    return Job(
        **{
            **record,
            "group": tuple(record["group"]),
            "result_files": tuple(record["result_files"]),
            "checkpoints": points,
        }
    )
