"""Intervals for an arm's mean and for a difference of two arms, from replicates.

In: arrays whose first axis is the replicate (one finetune with its own seed) and whose second axis is the
question. Out: for many cells at once `Moments` and `Difference` (arrays). Not here: p values
(`tests`), detectable effects (`power`), verdicts (`verdict`), tables (`estimate`).

**The unit is the replicate.** Questions are a fixed battery and samples lie inside cells, so whole replicates are resampled.
The variance of a mean of n replicates over all n^n resamples is (n-1)/n * s^2/n, with s the standard deviation between
replicates. The standard error used is that of all resamples, corrected by n/(n-1); it therefore equals s/sqrt(n), has no
Monte-Carlo error and needs no random number. The interval is mean ± t * that standard error, with n-1 degrees of freedom for an
arm and Welch-Satterthwaite degrees for a difference. The usual percentile bootstrap of whole replicates is far too narrow at
few of them: `benchmarks.coverage.coverage_table` has both side by side.

Measured coverage of 95% intervals of a difference, 20,000 data sets each; the simulations
are in tests/stats/test_coverage.py. Rates: 8 questions with logit SD 1 between questions, 8 samples per cell,
logit SD 0.3 between replicates and 0.3 between replicates within a question.

    replicates per arm                           3      4      6     10
    gaussian, equal SD, this interval         .967   .958   .956   .953
    gaussian, SD 1 and 3, this interval       .949   .945   .948   .949
    rates .02 and .02, this interval          .975   .961   .956   .954
    rates .30 and .30, this interval          .964   .956   .953   .952
    rates .90 and .90, this interval          .968   .961   .957   .953
    rates .30 and .02, this interval          .948   .944   .946   .948
    rates .90 and .30, this interval          .959   .955   .954   .950

What is not attained. With a logit SD of 1 between replicates the rates are skewed and their variances
unequal: .30 against .02 then gets .934, .935, .940, .944 and .98 against .02 gets .912, .905, .905, .916. One
question with 50 samples and logit SD 1.5: .30 against .02 gets .915, .922, .935, .944 and .98 against .02
only .841, .828, .842, .864. False positives at equal rates were at most .05 in all of these. The interval of
one arm's rate near 0 or 1 suffers more than a difference does, because skew does not cancel: .02 with logit
SD 1, 8 questions and 50 samples gets .884, .870, .872, .888. Where sampling is coarse (one question, 8
samples, rates near 0 or 1) the interval covers too often, up to 1.00.

**Rates that do not vary.** A bounded measure whose replicates all have the same value (all 0, all 1, all 1/8)
has s = 0, which is no evidence of no variation. Its standard error is then the longer arm of a Wilson
interval, divided by the t quantile, so that the arm's own interval is Wilson's. By default that interval counts
replicates ("replicates"), for seeds of which only some jump agree until one does. Neither count makes "no shift" safe:
one flagged answer in either arm is variation enough for an interval of its own, which then is narrow. Simulated with a share of
seeds at rate .9 and the others at .002 (smallest effect of interest .1; 20,000 data sets; `benchmarks.coverage jumping`), an
interval would do for "no shift" in

    replicates an arm                                2     3     4     6     8    10    14
    share .2, 50 answers, Wilson over replicates  .019  .035  .043  .054  .052  .042  .026
    share .2, 50 answers, over samples            .630  .512  .412  .262  .169  .108  .046
    share .2, 400 answers, over replicates        .268  .373  .352  .249  .162  .103  .044
    share .2, 400 answers, over samples           .641  .504  .400  .254  .162  .103  .044
    share .3, 400 answers, over replicates        .204  .251  .201  .112  .053  .026  .007
    share .3, 400 answers, over samples           .491  .341  .230  .114  .053  .026  .007

so `verdict` never says it of a bounded measure below `seeds.ENOUGH_FOR_NO_SHIFT` replicates. Tables of runs count
`usable samples / DESIGN_EFFECT` ("samples"), as they did before.
A design effect of 2 was chosen by simulation: single questions, rates .2 and .001, 8 samples, 3
replicates, logit SD 1 between replicates: coverage .90 with 1, .975 with 2, .995 with 4. An unbounded measure
with identical replicates gets no interval at all: trained with different seeds they never give the same
log-probability, so either nothing was trained yet (step 0) or something upstream is wrong.

**Missing cells** (no usable sample) are NaN. A mean over questions uses only the questions that every
replicate has usable, in both arms for a difference, so that no replicate is compared on easier questions. A
replicate without any usable cell counts as absent.
"""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Bounds = tuple[float, float]
Unvaried = Literal["replicates", "samples"]
"""What counts in Wilson's interval where no replicate of an arm differs from another; see the module's text."""

DESIGN_EFFECT = 2.0
"""By how much usable samples are divided before Wilson's interval; see the module's text for the
simulation."""

_IDENTICAL = 1e-12
"""Replicates whose SD is below this times max(1, |mean|) differ by rounding of floats only."""


class Moments(NamedTuple):
    """One arm over its replicates, elementwise over cells: mean, standard error (NaN if unknown),
    replicates."""

    mean: FloatArray
    se: FloatArray
    replicates: FloatArray


