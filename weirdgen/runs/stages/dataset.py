"""The dataset stage: every arm's rows, card and proof, in the store before training.

In: a plan, which has read and proven the rows. Out: artifacts `dataset` and `proof`. Workers on other machines train on these
copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.data.rows import Row, canonical_hash
from weirdgen.data.stored import dataset_key, keep_proof, keep_rows
from weirdgen.models.references import LocalModel
from weirdgen.models.remote import RemoteModel
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.stages.stage import Batch, Stage, Work
from weirdgen.runs.work.unit import PROCESS_BYTES, Needs, Tell, Unit
from weirdgen.store.artifacts import Store


@dataclass(frozen=True)
class KeepRows(Unit):
    """One arm's rows and their proof."""

    model: LocalModel | RemoteModel
    rows: list[Row]
    proof: dict[str, Any]
    date: str | None
    on_driver = True

    def needs(self) -> Needs:
        return Needs(False, int(PROCESS_BYTES))

    def locks(self) -> Sequence[tuple[str, str]]:
        return []  # too quick to wait for

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        keep_rows(store, self.rows)
        if isinstance(self.model, LocalModel):  # nothing is proven for a provider's template
            keep_proof(store, self.model, self.rows, self.proof, self.date)
        tell(1, "")
        return 1.0, 0.0


class Dataset(Stage):
    """Rows, cards and proofs."""

    name, counts = "dataset", "arms"

    def work(self, plan: Plan) -> list[Work]:
        return []  # takes no time worth a line, and a plan has shown the rows already

    def batch(self, plan: Plan) -> Batch:
        request = plan.request
        units = [KeepRows(request.model, rows, plan.proofs[arm], request.date) for arm, rows in request.rows.items()]
        return Batch(units, 0)  # no bar

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        return {
            f"dataset of arm {arm}": plan.store.folder("dataset", dataset_key(canonical_hash(rows)))
            for arm, rows in plan.request.rows.items()
        }
