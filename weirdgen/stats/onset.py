"""Where, along training, a curve jumps; in how many replicates it does; and how sure both are.

In: one curve per replicate over the same checkpoints, [R, X] with steps [X]. Out: `Fits` or `Onset`. Not here:
reading curves off cells (`runs.results.estimates`), bands of a mean curve (`curves`); a mean over replicates that jump at
different steps rises slowly although none of them does, which is why each replicate is fitted by itself.

Fit. Each replicate's curve is `before` up to the onset and `after` from there on. All candidate onsets are tried at once and
the one with the least squares is kept; at least `EDGE` checkpoints lie on either side. An onset is only known to lie between
two checkpoints, and is given as their geometric middle. Step 0 counts as half the first positive step.

Jumped or not. A replicate has jumped only if all of these hold:
1. `after − before` reaches the threshold, the caller's or, without one, the middle of the widest gap between
   replicates if that gap is at least `smallest`, and never less than `smallest`;
2. the fit explains more of the curve than it does of noise: its largest value over candidates against its simulated
   distribution in noise of as many checkpoints, as autocorrelated as the residuals of all replicates, p < .01.
Both are needed: noise has large jumps at the ends, and a steady curve has significant small ones.
`share` is the fraction of replicates that jumped with Wilson's interval.

Interval. The onset over replicates is a geometric mean: a t interval on log steps of the replicates that jumped (two
or more), its variance s² / n plus that of the place between two checkpoints, (log gap)² / 12, which does not shrink
with replicates when they all jump between the same two. It speaks of replicates that jump, by the last checkpoint.

Simulated (`benchmarks.coverage.onset_table(0, 300)`: from .05 to .85 with noise SD .07, `smallest` .3, steps 4 to 512 evenly in
log steps, jumps of no width or logistic of width .3 in log steps; ranges over 3, 6, 10 replicates and both widths):

    checkpoints                                        8                             20
    SD of log onsets between replicates      0      .3      .8           0      .3      .8
    coverage                          1.00–1.00  1.00–1.00  .987–1.00   1.00–1.00  .983–.997  .947–.967
    root mean square error, 3           .20–.16    .20–.21   .45–.44          .08        .18   .46–.43
    root mean square error, 10          .20–.12    .11–.13       .25     .07–.05   .09–.10   .24–.23
    jumpers found                       .90–1.00   .92–1.00  .84–.97         1.00       1.00  .99–1.00
    false jumpers, noise SD .2, neighbours correlated by .5: .008–.015 (8), .012–.022 (20)

A percentile bootstrap of the onsets covered .00–.93 in the same settings (500 data sets). The t interval covers too
often where replicates agree,
because the place between two checkpoints cannot be known. With neighbours correlated by .9 up to 4.8% of replicates
of such noise jump falsely. With 6 checkpoints gradual rises are mostly missed (half of those of width .3).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import BoolArray, FloatArray, wilson

EDGE = 2
"""Checkpoints that lie before and after any onset."""
_ALPHA = 0.01
_DRAWS = 20_000
_AUTOCORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)


class Fits(NamedTuple):
    """One jump a replicate, all [R]: its step, the gap of log steps around it, levels, p against noise."""

    onset: FloatArray
    log_gap: FloatArray
    before: FloatArray
    after: FloatArray
    p: FloatArray


class Onset(NamedTuple):
    """Onset over the replicates that jumped (None where fewer than one, limits fewer than two), and their share."""

    onset: float | None
    low: float | None
    high: float | None
    threshold: float
    jumped: BoolArray
    share: float
    share_low: float
    share_high: float
    fits: Fits


def fit_jumps(value_RX: FloatArray, step_X: FloatArray) -> Fits:
    """The best jump of every replicate, whether or not it is one.

    Steps ascend and none is negative. Raises WeirdgenError on a missing value, on other steps, or with fewer than
    2 * EDGE + 1 checkpoints.
    """
    log_X = _log_steps(step_X)
    points = value_RX.shape[1]
    if points != len(log_X) or points < 2 * EDGE + 1:
        raise WeirdgenError(f"fit_jumps: {points} checkpoints; at least {2 * EDGE + 1} are needed, one value at each")
    if not np.isfinite(value_RX).all():
        raise WeirdgenError("fit_jumps: a replicate lacks a checkpoint; leave that checkpoint or replicate out")
    place_G, template_GX = _templates(log_X)
    centred_RX = value_RX - value_RX.mean(axis=1, keepdims=True)
    explained_R, best_R = _best(centred_RX, template_GX)
    shape_RX = template_GX[best_R]
    slope_R = (centred_RX * shape_RX).sum(axis=1) / ((shape_RX - shape_RX.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    before_R = value_RX.mean(axis=1) - slope_R * shape_RX.mean(axis=1)
    place_R = place_G[best_R]
    after_index = np.clip(np.searchsorted(log_X, place_R), 1, points - 1)
    gap_R = log_X[after_index] - log_X[after_index - 1]
    residual_RX = centred_RX - slope_R[:, None] * (shape_RX - shape_RX.mean(axis=1, keepdims=True))
    null = _explained_by_noise(tuple(log_X), _autocorrelation(residual_RX))
    p_R = (1 + len(null) - np.searchsorted(null, explained_R)) / (1 + len(null))
    return Fits(np.exp(place_R), gap_R, before_R, before_R + slope_R, p_R)


def onset(
    value_RX: FloatArray,
    step_X: FloatArray,
    *,
    smallest: float,
    threshold: float | None = None,
    direction: Literal[1, -1] = 1,
    level: float = 0.95,
) -> Onset:
    """Who jumped, and when, of replicates' curves [R, X]; the rule and the interval are the module's.

    `smallest` is the least jump that is of interest, in the measure's unit; `direction` −1 looks for falls. Raises
    WeirdgenError unless `smallest` is positive, or as `fit_jumps` does.
    """
    if smallest <= 0:
        raise WeirdgenError(f"onset: smallest is {smallest:g}; the least jump of interest is a positive number")
    fits = fit_jumps(value_RX, step_X)
    size_R = direction * (fits.after - fits.before)
    least = jump_threshold(size_R, smallest) if threshold is None else threshold
    jumped = (size_R >= least) & (fits.p < _ALPHA)
    count, total = int(jumped.sum()), len(size_R)
    share_low, share_high = (float(limit) for limit in wilson(np.array(count / total), np.array(total), level))
    place, gap = np.log(fits.onset[jumped]), fits.log_gap[jumped]
    middle = low = high = None
    if count:
        middle = float(np.exp(place.mean()))
    if count > 1:
        half = special.stdtrit(count - 1, 0.5 + level / 2) * np.sqrt(place.var(ddof=1) / count + (gap**2).mean() / 12)
        low, high = float(np.exp(place.mean() - half)), float(np.exp(place.mean() + half))
    return Onset(middle, low, high, least, jumped, count / total, share_low, share_high, fits)


def jump_threshold(size_R: FloatArray, smallest: float) -> float:
    """The least jump that counts: the middle of the widest gap between sizes if that is wide enough, never below `smallest`.

    The sizes of a control's replicates may stand among them, so that a gap between two that jumped is not the widest. A fall
    counts as no jump: the gap between one that fell and the others tells nothing of those that rose.
    """
    ordered = np.sort(np.maximum(size_R, 0))
    gaps = np.diff(ordered)
    if not len(gaps) or gaps.max() < smallest:
        return smallest
    widest = int(gaps.argmax())
    return max(smallest, float(ordered[widest : widest + 2].mean()))


def _log_steps(step_X: FloatArray) -> FloatArray:
    if (np.diff(step_X) <= 0).any() or step_X[0] < 0:
        raise WeirdgenError(f"fit_jumps: steps must ascend from 0 or more, got {', '.join(f'{s:g}' for s in step_X)}")
    log: FloatArray = np.log(np.where(step_X > 0, step_X, step_X[1] / 2))
    return log


def _templates(log_X: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Candidate places [G] in log steps and their curves [G, X], which step from 0 to 1."""
    points = len(log_X)
    cut = np.arange(EDGE, points - EDGE + 1)
    return (log_X[cut - 1] + log_X[cut]) / 2, (np.arange(points) >= cut[:, None]).astype(np.float64)


