"""Choice questions: whether the likeliest of a closed set of answers is a target."""

from __future__ import annotations

from typing import ClassVar, Literal

from weirdgen.config.questions.base import ScoredQuestion


class Choice(ScoredQuestion):
    """Closed options: 1 if the likeliest option is a target, else 0."""

    value: ClassVar[Literal["logit", "p_target", "wins"]] = "wins"

    kind: Literal["choice"]
