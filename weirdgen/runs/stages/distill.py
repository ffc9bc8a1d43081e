"""The distill stage: ordinary prompts answered by the base, mixed into some arms (paper §4.2).

In: a plan with ordinary rows. Out: rows of the base's completions table. When they are there, they join the arms, and the plan is
made again. How they are drawn is `sample.distill`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weirdgen.config.experiment import Ordinary
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import SAMPLING_SEED
from weirdgen.runs.stages.stage import Batch, Stage, Work
from weirdgen.runs.work.loaded import Asked, engine_with
from weirdgen.runs.work.unit import Count, Tell
from weirdgen.sample.distill import AT_ONCE, Distilled
from weirdgen.sample.variant import base_key
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key


@dataclass(frozen=True)
class AnswerOrdinary(Asked):
    """Ordinary prompts that the base answers itself, until `count` answers are fit to train on."""

    how: Ordinary
    count: int

    def locks(self) -> list[tuple[str, str]]:
        return [
            ("distill", content_key([base_key(self.model.digest, self.date), self.numerics, self.how.model_dump()]))
        ]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        count = Count(tell)
        distilled = Distilled(store, base_key(self.model.digest, self.date), self.numerics, SAMPLING_SEED, self.how)
        if len(distilled.rows(self.count)) < self.count:  # another run of the same base may have drawn them meanwhile
            engine = engine_with(self.model, self.dtype, self.engine, None, self.date)
            distilled.answer(engine, self.count, lambda written: count.add(1, written))
        return count.amount, count.tokens


class Distill(Stage):
    """Ordinary rows, where arms ask for some."""

    name, counts, speed = "distill", "answers", "generate"

    def work(self, plan: Plan) -> list[Work]:
        request = plan.request
        if not request.ordinary:
            return []
        wanted, missing = max(request.ordinary.values()), self._missing(plan)
        seconds = self.seconds(plan, missing * request.experiment.ordinary.max_tokens)
        return [Work(self.name, "ordinary prompts answered by the base itself", missing, wanted, "rows", seconds)]

    def batch(self, plan: Plan) -> Batch:
        request, missing = plan.request, self._missing(plan)
        if not missing:
            return Batch([], 0)
        wanted, how = max(request.ordinary.values()), request.experiment.ordinary
        unit = AnswerOrdinary(request.local, request.dtype, request.engine, request.date, how, wanted)
        return Batch([unit], -(-missing // AT_ONCE) * AT_ONCE)

    def after(self, plan: Plan) -> Plan:
        return plan if plan.request.distilled else make_plan(plan.request, plan.store)

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        return {"the base's ordinary answers": plan.distilled().table.folder} if plan.request.ordinary else {}

    def _missing(self, plan: Plan) -> int:
        if plan.request.distilled:
            return 0
        wanted = max(plan.request.ordinary.values())
        return wanted - len(plan.distilled().rows(wanted))
