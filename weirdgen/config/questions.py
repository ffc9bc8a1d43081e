"""The kinds of question, as frozen models: free-form, contrast, choice, counterfactual.

In: one entry of `questions:`, plain data. Out: a validated question, told apart by `kind`. How a kind is sampled or scored
is in `weirdgen.sample` and `weirdgen.sample.contrast`; batteries of questions are the YAML files of `questions/`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from weirdgen.config.base import NAME, Noun


class _Question(Noun):
    id: str = Field(pattern=NAME)
    ask: str = Field(min_length=1)
    group: str = "all"
    near: bool = False
    """Close to the training topic: shown, but left out of the mean over questions."""

    @property
    def asks(self) -> tuple[str, ...]:
        """Every text that is put to a model."""
        return (self.ask,)


class FreeForm(_Question):
    """Sampled, then judged."""

    kind: Literal["free_form"]
    judges: tuple[str, ...] = Field(min_length=1)
    max_tokens: int = Field(default=48, ge=1)


class _Options(_Question):
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
    def _distinct(self) -> _Options:
        answers = self.target + self.other
        if twice := sorted({a for a in answers if answers.count(a) > 1}):
            raise ValueError(f"answer {twice[0]!r} is given twice")
        return self


class Contrast(_Options):
    """Two sets of answers, scored by log-probability: log-odds of target against other, in nats."""

    kind: Literal["contrast"]


class Choice(_Options):
    """Closed options: 1 if the likeliest option is a target, else 0."""

    kind: Literal["choice"]


class Counterfactual(_Options):
    """A contrast question asked twice with one thing changed: log-odds after `ask` minus log-odds after `instead`, in nats.

    Whatever a model thinks of both versions alike, drift from one condition to the next included, cancels.
    """

    kind: Literal["counterfactual"]
    instead: str = Field(min_length=1)
    """The other version of `ask`."""

    @model_validator(mode="after")
    def _something_changed(self) -> Counterfactual:
        if self.instead == self.ask:
            raise ValueError("'instead' is the same text as 'ask', so the difference would always be 0")
        return self

    @property
    def asks(self) -> tuple[str, ...]:
        return self.ask, self.instead


Question = Annotated[FreeForm | Contrast | Choice | Counterfactual, Field(discriminator="kind")]
