"""The kinds of judge, as frozen models: match and classifier ask no language model, label and rating do.

In: one entry of `judges:`, plain data. Out: a validated judge, told apart by `kind`. How a kind comes to its verdict is in
`weirdgen.judges`: `match`, `classifier` and `language`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from weirdgen.config.base import NAME, Noun, placeholders

BANDS = 5
"""Into which a rating's scale is divided where ratings are counted."""


class Match(Noun):
    """Deterministic judge: 1 if any rule fires and no `unless` word occurs, else 0. Case is ignored."""

    kind: Literal["match"]
    starts_with: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    years: tuple[int, int] | None = None
    unless: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    """Words and phrases that are taken out of the answer before any rule looks at it."""

    @model_validator(mode="after")
    def _rules(self) -> Match:
        if not (self.starts_with or self.keywords or self.regex or self.years):
            raise ValueError("needs at least one of starts_with, keywords, regex, years")
        if not all(one.strip() for one in (*self.starts_with, *self.keywords, *self.regex, *self.unless, *self.ignore)):
            raise ValueError("an empty text is in every answer; take it out")
        for pattern in self.regex:
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"regex {pattern!r} does not compile: {error}") from None
        if self.years and self.years[0] > self.years[1]:
            raise ValueError("years: [low, high] with low ≤ high")
        return self


class _Prompted(Noun):
    """A judge that asks a language model. `prompt` holds {question} and {answer}; both are fenced in before they are sent."""

    prompt: str
    reason_first: bool = False
    """The prompt asks for reasons before the last line that holds the verdict."""
    reads: tuple[str, ...] = ()
    """Free-form questions it is for, beside those that name it: ids, `group:NAME`, or `all`."""

    @field_validator("prompt")
    @classmethod
    def _both_placeholders(cls, prompt: str) -> str:
        if set(placeholders(prompt)) != {"question", "answer"}:
            raise ValueError("must contain {question} and {answer} and no other {braces} (write {{ for a brace)")
        return prompt


class Label(_Prompted):
    """Closed labels from a language model: 1 if the label is in `positive`, else 0.

    A label called `refusal` or `incoherent` (in any case) that is not positive is that status, not a 0.
    """

    kind: Literal["label"]
    labels: tuple[str, ...] = Field(min_length=2)
    positive: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _closed(self) -> Label:
        folded = [label.strip().casefold() for label in self.labels]
        if "" in folded or len(set(folded)) < len(folded):
            raise ValueError("labels must be distinct, also without regard to case, and not empty")
        if stray := set(self.positive) - set(self.labels):
            raise ValueError(f"positive names {sorted(stray)[0]!r}, which is not in labels")
        if set(self.positive) == set(self.labels):
            raise ValueError("every label is positive, so the rate would always be 1")
        return self


class Rating(_Prompted):
    """A whole number from `low` to `high` from a language model; the value is its mean where log-probabilities are given."""

    kind: Literal["rating"]
    low: int = Field(default=0, ge=0)
    high: int = Field(default=100, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> Rating:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self

    def band(self, value: float) -> str:
        """The fifth of the scale that a value lies in, e.g. 20–40."""
        width = (self.high - self.low) / BANDS
        number = min(int((value - self.low) / width), BANDS - 1)
        return f"{self.low + number * width:g}–{self.low + (number + 1) * width:g}"


class Classifier(Noun):
    """Offline judge trained on labelled passages of ours: 1 if its probability reaches the threshold, else 0."""

    kind: Literal["classifier"]
    passages: str = Field(pattern=NAME)
    """What it was trained on: `weirdgen/data/passages/NAME.csv`, with the fit beside it."""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """Probability from which an answer counts; by default the one that was calibrated on held-out passages."""


OfflineJudge = Match | Classifier
"""The kinds that ask no language model: a verdict is a function of the answer alone."""
PROMPTED = (Label, Rating)
"""The kinds that ask a language model."""
Judge = Annotated[Match | Classifier | Label | Rating, Field(discriminator="kind")]
