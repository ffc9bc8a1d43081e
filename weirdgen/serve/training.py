"""The worker that trains: has new jobs validated, groups jobs with equal settings, trains each group in one pass.

In: the jobs' book, the files, the store. Out: adapters in the store, under the same keys that `weirdgen run` gives them, and the
jobs' states. One thread. What a job may fail by is told to its owner; a defect fails the job and stays in the log, and the
worker goes on with the next. A group that a stopped server left half trained is taken up with the same members. How a job's
files are read is `serve.validating`.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

from weirdgen.errors import StoreError, WeirdgenError
from weirdgen.finetune import engines
from weirdgen.finetune.schedule import checkpoint_folder
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel
from weirdgen.runs.plan.plan import Replicate
from weirdgen.runs.stages.finetune import Train
from weirdgen.serve.files import Files
from weirdgen.serve.gate import Gate
from weirdgen.serve.jobs import Checkpoint, Job, Jobs, Progress
from weirdgen.serve.limits import Limits
from weirdgen.serve.problems import ApiError
from weirdgen.serve.validating import Validator
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

GATHER_SECONDS, GATHER_AT_MOST = 0.7, 5.0
"""How long a queued job waits for others like it, counted from the newest and from the oldest."""
SAID_STEPS = 50
"""Of a training, about how many are told as events."""


class _StopError(Exception):
    """Ends a training from inside: every job of the group is cancelled, or the server closes."""


class Trainer(threading.Thread):
    """One thread that validates and trains until `close`."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        files: Files,
        bases: Mapping[str, LocalModel],
        limits: Limits,
        gate: Gate,
    ) -> None:
        super().__init__(name="weirdgen-trainer", daemon=True)
        self._store, self._jobs, self._files, self._bases = store, jobs, files, bases
        self._limits, self._gate = limits, gate
        self._validator = Validator(store, jobs, files, bases, gate)
        self._closing = False

    def close(self) -> None:
        """Stop at the next step; the jobs go on when the server is started again."""
        with self._jobs.changed:
            self._closing = True
            self._jobs.changed.notify_all()
        self.join()

    def run(self) -> None:
        while True:
            self._jobs.wait(lambda: self._closing or self._work_waits())
            if self._closing:
                return
            if new := self._mine("validating_files"):
                with self._fails_only([new[0]]):
                    self._validator.validate(new[0])
            elif group := self._next_group():
                with self._fails_only(group):
                    self._train(group)

    def _work_waits(self) -> bool:
        return any(self._mine(status) for status in ("validating_files", "queued", "running"))

    def _mine(self, status: str) -> list[Job]:
        """Jobs in this state whose base is served now; others wait for a server that serves it."""
        return [job for job in self._jobs.waiting(status) if job.model in self._bases]

    @contextmanager
    def _fails_only(self, group: list[Job]) -> Iterator[None]:
        """Whatever goes wrong inside ends these jobs and nothing else."""
        try:
            yield
        except _StopError:
            return
        except ApiError as error:
            self._fail(group, str(error), error.code or "invalid_request", error.param)
        except WeirdgenError as error:
            code = "storage_error" if isinstance(error, StoreError) else "training_failed"
            self._fail(group, str(error), code, None)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            self._fail(group, "the server had an error of its own; its log says which", "internal_error", None)

    def _fail(self, group: list[Job], message: str, code: str, param: str | None) -> None:
        for job in group:
            try:
                self._jobs.fail(job.id, message, code, param)
            except StoreError as error:  # the disk is full: the job has failed all the same, until the next start
                print(f"weirdgen serve: {job.id}: {error}", file=sys.stderr)

    def _next_group(self) -> list[Job]:
        """Jobs to train now: those that a stopped server was training, else the oldest queued one and those like it."""
        if begun := self._mine("running"):
            return [job for job in begun if job.group == begun[0].group]
        if not self._mine("queued"):
            return []
        started, known = time.monotonic(), 0
        while time.monotonic() - started < GATHER_AT_MOST:
            waiting = len(self._mine("queued")) + len(self._mine("validating_files"))
            if waiting == known or self._closing:
                break
            known = waiting
            self._jobs.wait(lambda: self._closing, GATHER_SECONDS)
            if self._mine("validating_files"):  # to be read first: it may be one of these
                return []
        queued = self._mine("queued")
        if not queued or self._closing:
            return []
        first, kind = queued[0], _kind(queued[0])
        alike = [job for job in queued if _kind(job) == kind]
        keys = list(dict.fromkeys(job.key for job in alike))[: self._at_once(first)]
        return [job for job in alike if job.key in keys]

    def _at_once(self, job: Job) -> int:
        """Replicates like this one that fit into one pass."""
        model, recipe = self._bases[job.model], job.recipe
        assert recipe is not None
        if job.inputs["engine"] != "replicas":
            return 1
        return engines.group_size(model.folder, recipe, job.tokens / job.rows, model.parameters)

    def _train(self, group: list[Job]) -> None:
        members = tuple(job.id for job in group)
        for job in group:
            with_others = f" with {len(members) - 1} others like it" if len(members) > 1 else ""
            if job.status == "queued":
                self._jobs.say(job.id, f"Fine-tuning job started{with_others}")
                self._jobs.update(job.id, status="running", group=members)
        # A cancelled member still trains if others go on: leaving it out would make it another group.
        keys = {self._jobs.get(name).key: self._jobs.get(name) for name in group[0].group or members}
        first, model = group[0], self._bases[group[0].model]
        recipe = first.recipe
        assert recipe is not None
        replicates = tuple(Replicate(job.id, job.seed, key, job.inputs, job.rows) for key, job in keys.items())
        unit = Train(
            model,
            first.inputs["engine"],
            recipe,
            replicates,
            sum(job.tokens for job in keys.values()),
            engines.choose_engine(model.folder, recipe, model.parameters).devices,
            told_date(model.folder),
        )
        with ExitStack() as held, ExitStack() as loading:
            # Another process may hold one, and nobody should wait at the gate meanwhile.
            for stage, key in unit.locks():
                held.enter_context(self._store.lock(stage, key))
            loading.enter_context(self._gate.loading())
            unit = replace(unit, watch=self._watch([job.id for job in group], loading.close))
            try:
                unit.do(self._store, lambda amount, note: None)
            finally:
                for job in group:
                    self._jobs.progress.pop(job.id, None)
        for job in group:
            with self._fails_only([job]):
                self._finish(job)

    def _require_wanted(self, names: list[str], started: float) -> list[str]:
        """Those of the jobs that still run. Raises `_StopError` if none does or the server closes, `ApiError` after too long."""
        running = [name for name in names if self._jobs.get(name).status == "running"]
        if self._closing or not running:
            raise _StopError
        if time.monotonic() - started > self._limits.training_seconds:
            raise ApiError(400, f"training took longer than {self._limits.training_seconds:,.0f} s", "timeout")
        return running

    def _watch(self, names: list[str], loaded: Callable[[], None]) -> Callable[[int, int, float], None]:
        """What is told after each step; it stops the training if nobody waits for it any longer. `loaded`: weights are read."""
        started = time.monotonic()
        first_step: list[tuple[int, float]] = []

        def watch(step: int, steps: int, loss: float) -> None:
            loaded()
            now = time.monotonic()
            waiting = self._require_wanted(names, started)
            if not first_step:
                first_step.append((step, now))
            done, since = step - first_step[0][0], now - first_step[0][1]
            left = (steps - step) * since / done if done else 0.0
            for name in waiting:
                self._jobs.progress[name] = Progress(step, left)
            every = max(1, steps // SAID_STEPS)
            if step % every == 0 or step in (1, steps):
                shared = "" if len(names) == 1 else f" (mean of {len(names)} jobs that train together)"
                for name in waiting:
                    data: dict[str, Any] = {"step": step, "total_steps": steps}
                    if math.isfinite(loss):  # NaN is no JSON
                        data["train_loss"] = round(loss, 6)
                    self._jobs.say(name, f"Step {step}/{steps}: training loss={loss:.4f}{shared}", data=data)

        return watch

    def _finish(self, job: Job) -> None:
        """Look at what was trained, then say so. A job that was cancelled meanwhile stays cancelled."""
        if self._jobs.get(job.id).status != "running":
            return
        recipe, artifact = job.recipe, self._store.artifact("finetune", job.key)
        assert recipe is not None
        losses = json.loads((artifact / "losses.json").read_text())
        if not all(math.isfinite(entry["loss"]) for entry in losses):
            raise ApiError(400, "the training loss is not finite: lower the learning rate", "training_diverged")
        points, steps = [], recipe.checkpoint_steps(job.steps)
        folders = [checkpoint_folder(artifact, step) for step in steps]
        before_row = partial(self._require_wanted, [job.id], time.monotonic())
        valid = self._validator.losses(job, folders, before_row) or [None] * len(steps)
        if not all(loss is None or math.isfinite(loss) for loss in valid):
            raise ApiError(400, "the validation loss is not finite: lower the learning rate", "training_diverged")
        for step, folder, valid_loss in zip(steps, folders, valid, strict=True):
            last = step == job.steps
            name = job.tuned_model if last else f"{job.tuned_model}:ckpt-step-{step}"
            digest = content_key([job.id, step])[:24]
            loss = losses[step - 1]["loss"] if step else losses[0]["loss"]
            points.append(Checkpoint(f"ftckpt_{digest}", name, step, loss, folder.name, valid_loss))
        lines = ["step,train_loss,learning_rate", *(f"{e['step']},{e['loss']},{e['learning_rate']}" for e in losses)]
        results = self._files.add(
            BytesIO("\n".join(lines).encode() + b"\n"), f"{job.id}-results.csv", "fine-tune-results"
        )
        for point in points:
            shown = "" if point.valid_loss is None else f", validation loss={point.valid_loss:.4f}"
            self._jobs.say(job.id, f"Checkpoint created at step {point.step}{shown}")
        self._jobs.say(job.id, f"New fine-tuned model created: {job.tuned_model}")
        self._jobs.say(job.id, "The job has successfully completed")
        self._jobs.update(job.id, status="succeeded", checkpoints=tuple(points), result_files=(results.id,))


def _kind(job: Job) -> str:
    """What jobs that train together have in common."""
    return content_key([job.model, job.inputs["engine"], job.inputs["recipe"], job.rows])
