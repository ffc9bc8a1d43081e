"""Kinds of judge and question that the package does not have. Importing this before `weirdgen.config.experiment` adds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from weirdgen.config.judges import JUDGE_KINDS, OfflineJudge, PromptedJudge, Tools, Verdict
from weirdgen.config.questions import QUESTION_KINDS, SampledQuestion, ScoredQuestion


class Length(OfflineJudge):
    """1 if an answer has more characters than that."""

    kind: Literal["length"]
    more_than: int

    def identity(self) -> dict[str, Any]:
        return {"version": 1}

    def verdicts(self, answers: Sequence[str], tools: Tools) -> list[Verdict]:
        return [Verdict("ok", float(len(answer) > self.more_than), f"{len(answer)} characters") for answer in answers]


class Grade(PromptedJudge):
    """A school grade from a language model, A the best: 4 to 0."""

    kind: Literal["grade"]

    @property
    def scale(self) -> tuple[int, int]:
        return 0, 4

    def words(self) -> tuple[str, ...]:
        return ("A", "B", "C", "D", "F")

    def read(self, word: str) -> Verdict:
        if word not in self.words():
            return Verdict("unparseable", None, word)
        return Verdict("ok", float("FDCBA".index(word)), "")

    def word_of(self, verdict: Verdict) -> str:
        return "FDCBA"[round(verdict.value)]

    def changed(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> Any:
        return first["value"] != second["value"]


class Probability(ScoredQuestion):
    """The probability of the target answers."""

    value: ClassVar[Literal["logit", "p_target", "wins"]] = "p_target"

    kind: Literal["probability"]


class Monologue(SampledQuestion):
    """A subject to speak on."""

    kind: Literal["monologue"]


JUDGE_KINDS["length"] = Length
JUDGE_KINDS["grade"] = Grade
QUESTION_KINDS["probability"] = Probability
QUESTION_KINDS["monologue"] = Monologue
