"""One unit of the finetune stage: replicates that train together, resumed where they were stopped, and filed as artifacts.

In: replicates, whose rows are dataset artifacts, and what `Store.unfinished` holds of them. Out: one finetune artifact each, with
its losses. Which replicates train together is `finetune`; what trains them is `weirdgen.finetune.engines`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen import machine
from weirdgen.config.experiment import Recipe
from weirdgen.data.stored import encode_rows, stored_rows
from weirdgen.errors import StoreError
from weirdgen.finetune import engines
from weirdgen.finetune.resume import kept
from weirdgen.finetune.schedule import checkpoint_folder, total_steps
from weirdgen.models.chat import Encoded, common_prefix
from weirdgen.models.references import LocalModel, read_config
from weirdgen.runs.plan.plan import Replicate
from weirdgen.runs.work.loaded import local_folder, release_model, weight_bytes
from weirdgen.runs.work.unit import PROCESS_BYTES, Needs, Tell, Unit
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import share_files, unshare_files, write_whole
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Train(Unit):
    """Replicates that are trained together. Their rows are the dataset artifacts that their inputs name."""

    model: LocalModel
    trainer: str
    recipe: Recipe
    replicates: tuple[Replicate, ...]
    tokens: int
    """Of all replicates' rows together, in one epoch."""
    devices: int = 1
    """That hold one replicate together."""
    date: str | None = None
    """The date (ISO) given to the model's template, if it prints one."""
    watch: Callable[[int, int, float], None] | None = field(default=None, compare=False)
    """Called in the training process after each step with (step, steps, mean loss); what it raises ends the training."""

    @property
    def title(self) -> str:
        first = self.replicates[0]
        return f"finetune {first.arm} seed {first.seed} (group of {len(self.replicates)})"

    def needs(self) -> Needs:
        per_row = self.tokens / sum(replicate.rows for replicate in self.replicates)
        together = len(self.replicates) if self.trainer == "replicas" else 1
        each = engines.replicate_bytes(read_config(self.model.folder), self.recipe, per_row)
        if self.recipe.full:
            each += engines.FULL_BYTES * self.model.parameters
        base = weight_bytes(self.model, self.recipe.dtype)
        return Needs(True, int(self.devices * PROCESS_BYTES + base + together * each), self.devices)

    def locks(self) -> Sequence[tuple[str, str]]:
        return sorted(("finetune", replicate.key) for replicate in self.replicates)

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        release_model()
        if all(
            store.marker("finetune", replicate.key) is not None for replicate in self.replicates
        ):  # another run made them
            return 0.0, 0.0
        group, folder = self.replicates, local_folder(self.model)
        encoded = {
            replicate.inputs["data"]: encode_rows(
                folder, replicate.arm, stored_rows(store, replicate.inputs["data"]), self.date
            )[0]
            for replicate in group
        }
        rows = [replicate.own(encoded[replicate.inputs["data"]]) for replicate in group]
        started = time.monotonic()
        together = [replicate.key for replicate in group]
        state = halfway(store, together)
        unfinished = state.parent
        goes_on, before = state.exists(), kept(state).seconds
        count = _Steps(self, tell)
        with contextlib.ExitStack() as folders:
            targets = [
                folders.enter_context(
                    store.create("finetune", replicate.key, {**replicate.inputs, "together": together})
                )
                for replicate in group
            ]
            working = [unfinished / key for key in together]
            for place in working:
                place.mkdir(parents=True, exist_ok=True)
                unshare_files(place)  # with artifacts of a process that was killed before it had filed them all
            began = _first_begun(unfinished)
            seeds, parameters = [replicate.seed for replicate in group], self.model.parameters
            try:
                results = engines.train_group(
                    self.trainer,
                    folder,
                    rows,
                    seeds,
                    working,
                    self.recipe,
                    count.step,
                    parameters,
                    state,
                    self.devices,
                )
            except KeyboardInterrupt:
                warnings.warn(self._told_of_stop(kept(state).step), stacklevel=2)
                raise
            facts: dict[str, Any] = {
                "began": began,
                "seconds": round((before + time.monotonic() - started) / len(group), 2),
                "trained_together": len(group),
                "devices": self.devices,
                "exactness": self._compared(folder),
                "versions": machine.versions(),
                "machine": machine.description(),
            }
            # Shared, not moved: what is filed may fail to become an artifact, and a state that is taken up writes no file anew.
            for place, target, mine, result in zip(working, targets, rows, results, strict=True):
                share_files(place, target)
                self._require_whole(target, len(mine), unfinished)
                (target / "result.json").write_text(json.dumps({**result, **facts}, indent=1))
        shutil.rmtree(unfinished)
        # Half a training would pass for a fast one.
        return count.amount, 0.0 if goes_on else sum(self._tokens_through(mine) for mine in rows)

    def _told_of_stop(self, step: int) -> str:
        """What an interrupt leaves of this training."""
        if step:
            steps = total_steps(self.replicates[0].rows, self.recipe)
            return f"training stopped; its state after step {step} of {steps} is kept"
        why = "" if self.trainer == "replicas" else f" ({self.trainer} keeps finished replicates only)"
        return f"training stopped with no step of {self.title.removeprefix('finetune ')} kept{why}: it begins again"

    def _require_whole(self, target: Path, rows: int, unfinished: Path) -> None:
        """Raises `StoreError` if an adapter that the recipe keeps is missing."""
        for step in self.recipe.checkpoint_steps(total_steps(rows, self.recipe)):
            if not (kept := checkpoint_folder(target, step)).is_dir():
                raise StoreError(
                    f"{unfinished}: {kept.name} is missing: remove that folder and run the same command again"
                )

    def _compared(self, folder: Path) -> list[dict[str, Any]]:
        """How training together compared with each row alone on this model; nothing for trl, which trains one by one."""
        if self.trainer != "replicas":
            return []
        return [asdict(engines.together_check(folder, self.recipe, self.model.parameters))]

    def _tokens_through(self, rows: Sequence[Encoded]) -> float:
        """Tokens of one replicate's training that went through the model."""
        ids = [row.ids for row in rows]
        epoch = engines.tokens_through(self.trainer, sum(map(len, ids)), len(ids), common_prefix(ids), self.recipe)
        return epoch * self.recipe.epochs


def halfway(store: Store, together: Sequence[str]) -> Path:
    """The file for the state of replicates that train together, from their keys; what else they need to resume is beside it."""
    return store.unfinished("finetune", content_key(together)) / "halfway.pt"


def _first_begun(unfinished: Path) -> str:
    """When this training first began, which may have been in a process that was killed: kept beside its state."""
    note = unfinished / "began"
    if not note.exists():
        write_whole(note, time.strftime("%Y-%m-%dT%H:%M:%S%z").encode())
    return note.read_text(encoding="utf-8")


class _Steps:
    """Counts the steps of all replicates of a group."""

    def __init__(self, unit: Train, tell: Tell) -> None:
        first, others = unit.replicates[0], len(unit.replicates) - 1
        self.amount = 0.0
        self._each = len(unit.replicates) if unit.trainer == "replicas" else 1
        self._watch = unit.watch
        self._name = f"{first.arm} seed {first.seed}" + (f" and {others} more" if others else "")
        self._tell = tell

    def step(self, step: int, steps: int, loss: float) -> None:
        self.amount += self._each
        self._tell(self._each, f"{self._name}: step {step}/{steps}, loss {loss:.2f}")
        if self._watch:
            self._watch(step, steps, loss)
