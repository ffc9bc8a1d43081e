"""An effect that an experiment names, as an object: the headline of a run, and its secondary effects.

In: a row of `results.json`. Out: numbers under names that editors and type checkers know. What they mean is decided in `stats`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Effect:
    """Treatment − control, in the measure's unit: nats, a fraction for rates, points of a rating's scale."""

    name: str
    measure: str
    treatment: str
    control: str
    condition: str
    minus: tuple[str, ...]
    """Conditions whose mean is taken off first."""
    groups: tuple[str, ...]
    questions: int
    """How many the mean is over."""
    replicates: int
    """Of the smaller arm."""
    effect: float | None
    ci_low: float | None
    ci_high: float | None
    """Limits of the interval over replicates; None with one replicate."""
    p: float | None
    p_permutation: float | None
    mde: float | None
    """The smallest effect that such a run finds in 80% of cases."""
    smallest: float
    """The smallest effect of interest."""
    verdict: Literal["shift", "no_shift", "inconclusive"]
    sentence: str
    p_holm: float | None = None
    """After the correction for how many secondary effects there are; the headline has none."""

    def __str__(self) -> str:
        return self.sentence


def effect_of(row: dict[str, Any]) -> Effect:
    """The effect that a row of `results.json` holds."""
    known = {field.name for field in fields(Effect)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key in known
    }
    return Effect(**{"name": "headline", **values})
