"""How well scores tell hidden rows from ordinary ones: thresholds at a rate of false alarms, detection, AUC, differences.

In: arrays of scores, higher is more suspicious. Out: rates and areas with intervals. It knows no filter and no experiment.
Intervals are over rows, taken as independent; rows of one template are not, so that they are narrow rather than wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weirdgen.stats.bootstrap import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Estimate(NamedTuple):
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


def threshold(clean: NDArray[np.float64], rate: float) -> float:
    """The score above which at most `rate` of clean rows lie."""
    ordered = np.sort(clean)[::-1]
    return float(ordered[min(int(rate * len(ordered)), len(ordered) - 1)])


def share(flags: NDArray[np.float64]) -> Estimate:
    """Mean of flags (or of shares of flags) over rows, with Wilson's interval."""
    return _with_wilson(float(flags.mean()), len(flags))


def placements(
    hidden: NDArray[np.float64], ordinary: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each hidden row, the share of ordinary rows below it; of each ordinary row, of hidden rows above it. Ties count half."""
    below = _ranked(np.sort(ordinary), hidden)
    above = 1 - _ranked(np.sort(hidden), ordinary)
    return below, above


def area(below: NDArray[np.float64], above: NDArray[np.float64]) -> Estimate:
    """The AUC from placements. Interval: Wilson's with the number of rows that DeLong's variance amounts to.

    So it stays within [0, 1], and where no row is out of order, which DeLong's variance takes for certainty, it is Wilson's
    of the smaller group. Source of the variance: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988).
    """
    value = float(below.mean())
    variance = sum(float(side.var(ddof=1)) / len(side) for side in (below, above) if len(side) > 1)
    count = min(len(below), len(above)) if variance <= 0 else value * (1 - value) / variance
    return _with_wilson(value, count)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """first − second, of separate rows. Source: Newcombe, Statistics in Medicine 17 (1998), method 10: squares of arms added."""
    value = first.value - second.value
    down = np.hypot(first.value - first.low, second.high - second.value)
    up = np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, float(value - down), float(value + up))


def mean(estimates: Sequence[float]) -> float:
    """Mean of what is known; NaN if nothing is."""
    known = [value for value in estimates if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _ranked(ordered: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each value, the share of the ordered ones below it, ties counting half."""
    left, right = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((left + right) / (2 * len(ordered)))


def _with_wilson(value: float, count: float) -> Estimate:
    low, high = wilson(np.array(value), np.array(max(count, 1.0)))
    return Estimate(value, float(max(low, 0.0)), float(min(high, 1.0)))
