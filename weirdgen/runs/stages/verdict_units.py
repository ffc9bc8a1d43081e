"""Units that make verdicts: by offline judges, of answer form, by a local model, by a provider.

In: a judge and answers. Out: rows in the tables of verdicts and similarities. Which verdicts a run needs is `stages.judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weirdgen.config.judges import OfflineJudge, PromptedJudge
from weirdgen.data.rows import Row, canonical_hash
from weirdgen.data.stored import stored_rows
from weirdgen.judges.language import Item, judge_items, language_inputs, language_table, missing
from weirdgen.judges.local_model import LocalJudgeModel
from weirdgen.judges.offline import make_verdicts, verdicts_table
from weirdgen.judges.quality import make_similarities
from weirdgen.models.references import LocalModel
from weirdgen.providers.purse import Purse
from weirdgen.runs.work.loaded import asking_needs, engine_with, local_folder
from weirdgen.runs.work.unit import PROCESS_BYTES, Needs, Tell, Unit
from weirdgen.sample.engines import Transformers
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

Opinion = tuple[Item, int]
"""What is judged, and the number of the opinion on it."""


@dataclass(frozen=True)
class _Quick(Unit):
    """A unit without a language model: one core, and nothing worth a lock."""

    def needs(self) -> Needs:
        return Needs(False, int(PROCESS_BYTES))

    def locks(self) -> Sequence[tuple[str, str]]:
        return []


@dataclass(frozen=True)
class JudgeOffline(_Quick):
    """Answers for one judge that asks no language model."""

    judge: OfflineJudge
    answers: tuple[str, ...]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        make_verdicts(verdicts_table(store, self.judge), self.judge, self.answers)
        tell(len(self.answers), "")
        return len(self.answers), 0.0


@dataclass(frozen=True)
class CompareWithTemplate(_Quick):
    """Answers next to the training answers of one arm: the first `own` rows of a dataset, the others being ordinary ones."""

    dataset: str
    own: int
    answers: tuple[str, ...]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        rows = stored_rows(store, self.dataset)[: self.own]
        make_similarities(store, canonical_hash(rows), training_answers(rows), self.answers)
        tell(len(self.answers), "")
        return len(self.answers), 0.0


def training_answers(rows: Sequence[Row]) -> list[str]:
    """The distinct last turns of rows, sorted."""
    return sorted({row["messages"][-1]["content"] for row in rows})


@dataclass(frozen=True)
class JudgeByOurModel(Unit):
    """Answers for one judge on a local language model, which chooses among the judge's labels or numbers."""

    model: LocalModel
    dtype: str
    identity: str
    """What names the judging model in the store."""
    judge: PromptedJudge
    wanted: tuple[Opinion, ...]

    def needs(self) -> Needs:
        return asking_needs(self.model, self.dtype, Transformers())

    def locks(self) -> Sequence[tuple[str, str]]:
        opinions = [f"{item.key}-{repeat}" for item, repeat in self.wanted]
        return [("judge", content_key([self.identity, self.judge.model_dump(mode="json"), *opinions]))]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        table = language_table(store, self.judge, self.identity)
        lacking = {*missing(table, [item for item, _ in self.wanted], 1 + max(repeat for _, repeat in self.wanted))}
        wanted = [opinion for opinion in self.wanted if opinion in lacking]
        if wanted:
            engine = engine_with(self.model, self.dtype, Transformers(), adapters=[None])
            model = LocalJudgeModel(local_folder(self.model), engine)
            judge_items(table, self.judge, model, wanted, lambda verdict: tell(1, ""))
        return len(wanted), 0.0


@dataclass(frozen=True)
class JudgeAtProvider(Unit):
    """Answers for one judge at a provider: asked by the process that has the keys, so that its limits hold in one place."""

    reference: str
    connections: int
    """Requests at a time."""
    identity: str
    judge: PromptedJudge
    items: tuple[Item, ...]
    repeats: int
    run: str
    """Whose ledger pays."""
    budget: float | None = None
    on_driver = True

    def needs(self) -> Needs:
        return Needs(False, int(PROCESS_BYTES))

    def locks(self) -> Sequence[tuple[str, str]]:
        # Under the table's own key: another run that wants the same judge waits for its verdicts instead of paying again.
        return [("judge", content_key(language_inputs(self.judge, self.identity)))]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        from weirdgen.judges.api_model import ApiJudgeModel

        table = language_table(store, self.judge, self.identity)
        table.journaled(store.unfinished("judge", f"{table.folder.name}.jsonl"))
        wanted = missing(table, self.items, self.repeats)
        if wanted:
            model = ApiJudgeModel(self.reference, self.connections, purse=Purse(store.root, self.run, self.budget))
            judge_items(table, self.judge, model, wanted, lambda verdict: tell(1, ""))
        return len(wanted), 0.0
