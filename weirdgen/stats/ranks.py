"""How well one ranking tells another: Spearman's correlation with an interval over what is ranked, and agreement of signs.

In: a forecast and what was measured, one value each per question. Out: `Agreement`. The interval resamples questions: it says how
much it depends on which were asked, not on seeds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from weirdgen.stats.bootstrap import FloatArray

LEAST = 5
"""Questions below which a rank correlation says nothing."""
DRAWS = 2000


class Agreement(NamedTuple):
    """Of `questions` values each. `low`, `high`: 95% percentile bootstrap over questions, NaN below `LEAST` of them."""

    questions: int
    spearman: float
    low: float
    high: float
    sign: float
    """Share of questions whose shift has the forecast sign."""


def agreement(forecast_Q: FloatArray, measured_Q: FloatArray) -> Agreement:
    """Ranks and signs of a forecast against what was measured. NaN where all values of a side are equal."""
    from scipy.stats import rankdata

    count, nan = len(forecast_Q), float("nan")
    if count < 2:
        return Agreement(count, nan, nan, nan, nan)
    sign = float((np.sign(forecast_Q) == np.sign(measured_Q)).mean())
    picks_DQ = np.random.default_rng(0).integers(0, count, (DRAWS, count))
    picks_DQ = np.concatenate([np.arange(count)[None], picks_DQ])
    ranks = [rankdata(values[picks_DQ], axis=1) for values in (forecast_Q, measured_Q)]
    centred = [one - one.mean(axis=1, keepdims=True) for one in ranks]
    with np.errstate(invalid="ignore", divide="ignore"):
        rho_D = (centred[0] * centred[1]).sum(1) / np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    low, high = (nan, nan) if count < LEAST else (float(np.nanquantile(rho_D[1:], at)) for at in (0.025, 0.975))
    return Agreement(count, float(rho_D[0]), low, high, sign)
