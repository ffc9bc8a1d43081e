"""The kinds of question: `free_form` is sampled and judged, the others are scored.

In: one entry of `questions:`, plain data. Out: a validated question, told apart by `kind`, that knows what it asks and how its
value follows. Adding a kind is a module that derives from `SampledQuestion` or `ScoredQuestion`, and one line of
`QUESTION_KINDS`; no other module asks for a kind. Batteries of questions are the YAML files of `weirdgen/questions/`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from weirdgen.config.base import OneOf
from weirdgen.config.questions.base import BaseQuestion, Odds, SampledQuestion, ScoredQuestion
from weirdgen.config.questions.choice import Choice
from weirdgen.config.questions.contrast import Contrast
from weirdgen.config.questions.counterfactual import Counterfactual
from weirdgen.config.questions.free_form import FreeForm

__all__ = [
    "QUESTION_KINDS",
    "BaseQuestion",
    "Choice",
    "Contrast",
    "Counterfactual",
    "FreeForm",
    "Odds",
    "Question",
    "SampledQuestion",
    "ScoredQuestion",
    "sampled",
    "scored",
    "scored_kinds",
]

QUESTION_KINDS: dict[str, type[BaseQuestion]] = {
    "free_form": FreeForm,
    "contrast": Contrast,
    "counterfactual": Counterfactual,
    "choice": Choice,
}
"""What `kind` may be. Of an experiment without a headline, the first scored kind that it has is what the run is about."""
Question = Annotated[BaseQuestion, OneOf(QUESTION_KINDS)]


def sampled(questions: Iterable[BaseQuestion]) -> list[SampledQuestion]:
    """The questions that models answer in their own words."""
    return [question for question in questions if isinstance(question, SampledQuestion)]


def scored(questions: Iterable[BaseQuestion]) -> list[ScoredQuestion]:
    """The questions whose fixed answers are scored."""
    return [question for question in questions if isinstance(question, ScoredQuestion)]


def scored_kinds() -> dict[str, type[ScoredQuestion]]:
    """The kinds that are scored, each a measure of its own, in the order of `QUESTION_KINDS`."""
    return {kind: noun for kind, noun in QUESTION_KINDS.items() if issubclass(noun, ScoredQuestion)}
