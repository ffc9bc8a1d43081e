"""Contrast questions: how much likelier one set of answers is than another."""

from __future__ import annotations

from typing import Literal

from weirdgen.config.questions.base import ScoredQuestion


class Contrast(ScoredQuestion):
    """Two sets of answers, scored by log-probability: log-odds of target against other, in nats."""

    kind: Literal["contrast"]
