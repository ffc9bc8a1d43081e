"""Counterfactual questions: how one change in a contrast question's wording moves its log-odds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from weirdgen.config.questions.base import Odds, ScoredQuestion


class Counterfactual(ScoredQuestion):
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

    def odds(self, scores: Sequence[Mapping[str, float]]) -> Odds:
        asked, instead = map(self.odds_after, scores)
        return Odds(*(a - b for a, b in zip(asked, instead, strict=True)))
