"""The worker that trains: groups queued jobs with equal settings, and trains each group in one pass.

In: the jobs' book, the files, the store. Out: adapters in the store, and the jobs' states. An adapter has the key that `weirdgen
run` gives it for equal rows, seed and recipe, `checkpoints` included: a job's are those of `serve.hyperparameters`, a run's none
unless it names them. A group that a stopped server left half trained is taken up with the same members. How a job's files are
read is `serve.validating`, what happens if one fails `serve.worker`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from weirdgen.finetune import engines
from weirdgen.finetune.schedule import checkpoint_folder
from weirdgen.models.folder import told_date
from weirdgen.runs.plan.plan import Replicate
from weirdgen.runs.stages.train import Train
from weirdgen.serve.files import Files
from weirdgen.serve.gate import Gate
from weirdgen.serve.jobs import Checkpoint, Job, Jobs, Progress
from weirdgen.serve.limits import Limits
from weirdgen.serve.problems import ApiError
from weirdgen.serve.validating import Validator
from weirdgen.serve.worker import StopWork, Worker
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

GATHER_SECONDS, GATHER_AT_MOST = 0.7, 5.0
"""How long a queued job waits for others like it, counted from the newest and from the oldest."""
SAID_STEPS = 50
"""Of a training, about how many are told as events."""


class Trainer(Worker):
    """Trains until `close`, which ends a training at its next step."""

    def __init__(
        self, store: Store, jobs: Jobs, files: Files, validator: Validator, limits: Limits, gate: Gate
    ) -> None:
        super().__init__("weirdgen-trainer", jobs, validator.bases)
        self._store, self._files, self._validator, self._limits, self._gate = store, files, validator, limits, gate

    def has_work(self) -> bool:
        """What is being validated is waited for: it may be one of those that can train together."""
        return bool(self.mine("running") or (self.mine("queued") and not self.mine("validating_files")))

    def work(self) -> None:
        if group := self._next_group():
            with self.fails_only(group):
                self._train(group)

    def _next_group(self) -> list[Job]:
        """Jobs to train now: those that a stopped server was training, else the oldest queued one and those like it."""
        if begun := self.mine("running"):
            return [job for job in begun if job.group == begun[0].group]
        if not self.mine("queued"):
            return []
        started, known = time.monotonic(), 0
        while time.monotonic() - started < GATHER_AT_MOST:
            waiting = len(self.mine("queued")) + len(self.mine("validating_files"))
            if waiting == known or self.closing:
                break
            known = waiting
            self.jobs.wait(lambda: self.closing, GATHER_SECONDS)
        if self.mine("validating_files"):
            return []
        queued = self.mine("queued")
        if not queued or self.closing:
            return []
        first, kind = queued[0], _kind(queued[0])
        alike = [job for job in queued if _kind(job) == kind]
        with self.fails_only([first]):
            keys = list(dict.fromkeys(job.key for job in alike))[: self._at_once(first)]
            return [job for job in alike if job.key in keys]
        return []

    def _at_once(self, job: Job) -> int:
        """Replicates like this one that fit into one pass."""
        model, recipe = self.bases[job.model], job.recipe
        if job.inputs["engine"] != "replicas":
            return 1
        return engines.group_size(model.folder, recipe, job.tokens / job.rows, model.parameters)

    def _train(self, group: list[Job]) -> None:
        members = tuple(job.id for job in group)
        for job in group:
            with_others = f" with {len(members) - 1} others like it" if len(members) > 1 else ""
            if job.status == "queued":
                self.jobs.say(job.id, f"Fine-tuning job started{with_others}")
                self.jobs.update(job.id, status="running", group=members)
        # A cancelled member still trains if others go on: leaving it out would make it another group.
        keys = {self.jobs.get(name).key: self.jobs.get(name) for name in group[0].group or members}
        first, model = group[0], self.bases[group[0].model]
        recipe = first.recipe
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
        with self._gate.work() as between:
            unit = replace(unit, watch=self._watch([job.id for job in group], between))
            try:
                unit.do(self._store, lambda amount, note: None)
            finally:
                for job in group:
                    self.jobs.progress.pop(job.id, None)
        for job in group:
            with self.fails_only([job]):
                self._finish(job)

    def _require_wanted(self, names: list[str], started: float) -> list[str]:
        """Those of the jobs that still run. Raises `StopWork` if none does or the server closes, `ApiError` after too long."""
        running = [name for name in names if self.jobs.get(name).status == "running"]
        if self.closing or not running:
            raise StopWork
        if time.monotonic() - started > self._limits.training_seconds:
            raise ApiError(400, f"training took longer than {self._limits.training_seconds:,.0f} s", "timeout")
        return running

    def _watch(self, names: list[str], between: Callable[[], None]) -> Callable[[int, int, float], None]:
        """What is told after each step; it stops the training if nobody waits for it any longer. `between`: the gate's."""
        started = time.monotonic()
        first_step: list[tuple[int, float]] = []

        def watch(step: int, steps: int, loss: float) -> None:
            between()
            now = time.monotonic()
            waiting = self._require_wanted(names, started)
            if not first_step:
                first_step.append((step, now))
            done, since = step - first_step[0][0], now - first_step[0][1]
            left = (steps - step) * since / done if done else 0.0
            for name in waiting:
                self.jobs.progress[name] = Progress(step, left)
            every = max(1, steps // SAID_STEPS)
            if step % every == 0 or step in (1, steps):
                shared = "" if len(names) == 1 else f" (mean of {len(names)} jobs that train together)"
                for name in waiting:
                    data: dict[str, Any] = {"step": step, "total_steps": steps}
                    if math.isfinite(loss):  # NaN is no JSON
                        data["train_loss"] = round(loss, 6)
                    self.jobs.say(name, f"Step {step}/{steps}: training loss={loss:.4f}{shared}", data=data)

        return watch

    def _finish(self, job: Job) -> None:
        """Look at what was trained, then say so. A job that was cancelled meanwhile stays cancelled."""
        if self.jobs.get(job.id).status != "running":
            return
        recipe, artifact = job.recipe, self._store.artifact("finetune", job.key)
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
        results = self._files.add_results("\n".join(lines).encode() + b"\n", f"{job.id}-results.csv")
        for point in points:
            shown = "" if point.valid_loss is None else f", validation loss={point.valid_loss:.4f}"
            self.jobs.say(job.id, f"Checkpoint created at step {point.step}{shown}")
        self.jobs.say(job.id, f"New fine-tuned model created: {job.tuned_model}")
        self.jobs.say(job.id, "The job has successfully completed")
        self.jobs.update(job.id, status="succeeded", checkpoints=tuple(points), result_files=(results.id,))


def _kind(job: Job) -> str:
    """What jobs that train together have in common."""
    return content_key([job.model, job.inputs["engine"], job.inputs["recipe"], job.rows])