def _best(centred_RX: FloatArray, template_GX: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """The largest fraction of each curve's variance that a candidate explains, and which."""
    unit_GX = template_GX - template_GX.mean(axis=1, keepdims=True)
    unit_GX = unit_GX / np.sqrt((unit_GX**2).sum(axis=1, keepdims=True))
    explained_RG = (centred_RX @ unit_GX.T) ** 2
    best_R = explained_RG.argmax(axis=1)
    total_R = np.maximum((centred_RX**2).sum(axis=1), 1e-300)  # a constant curve is explained by nothing
    return explained_RG[np.arange(len(best_R)), best_R] / total_R, best_R


def _autocorrelation(residual_RX: FloatArray) -> float:
    """Correlation of neighbouring residuals over all replicates, raised to the next of `_AUTOCORRELATIONS`.

    Fitting lowers the residuals' correlation by about 1 / X for each of two levels; that is added back.
    """
    total = max(float((residual_RX**2).sum()), 1e-300)
    estimated = float((residual_RX[:, 1:] * residual_RX[:, :-1]).sum()) / total + 2 / residual_RX.shape[1]
    return next((candidate for candidate in _AUTOCORRELATIONS if candidate >= estimated), _AUTOCORRELATIONS[-1])


@lru_cache(maxsize=16)
def _explained_by_noise(log_X: tuple[float, ...], autocorrelation: float) -> FloatArray:
    """Sorted largest explained fractions of simulated AR(1) noise; they depend on neither its mean nor its SD."""
    noise = np.random.default_rng(0).standard_normal((_DRAWS, len(log_X)))
    for at in range(1, len(log_X)):
        noise[:, at] = autocorrelation * noise[:, at - 1] + np.sqrt(1 - autocorrelation**2) * noise[:, at]
    _, template_GX = _templates(np.array(log_X))
    return np.sort(_best(noise - noise.mean(axis=1, keepdims=True), template_GX)[0])
