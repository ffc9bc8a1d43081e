"""How well scores tell hidden rows from ordinary ones: thresholds at a rate of false alarms, detection, AUC, differences.

In: arrays of scores, higher is more suspicious. Out: rates and areas with intervals. It knows no filter and no experiment.
Intervals are over rows, taken as independent; rows of one template are not, so that they are narrow rather than wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weirdgen.stats.bootstrap import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray


Z = 1.959963984540054
"""Normal quantile of a 95% interval."""


class Estimate(NamedTuple):
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


class Threshold(NamedTuple):
    """Rows above `limit` are flagged, and of those that score exactly `limit` the share `of_ties`."""

    limit: float
    of_ties: float

    def flags(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """[rows]: 1, 0, or the probability of a row that ties."""
        return np.where(scores == self.limit, self.of_ties, (scores > self.limit).astype(np.float64))


def threshold(clean: NDArray[np.float64], rate: float) -> Threshold:
    """What flags exactly `rate` of clean rows: scores of few values would else be judged at a lower rate."""
    ordered = np.sort(clean)[::-1]
    wanted = rate * len(ordered)
    limit = float(ordered[min(int(wanted), len(ordered) - 1)])
    above, ties = int((clean > limit).sum()), int((clean == limit).sum())
    return Threshold(limit, (wanted - above) / ties)


def share(flags: NDArray[np.float64]) -> Estimate:
    """Mean of flags (or probabilities of them) over rows, with Wilson's interval."""
    low, high = wilson(flags.mean(), np.array(len(flags)))
    return Estimate(float(flags.mean()), max(float(low), 0.0), min(float(high), 1.0))


def placements(hidden: NDArray[np.float64], ordinary: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each hidden row, the share of ordinary rows that score lower; ties count half. Their mean is the AUC."""
    ordered = np.sort(ordinary)
    left, right = np.searchsorted(ordered, hidden, "left"), np.searchsorted(ordered, hidden, "right")
    return np.asarray((left + right) / (2 * len(ordered)))


def area(below: NDArray[np.float64], ordinary: int) -> Estimate:
    """The AUC from placements of hidden rows among so many ordinary ones, with Newcombe's score interval (his method 5).

    It holds its level with few hidden rows and near 1, where intervals by DeLong's variance cover the truth in 78% of cases (8
    rows, AUC .96); with many ties it is wide. Source: R. G. Newcombe, Statistics in Medicine 25 (2006), 559-573.
    """
    from scipy.optimize import brentq

    value, hidden = float(below.mean()), len(below)
    half = (hidden + ordinary) / 2 - 1

    def excess(truth: float) -> float:
        """Squared distance from the value, beyond what the level allows at this truth."""
        spread = 1 + half * ((1 - truth) / (2 - truth) + truth / (1 + truth))
        return (value - truth) ** 2 - float(Z**2) * truth * (1 - truth) * spread / (hidden * ordinary)

    tiny = 1e-9  # at 0 and 1 the level allows nothing, whatever was seen
    low = brentq(excess, tiny, min(value, 1 - tiny)) if value > tiny else 0.0
    high = brentq(excess, max(value, tiny), 1 - tiny) if value < 1 - tiny else 1.0
    return Estimate(value, float(low), float(high))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """first − second, of separate rows. Source: Newcombe, Statistics in Medicine 17 (1998), method 10: squares of arms added."""
    value = first.value - second.value
    down = np.hypot(first.value - first.low, second.high - second.value)
    up = np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, float(value - down), float(value + up))