class Difference(NamedTuple):
    """Treatment − control, elementwise; unknown numbers are NaN."""

    effect: FloatArray
    se: FloatArray
    df: FloatArray
    low: FloatArray
    high: FloatArray


def nanmean(value: FloatArray, axis: int) -> FloatArray:
    """Mean over finite entries; NaN, without a warning, where there is none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        mean: FloatArray = np.nanmean(value, axis=axis)
    return mean


def usable_everywhere(value: FloatArray, axes: tuple[int, ...] = (1,)) -> BoolArray:
    """Cells that are usable in every replicate (axis 0); replicates with no usable cell along `axes` do not
    count."""
    usable = np.isfinite(value)
    present = usable.any(axis=axes, keepdims=True)
    return np.logical_and((usable | ~present).all(axis=0), present.any(axis=0))


def wilson(rate: FloatArray, n: FloatArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Wilson's score interval (low, high) for a rate in [0, 1] observed on n independent samples, elementwise.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927).
    """
    z2 = special.ndtri(0.5 + level / 2) ** 2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return centre - half, centre + half


def wilson_half_width(rate: FloatArray, n: FloatArray, level: float) -> FloatArray:
    """The longer arm of Wilson's interval, measured from the rate itself."""
    low, high = wilson(rate, n, level)
    longer: FloatArray = np.maximum(rate - low, high - rate)
    return longer


def moments(
    value_RX: FloatArray, n_RX: FloatArray | None = None, *, bounds: Bounds | None = None, level: float = 0.95
) -> Moments:
    """Mean and standard error over replicates for every cell X at once; NaN entries are absent replicates.

    `n_RX` counts usable samples behind each value; None takes the replicate for the unit. It is used only for a
    bounded measure whose replicates are all equal; the standard error then depends on `level` a little.
    """
    usable_RX = np.isfinite(value_RX)
    replicates = usable_RX.sum(axis=0).astype(np.float64)
    mean = nanmean(value_RX, axis=0)
    squares = np.where(usable_RX, (value_RX - mean) ** 2, 0.0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(replicates > 1, squares / (replicates - 1), np.nan)
        se = np.sqrt(variance / replicates)
        identical = np.sqrt(variance) <= _IDENTICAL * np.maximum(1.0, np.abs(mean))
        if bounds is None:
            se = np.where(identical, np.nan, se)
        else:
            samples = replicates if n_RX is None else np.where(usable_RX, n_RX, 0.0).sum(axis=0) / DESIGN_EFFECT
            low, high = bounds
            rate = np.clip((mean - low) / (high - low), 0.0, 1.0)
            half = wilson_half_width(rate, np.maximum(samples, 1.0), level) * (high - low)
            se = np.where(identical, half / special.stdtrit(replicates - 1, 0.5 + level / 2), se)
    return Moments(mean, se, replicates)


def limits(
    centre: FloatArray, se: FloatArray, df: FloatArray, bounds: Bounds | None, level: float
) -> tuple[FloatArray, FloatArray]:
    """centre ± t * se, clipped to bounds; NaN where se or df is."""
    half = special.stdtrit(df, 0.5 + level / 2) * se
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    return np.clip(centre - half, low, high), np.clip(centre + half, low, high)


def difference(
    treatment: Moments, control: Moments, *, bounds: Bounds | None = None, level: float = 0.95
) -> Difference:
    """Treatment − control with Welch-Satterthwaite degrees of freedom, elementwise.

    Source: B. L. Welch, "The generalization of Student's problem…", Biometrika 34 (1947).
    """
    effect = treatment.mean - control.mean
    part_t, part_c = treatment.se**2, control.se**2
    with np.errstate(divide="ignore", invalid="ignore"):
        df = (part_t + part_c) ** 2 / (part_t**2 / (treatment.replicates - 1) + part_c**2 / (control.replicates - 1))
    se = np.sqrt(part_t + part_c)
    low, high = limits(effect, se, df, difference_bounds(bounds), level)
    return Difference(effect, se, df, low, high)


def difference_from_base(
    treatment: Moments,
    constant: FloatArray,
    n: FloatArray,
    *,
    bounds: Bounds | None = None,
    level: float = 0.95,
) -> Difference:
    """Treatment − the one untuned base, elementwise: a one-sample t over replicates.

    A bounded measure of the base was sampled `n` times, which adds Wilson's standard error (its degrees of
    freedom are infinite in Welch's formula); an unbounded one is computed exactly and is a constant.
    """
    effect = treatment.mean - constant
    noise = np.zeros_like(effect)
    if bounds is not None:
        rate = np.clip((constant - bounds[0]) / (bounds[1] - bounds[0]), 0.0, 1.0)
        half = wilson_half_width(rate, np.maximum(n, 1.0), level) * (bounds[1] - bounds[0])
        noise = half / special.ndtri(0.5 + level / 2)
    se = np.hypot(treatment.se, noise)
    df = (treatment.replicates - 1) * (se / treatment.se) ** 4
    low, high = limits(effect, se, df, difference_bounds(bounds), level)
    return Difference(effect, se, df, low, high)


def difference_bounds(bounds: Bounds | None) -> Bounds | None:
    """The range of a difference of two values that lie in `bounds`."""
    return None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])
