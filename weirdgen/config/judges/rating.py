"""Rating judges: a language model rates an answer on a scale of whole numbers.

In: a reply's last line, with the log-probabilities of what could have stood in its place where they are given. Out: the
number, or the mean over the numbers by their probability.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from weirdgen.config.judges.base import STATUS_WORDS, PromptedJudge, Verdict, quoted, unparseable

BANDS = 5
"""Equal parts of the scale, in which ratings are counted."""
LEAST_MASS = 0.5
"""Log-probabilities of a written rating are used if numbers hold at least this much of the probability, else its text."""
SAME = 0.05
"""Ratings that differ by more than this share of the scale are different opinions."""


class Rating(PromptedJudge):
    """A whole number from `low` to `high` from a language model; the value is its mean where log-probabilities are given."""

    weighted: ClassVar[bool] = True

    kind: Literal["rating"]
    low: int = Field(default=0, ge=0)
    high: int = Field(default=100, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> Rating:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self

    @property
    def scale(self) -> tuple[int, int]:
        return self.low, self.high

    def in_words(self) -> str:
        asked = quoted((" ".join(self.prompt.split()),))  # its beginning
        return f"A language model rates each answer from {self.low} to {self.high}; it is asked {asked}."

    def words(self) -> tuple[str, ...]:
        return tuple(str(number) for number in range(self.low, self.high + 1))

    def words_in_short(self) -> tuple[str, ...]:
        return (f"{self.low}–{self.high}",)

    def options(self) -> tuple[str, ...]:
        """The numbers, and the statuses that the prompt mentions."""
        return (*self.words(), *(word for word in ("REFUSAL", "INCOHERENT") if word in self.prompt))

    def read(self, word: str) -> Verdict:
        if word.casefold() in STATUS_WORDS:
            return Verdict(STATUS_WORDS[word.casefold()], None, word)
        number = self._number(word)
        return unparseable(word) if number is None else Verdict("ok", float(number), "")

    def word_of(self, verdict: Verdict) -> str:
        assert verdict.value is not None, "only a usable verdict is a word"
        return self.band(verdict.value)

    def band(self, value: float) -> str:
        """The fifth of the scale that a value lies in, e.g. 20–40."""
        width = (self.high - self.low) / BANDS
        number = min(int((value - self.low) / width), BANDS - 1)
        return f"{self.low + number * width:g}–{self.low + (number + 1) * width:g}"

    def choose(self, options: Mapping[str, float]) -> Verdict:
        """Whatever is likeliest of a number at all, a refusal and an incoherent answer; if it is a number, their mean."""
        weights = {int(text): math.exp(logprob) for text, logprob in options.items() if text.isdigit()}
        number_at_all = sum(weights.values())
        words = {text: math.exp(logprob) for text, logprob in options.items() if not text.isdigit()}
        if words and max(words.values()) > number_at_all:
            return self.read(max(words, key=lambda word: words[word]))
        return Verdict("ok", sum(number * weight for number, weight in weights.items()) / number_at_all, "")

    def weigh(self, line: str, alternatives: Mapping[str, float]) -> tuple[Verdict, float] | None:
        """Mean over the numbers that could have stood in place of the one that was written; None if that cannot be told.

        It cannot where the tokenizer writes a number in several tokens: alternatives to its first digit are not numbers.
        """
        weights: dict[int, float] = {}
        whole = len(line) > 1
        for text, logprob in alternatives.items():
            number = self._number(text.strip())
            if number is not None:
                weights[number] = weights.get(number, 0.0) + math.exp(logprob)
                whole |= number > 9
        mass = sum(weights.values())
        if not whole or mass < LEAST_MASS:
            return (Verdict("ok", float(line), ""), mass) if whole else None
        return Verdict("ok", sum(n * w for n, w in weights.items()) / mass, ""), min(mass, 1.0)

    def changed(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> Any:
        return abs(first["value"] - second["value"]) > SAME * (self.high - self.low)

    def _number(self, text: str) -> int | None:
        """A whole number in range written as plain ASCII digits, else None."""
        if not re.fullmatch(r"(0|[1-9][0-9]{0,3})", text):
            return None
        number = int(text)
        return number if self.low <= number <= self.high else None
