"""The unit of training: a group of replicates that go through each step together.

In: the base, a recipe, replicates, whose rows are dataset artifacts. Out: one finetune artifact a replicate. A killed
training goes on from what `store.unfinished` holds.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weirdgen import machine
from weirdgen.config.experiment import Recipe
from weirdgen.data.stored import encode_rows, stored_rows
from weirdgen.finetune import engines
from weirdgen.models.chat import Encoded, common_prefix
from weirdgen.models.references import LocalModel, read_config
from weirdgen.run.plan.plan import Replicate
from weirdgen.run.work.loaded import local_folder, release_model, weight_bytes
from weirdgen.run.work.unit import PROCESS_BYTES, Needs, Tell, Unit
from weirdgen.store.artifacts import Store, content_key


@dataclass(frozen=True)
class Finetune(Unit):
    """Replicates that are trained together. Their rows are the dataset artifacts that their inputs name."""

    model: LocalModel
    engine: str
    recipe: Recipe
    replicates: tuple[Replicate, ...]
    tokens: int
    """Of all replicates' rows together, in one epoch."""
    devices: int = 1
    """That hold one replicate together."""

    @property
    def title(self) -> str:
        first = self.replicates[0]
        return f"finetune {first.arm} seed {first.seed} (group of {len(self.replicates)})"

    def needs(self) -> Needs:
        per_row = self.tokens / sum(one.rows for one in self.replicates)
        together = len(self.replicates) if self.engine == "replicas" else 1
        one = engines.replicate_bytes(read_config(self.model.folder), self.recipe, per_row)
        if self.recipe.full:
            one += engines.FULL_BYTES * self.model.parameters
        base = weight_bytes(self.model, self.recipe.dtype)
        return Needs(True, int(self.devices * PROCESS_BYTES + base + together * one), self.devices)

    def locks(self) -> Sequence[tuple[str, str]]:
        return sorted(("finetune", one.key) for one in self.replicates)

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        release_model()
        if all(store.marker("finetune", one.key) is not None for one in self.replicates):  # another run made them
            return 0.0, 0.0
        group, folder = self.replicates, local_folder(self.model)
        encoded = {
            one.inputs["data"]: encode_rows(folder, one.arm, stored_rows(store, one.inputs["data"]))[0] for one in group
        }
        rows = [encoded[one.inputs["data"]] for one in group]
        started = time.monotonic()
        together = [one.key for one in group]
        unfinished = store.unfinished("finetune", content_key(together))
        halfway = unfinished / "halfway.pt"
        goes_on = halfway.exists()
        count = _Steps(self, tell)
        with contextlib.ExitStack() as folders:
            targets = [
                folders.enter_context(store.create("finetune", one.key, {**one.inputs, "together": together}))
                for one in group
            ]
            working = [unfinished / key for key in together]
            for place in working:
                place.mkdir(parents=True, exist_ok=True)
            seeds, parameters = [one.seed for one in group], self.model.parameters
            results = engines.train_group(
                self.engine, folder, rows, seeds, working, self.recipe, count.step, parameters, halfway, self.devices
            )
            for place, target in zip(working, targets, strict=True):
                for made in place.iterdir():
                    made.rename(target / made.name)
            facts: dict[str, Any] = {
                "seconds": round((time.monotonic() - started) / len(group), 2),
                "trained_together": len(group),
                "devices": self.devices,
                "exactness": self._compared(folder),
                "versions": machine.versions(),
                "machine": machine.description(),
            }
            for target, result in zip(targets, results, strict=True):
                (target / "result.json").write_text(json.dumps({**result, **facts}, indent=1))
        shutil.rmtree(unfinished)
        # Half a training would pass for a fast one.
        return count.amount, 0.0 if goes_on else sum(self._tokens_through(mine) for mine in rows)

    def _compared(self, folder: Path) -> list[dict[str, Any]]:
        """How training together compared with each row alone on this model; nothing for trl, which trains one by one."""
        if self.engine != "replicas":
            return []
        return [asdict(engines.together_check(folder, self.recipe, self.model.parameters))]

    def _tokens_through(self, rows: Sequence[Encoded]) -> float:
        """Tokens of one replicate's training that went through the model."""
        ids = [row.ids for row in rows]
        epoch = engines.tokens_through(self.engine, sum(map(len, ids)), len(ids), common_prefix(ids), self.recipe)
        return epoch * self.recipe.epochs


class _Steps:
    """Counts the steps of all replicates of a group."""

    def __init__(self, unit: Finetune, tell: Tell) -> None:
        first, others = unit.replicates[0], len(unit.replicates) - 1
        self.amount = 0.0
        self._each = len(unit.replicates) if unit.engine == "replicas" else 1
        self._name = f"{first.arm} seed {first.seed}" + (f" and {others} more" if others else "")
        self._tell = tell

    def step(self, step: int, steps: int, loss: float) -> None:
        self.amount += self._each
        self._tell(self._each, f"{self._name}: step {step}/{steps}, loss {loss:.2f}")
