"""Units of judging that need no provider: offline judges, and judges on a language model of ours.

In: a judge and answers. Out: rows in the tables of verdicts. What is asked of a provider stays with the process that holds
its key and its limits (`weirdgen.runs.work.judge_stage`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weirdgen.config.judges import OfflineJudge, PromptedJudge
from weirdgen.judges.language import Item, judge_items, language_table, missing
from weirdgen.judges.local_model import LocalJudgeModel
from weirdgen.judges.offline import judge_all, verdicts_table
from weirdgen.models.references import LocalModel
from weirdgen.runs.work.loaded import asking_needs, engine_with, local_folder
from weirdgen.runs.work.unit import PROCESS_BYTES, Needs, Tell, Unit
from weirdgen.store.artifacts import Store, content_key


@dataclass(frozen=True)
class Verdicts(Unit):
    """Answers for one judge that asks no language model."""

    judge: OfflineJudge
    answers: tuple[str, ...]

    def needs(self) -> Needs:
        return Needs(False, int(PROCESS_BYTES))

    def locks(self) -> Sequence[tuple[str, str]]:
        return []  # too quick to wait for

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        judge_all(verdicts_table(store, self.judge), self.judge, self.answers)
        tell(len(self.answers), "")
        return len(self.answers), 0.0


@dataclass(frozen=True)
class Choose(Unit):
    """Answers for one judge on a language model of ours, which chooses among the judge's labels or numbers."""

    model: LocalModel
    dtype: str
    identity: str
    """What names the judging model in the store."""
    judge: PromptedJudge
    wanted: tuple[tuple[Item, int], ...]
    """(item, number of the opinion)."""

    def needs(self) -> Needs:
        return asking_needs(self.model, self.dtype, server=None)

    def locks(self) -> Sequence[tuple[str, str]]:
        opinions = [f"{item.key}-{repeat}" for item, repeat in self.wanted]
        return [("judge", content_key([self.identity, self.judge.model_dump(mode="json"), *opinions]))]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        table = language_table(store, self.judge, self.identity)
        lacking = {*missing(table, [item for item, _ in self.wanted], 1 + max(repeat for _, repeat in self.wanted))}
        wanted = [one for one in self.wanted if one in lacking]
        if wanted:
            engine = engine_with(self.model, self.dtype, server=None, adapters=[None])
            model = LocalJudgeModel(local_folder(self.model), engine)
            judge_items(table, self.judge, model, wanted, lambda verdict: tell(1, ""))
        return len(wanted), 0.0
