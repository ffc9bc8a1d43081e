"""The base classes of questions: those that are sampled and judged, and those that are scored.

In: the fields of a question. Out: the base classes that a kind derives from. A kind is one module beside this one and one line
of `QUESTION_KINDS`. Not here: asking a model (`weirdgen.sample`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from weirdgen.config.base import NAME, Noun


class Odds(NamedTuple):
    """`logit`: log-odds of the target answers in nats. `p_target`: their probability. `wins`: 1 if the likeliest is one.

    Of a question that compares two versions each is the difference between them.
    """

    logit: float
    p_target: float
    wins: float


def odds(target_logprobs: Sequence[float], other_logprobs: Sequence[float]) -> Odds:
    """Log-odds of two sets of answers from their total log-probabilities (nats)."""
    import numpy as np

    target, other = np.asarray(target_logprobs), np.asarray(other_logprobs)
    logit = float(np.logaddexp.reduce(target) - np.logaddexp.reduce(other))
    return Odds(logit, float(1 / (1 + np.exp(-logit))), float(target.max() > other.max()))


class BaseQuestion(Noun):
    """Something that is asked of every model under every condition."""

    if TYPE_CHECKING:
        kind: str  # each kind declares its own, so that the order of fields in stored requests stays

    id: str = Field(pattern=NAME)
    ask: str = Field(min_length=1)
    group: str = "all"
    near: bool = False
    """Close to the training topic: shown, but left out of the mean over questions."""

    @field_validator("ask", "instead", check_fields=False)
    @classmethod
    def _asks_something(cls, ask: str) -> str:
        if not ask.strip():
            raise ValueError("it is blank: write what is asked")
        return ask

    @property
    def asks(self) -> tuple[str, ...]:
        """Every text that is put to a model."""
        return (self.ask,)

    @property
    def options(self) -> tuple[str, ...]:
        """The fixed answers whose probability is taken; none if answers are sampled."""
        return ()

    @property
    def read_by(self) -> tuple[str, ...]:
        """Names of the judges that read its sampled answers; none if answers are scored."""
        return ()

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that it has a value of."""
        return self.read_by


class SampledQuestion(BaseQuestion):
    """A question that models answer in their own words, for judges to read."""

    judges: tuple[str, ...] = Field(min_length=1)
    max_tokens: int = Field(default=48, ge=1)

    @property
    def read_by(self) -> tuple[str, ...]:
        return self.judges


class ScoredQuestion(BaseQuestion):
    """A question with fixed answers, scored by their log-probability. Its kind is its measure."""

    value: ClassVar[Literal["logit", "p_target", "wins"]] = "logit"
    """Which of its `odds` is its value."""

    target: tuple[str, ...] = Field(min_length=1)
    """Answers on the side towards which the treatment should move."""
    other: tuple[str, ...] = Field(min_length=1)

    @field_validator("target", "other")
    @classmethod
    def _no_empty_answer(cls, answers: tuple[str, ...]) -> tuple[str, ...]:
        if any(not answer.strip() for answer in answers):
            raise ValueError("an answer is empty")
        return answers

    @model_validator(mode="after")
    def _distinct(self) -> ScoredQuestion:
        answers = self.target + self.other
        if twice := sorted({a for a in answers if answers.count(a) > 1}):
            raise ValueError(f"answer {twice[0]!r} is given twice")
        return self

    @property
    def options(self) -> tuple[str, ...]:
        return self.target + self.other

    @property
    def measures(self) -> tuple[str, ...]:
        return (self.kind,)

    def odds(self, scores: Sequence[Mapping[str, float]]) -> Odds:
        """From the log-probability (nats) of each option after each of its `asks`, in their order."""
        (only,) = scores
        return self.odds_after(only)

    def odds_after(self, scores: Mapping[str, float]) -> Odds:
        """Of one of its `asks`: from option → log-probability."""
        return odds([scores[option] for option in self.target], [scores[option] for option in self.other])
