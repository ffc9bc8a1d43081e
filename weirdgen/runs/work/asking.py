"""Units that put texts to models: ordinary prompts to the base, questions and prompts to several replicates in one batch.

In: the model, who speaks, what is asked. Out: rows in the tables of the distill, contrast and sample stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weirdgen.config.experiment import Ordinary
from weirdgen.models.references import LocalModel
from weirdgen.runs.plan.request import SAMPLING_SEED
from weirdgen.runs.work.loaded import asking_needs, engine_with
from weirdgen.runs.work.unit import Count, Needs, Tell, Unit
from weirdgen.sample.contrast import score, scores_table
from weirdgen.sample.distill import Distilled
from weirdgen.sample.draw import Speaker, completions_table, draw
from weirdgen.sample.engine import Engine, Prompt, Sampling, Scorable
from weirdgen.store.artifacts import Store, content_key


@dataclass(frozen=True)
class _Asked(Unit):
    """What these units have in common."""

    model: LocalModel
    dtype: str
    server: str | None
    """URL of a vLLM server that holds the model; None: in this process."""

    def needs(self) -> Needs:
        return asking_needs(self.model, self.dtype, self.server)


@dataclass(frozen=True)
class Distill(_Asked):
    """Ordinary prompts that the base answers itself, until `count` answers are fit to train on."""

    how: Ordinary
    count: int

    def locks(self) -> Sequence[tuple[str, str]]:
        return [("distill", content_key([self.model.digest, self.dtype, self.how.model_dump()]))]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        count = Count(tell)
        distillery = Distilled(store, self.model.digest, self.dtype, SAMPLING_SEED, self.how)
        if len(distillery.rows(self.count)) < self.count:  # another run of the same base may have drawn them meanwhile
            engine = engine_with(self.model, self.dtype, self.server, adapters=None)
            distillery.answer(engine, self.count, lambda written: count.add(1, written))
        return count.amount, count.tokens


@dataclass(frozen=True)
class _Spoken(_Asked):
    """By several models in one batch. Adapter paths are relative to the store's root."""

    speakers: tuple[Speaker, ...]

    def engine(self, store: Store) -> Engine:
        adapters: list[Path | None] = [
            store.fetch(store.root / one.adapter) if one.adapter else None for one in self.speakers
        ]
        return engine_with(self.model, self.dtype, self.server, adapters)

    def lock_key(self, asked: Sequence[Prompt] | Sequence[Scorable]) -> str:
        """How many samples are wanted is no part of it: a second run that wants more waits all the same."""
        return content_key([self.dtype, [one.key for one in self.speakers], [one.key for one in asked]])


@dataclass(frozen=True)
class Score(_Spoken):
    """Contrast and choice questions."""

    questions: tuple[Scorable, ...]

    def locks(self) -> Sequence[tuple[str, str]]:
        return [("contrast", self.lock_key(self.questions))]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        count = Count(tell)
        tables = [scores_table(store, speaker, self.dtype) for speaker in self.speakers]
        score(self.engine(store), tables, self.questions, count.add)
        return count.amount, count.tokens


@dataclass(frozen=True)
class Sample(_Spoken):
    """Answers to prompts."""

    prompts: tuple[Prompt, ...]
    samples: int
    sampling: Sampling

    def locks(self) -> Sequence[tuple[str, str]]:
        return [("sample", self.lock_key(self.prompts))]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        count = Count(tell)
        tables = [completions_table(store, one, self.dtype, SAMPLING_SEED, self.sampling) for one in self.speakers]
        draw(
            self.engine(store), self.speakers, tables, self.prompts, self.samples, SAMPLING_SEED, self.sampling,
            lambda written: count.add(1, written),
        )  # fmt: skip
        return count.amount, count.tokens
