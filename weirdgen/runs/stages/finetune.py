"""The finetune stage: one adapter (or model) per replicate, several trained together.

In: a plan's replicates, whose rows are dataset artifacts. Out: one finetune artifact per replicate, with its losses. A killed
training resumes from what `Store.unfinished` holds. What trains, and how many together, is left to `weirdgen.finetune.engines`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from weirdgen.finetune import engines
from weirdgen.finetune.resume import kept
from weirdgen.finetune.schedule import total_steps
from weirdgen.models.remote import RemoteModel
from weirdgen.runs.plan.plan import Plan, Replicate
from weirdgen.runs.stages.remote_finetune import remote_batch, require_different, say_endings
from weirdgen.runs.stages.stage import Batch, Stage, Work
from weirdgen.runs.stages.tinker_finetune import require_different_adapters, require_trained_there, tinker_batch
from weirdgen.runs.stages.train import Train, halfway

if TYPE_CHECKING:
    import pandas as pd


def _steps_kept(plan: Plan) -> dict[str, int]:
    """Key → steps that are done, of replicates whose training was stopped or killed. Empty for those that hold no state here."""
    if plan.trainer.engine != "replicas" or not (plan.store.root / "unfinished").is_dir():
        return {}
    return {
        replicate.key: step
        for group in groups(plan)
        if (step := kept(halfway(plan.store, [replicate.key for replicate in group])).step)
        for replicate in group
    }


def groups(plan: Plan) -> list[list[Replicate]]:
    """Replicates still to be trained, in the groups that are trained together.

    A replicate that is missing while others of its group are stored (a run was killed between two renames) is trained
    again with the same others, so that it comes out the same.
    """
    # Arms with equal rows share their replicates: an equal recipe, seed and dataset give the same adapter.
    replicates = list({replicate.key: replicate for replicate in plan.replicates}.values())
    markers = {replicate.key: plan.store.marker("finetune", replicate.key) for replicate in replicates}
    missing = {key for key, marker in markers.items() if marker is None}
    half_done = {key for marker in markers.values() if marker for key in marker["inputs"]["together"]}
    grouped: list[list[Replicate]] = []
    for rows in sorted({replicate.rows for replicate in replicates}):
        mine = [replicate for replicate in replicates if replicate.rows == rows]
        begun = [m["inputs"]["together"] for m in markers.values() if m and missing & set(m["inputs"]["together"])]
        for keys in {tuple(keys) for keys in begun}:
            grouped.append([replicate for replicate in mine if replicate.key in keys])
        rest = [replicate for replicate in mine if replicate.key in missing - half_done]
        size = group_size(plan, rows) if plan.trainer.engine == "replicas" else 1
        grouped += [rest[start : start + size] for start in range(0, len(rest), size)]
    return [group for group in grouped if group]


def group_size(plan: Plan, rows: int) -> int:
    """Replicates of arms with this many rows that fit into one pass."""
    request = plan.request
    arms = [arm for arm in request.rows if request.row_count(arm) == rows]
    tokens = max(map(plan.row_tokens, arms))
    size = engines.group_size(request.local.folder, request.recipe, tokens, request.model.parameters)
    return min(size, request.options.together or size)


def losses(plan: Plan) -> pd.DataFrame:
    """Training loss of every optimizer step of every replicate."""
    import pandas as pd

    frames = []
    for replicate in plan.replicates:
        file = plan.store.artifact("finetune", replicate.key) / "losses.json"
        frame = pd.DataFrame(json.loads(file.read_text()))
        frames.append(frame.assign(arm=replicate.arm, replicate=replicate.seed))
    return pd.concat(frames, ignore_index=True)


def result_of(plan: Plan, replicate: Replicate) -> dict[str, Any]:
    """What was written down when this replicate was trained."""
    file = plan.store.artifact("finetune", replicate.key) / "result.json"
    return dict(json.loads(file.read_text()))


class Finetune(Stage):
    """Every replicate of every arm."""

    name, counts, speed = "finetune", "steps", "train"
    tables: ClassVar[Mapping[str, Callable[[Plan], pd.DataFrame]]] = {"losses": losses}

    def work(self, plan: Plan) -> list[Work]:
        halves = _steps_kept(plan)
        return [self._work_of(plan, arm, halves) for arm in plan.request.rows]

    def batch(self, plan: Plan) -> Batch:
        if isinstance(plan.request.model, RemoteModel):
            return remote_batch(plan, plan.request.model)
        if plan.request.tinker:
            return tinker_batch(plan, plan.request.tinker)
        request, together = plan.request, groups(plan)
        units = [
            Train(
                request.local,
                plan.trainer.engine,
                request.recipe,
                tuple(group),
                round(sum(plan.row_tokens(replicate.arm) * replicate.rows for replicate in group)),
                plan.trainer.devices,
                request.date,
            )
            for group in together
        ]
        steps = sum(total_steps(replicate.rows, request.recipe) for group in together for replicate in group)
        return Batch(units, steps, sum(_steps_kept(plan).values()))

    def check(self, plan: Plan) -> None:
        """What ends soon is said before anything is paid."""
        say_endings(plan, datetime.date.today())

    def prepare(self, plan: Plan) -> None:
        if plan.request.tinker and not plan.request.read_back:
            require_trained_there(plan, plan.request.tinker)

    def after(self, plan: Plan) -> Plan:
        require_different(plan)
        if plan.request.tinker:
            require_different_adapters(plan)
        return plan

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        return {
            f"replicate {replicate.arm} seed {replicate.seed}": plan.store.folder("finetune", replicate.key)
            for replicate in plan.replicates
        }

    def dtype(self, plan: Plan) -> str:
        return plan.request.recipe.dtype

    def _work_of(self, plan: Plan, arm: str, halves: Mapping[str, int]) -> Work:
        """`halves`: key → steps that are done, of replicates whose training was stopped."""
        request, count = plan.request, plan.request.row_count(arm)
        own = [replicate for replicate in plan.replicates if replicate.arm == arm]
        missing = [replicate for replicate in own if plan.store.marker("finetune", replicate.key) is None]
        proof, recipe = plan.proofs[arm], request.recipe
        tokens = plan.row_tokens(arm) * count
        tokens = engines.tokens_through(plan.trainer.engine, tokens, count, proof["shared_prefix"], recipe)
        role, steps = request.experiment.arms[arm].role, total_steps(count, recipe)
        what = f"{arm} ({role}): {count} rows × {recipe.epochs} epochs = {steps} steps"
        done = max((halves.get(replicate.key, 0) for replicate in missing), default=0)
        what += f", {done} of them done" if done else ""
        left = sum(1 - halves.get(replicate.key, 0) / steps for replicate in missing)
        seconds = 0.0 if request.tinker else self.seconds(plan, left * tokens * recipe.epochs)
        return Work(self.name, what, len(missing), len(own), "replicates", seconds)
