"""The distill stage: rows that the base answers itself, ordinary prompts (paper §4.2) and the prompts of twins.

In: a plan with ordinary rows or twins. Out: rows of the base's completions table, and artifacts `twin`. When they are there, they
join the arms, and the plan is made again. How they are drawn is `sample.distill` and `sample.twin`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weirdgen.config.experiment import Ordinary
from weirdgen.data.messages import Row
from weirdgen.data.stored import trainable_rows
from weirdgen.models.chat import load_tokenizer
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import SAMPLING_SEED
from weirdgen.runs.stages.stage import Batch, Stage, Work
from weirdgen.runs.work.loaded import Asked, engine_with, local_folder
from weirdgen.runs.work.unit import Count, Tell, Unit
from weirdgen.sample.distill import AT_ONCE, Distilled
from weirdgen.sample.engines import Transformers
from weirdgen.sample.twin import STAGE as TWIN
from weirdgen.sample.twin import KeptTwin
from weirdgen.sample.variant import Variant, base_key
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


@dataclass(frozen=True)
class AnswerTwin(Asked):
    """The prompts of one arm, which the base answers for its twin."""

    rows: tuple[Row, ...]

    def _twin(self, store: Store) -> KeptTwin:
        return KeptTwin(store, Variant(base_key(self.model.digest, self.date)), self.numerics, SAMPLING_SEED, self.rows)

    def locks(self) -> list[tuple[str, str]]:
        return [(TWIN, content_key([base_key(self.model.digest, self.date), self.numerics]))]  # they share a table

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        count, twin = Count(tell), self._twin(store)
        if twin.rows() is None:  # another run may have made it meanwhile
            engine = engine_with(self.model, self.dtype, self.engine, [None], self.date)
            tokenizer = load_tokenizer(local_folder(self.model), self.date)
            twin.answer(engine, tokenizer, lambda written: count.add(1, written))
        return count.amount, count.tokens


class Distill(Stage):
    """Rows that the base answers, where arms ask for some."""

    name, counts, speed = "distill", "answers", "generate"

    def work(self, plan: Plan) -> list[Work]:
        request, work = plan.request, []
        if request.ordinary:
            wanted, missing = max(request.ordinary.values()), self._missing(plan)
            seconds = self.seconds(plan, missing * request.experiment.ordinary.max_tokens)
            what = "ordinary prompts answered by the base itself"
            work.append(Work(self.name, what, missing, wanted, "rows", seconds))
        for arm, source in request.twins.items():
            rows, done = len(request.rows[source]), request.distilled or plan.twins()[arm].rows() is not None
            seconds = 0.0 if done else self.seconds(plan, plan.proofs[source]["trained_tokens"])
            what = f"prompts of {source} answered by the base itself, for {arm}"
            work.append(Work(self.name, what, 0 if done else rows, rows, "rows", seconds))
        return work

    def batch(self, plan: Plan) -> Batch:
        request, missing = plan.request, self._missing(plan)
        units: list[Unit] = []
        if missing:
            wanted, how = max(request.ordinary.values()), request.experiment.ordinary
            units.append(AnswerOrdinary(request.local, request.dtype, request.engine, request.date, how, wanted))
        amount = -(-missing // AT_ONCE) * AT_ONCE
        if not request.distilled:
            for arm, twin in plan.twins().items():
                if twin.rows() is None:
                    rows = tuple(trainable_rows(request.local.folder, request.rows[request.twins[arm]], request.date))
                    units.append(AnswerTwin(request.local, request.dtype, Transformers(), request.date, rows))
                    amount += len(rows)
        return Batch(units, amount)

    def after(self, plan: Plan) -> Plan:
        return plan if plan.request.distilled else make_plan(plan.request, plan.store)

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        return {"the base's ordinary answers": plan.distilled().table.folder} if plan.request.ordinary else {}

    def _missing(self, plan: Plan) -> int:
        """Ordinary rows."""
        if plan.request.distilled or not plan.request.ordinary:
            return 0
        wanted = max(plan.request.ordinary.values())
        return wanted - len(plan.distilled().rows(wanted))
