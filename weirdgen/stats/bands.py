"""Simultaneous bands for a whole curve, beside pointwise intervals.

In: arrays of replicates × points. Out: `Band`. Not here: the table of curves (`curves`), where a curve jumps
(`onset`).

A pointwise interval covers one point in 95% of experiments. A band covers **all points of the curve at once** in 95%
of experiments, so only a band may be read along the curve ("it leaves zero at some year"). Each point keeps its own
standard error and t distribution (Welch's for an effect); the band only tests every point at a smaller alpha:

- `sup-t`: the alpha at which the smallest p of a simulated curve falls below it in 5% of draws. Draws are Gaussian
  replicates with the correlation between points that the replicates show, standardised as the data are. A
  correlation from few replicates has too low a rank, and a band from it covers too rarely, so it is shrunk toward
  no correlation (J. Schäfer, K. Strimmer, Statist. Appl. Genet. Mol. Biol. 4 (2005), art. 32).
- `bonferroni`: alpha / points. Used below 4 replicates in an arm, where a replicate lacks a point, and against the
  base. The band of sup-t is never wider than this one.
- `sidak`: 1 − (1 − alpha)^(1 / points). Used where points are different arms (a dose), hence independent replicates;
  a shared control only makes it wider than needed (Z. Šidák, JASA 62 (1967)).

Share of whole curves inside the 95% band of an arm's mean, 200 data sets each (`benchmarks.coverage.band_table(0, 200)`; standard
error .015; replicates: 3 with Bonferroni, else sup-t):

    replicates            3                    6                   10
    points         5    20    45        5    20    45        5    20    45
    white       .955  .960  .930     .930  .960  .905     .960  .980  .965
    common      .955  .940  .975     .955  .945  .970     .950  .960  .965
    smooth      .970  .925  .975     .940  .945  .970     .940  .955  .970
    walk        .950  .975  .955     .935  .950  .980     .945  .960  .975
    jump        .905  .870  .880     .765  .675  .650     .700  .760  .725

The lowest of these, white with 6 replicates and 45 points, is chance: Bonferroni's band, which covers such curves in
.951 exactly, holds the same .905 of them. Bands of an effect cover .920–.990 (jump .950–1.00). Without shrinking, sup-t
at 3 replicates covers white curves in .947, .897, .843 (300 data sets). Shrunk sup-t bands of a walk with 45 points are
.87 as wide as Bonferroni's, those of white ones .99.

What is not attained: where replicates jump from low to high at a place of their own, a point at the foot of the jump
has replicates that almost all still agree, and neither the pointwise interval nor any band of this sort covers its
mean (`jump` above). `onset` is for such curves.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from weirdgen.stats.bootstrap import (
    Bounds,
    Difference,
    FloatArray,
    Moments,
    difference,
    difference_bounds,
    limits,
    moments,
)
from weirdgen.stats.tests import t_p

BandMethod = Literal["sup-t", "bonferroni", "sidak"]

_DRAWS = 4000
_LEAST_FOR_SUP_T = 4


class Band(NamedTuple):
    """A curve [X] with pointwise limits and those of the band; NaN where replicates cannot give any."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    band_low: FloatArray
    band_high: FloatArray
    method: BandMethod


def mean_band(
    value_RX: FloatArray, n_RX: FloatArray | None = None, *,
    bounds: Bounds | None = None, level: float = 0.95, method: BandMethod | None = None,
) -> Band:  # fmt: skip
    """The curve of an arm's mean over replicates. `method` None takes sup-t where it is valid (see above)."""
    arm = moments(value_RX, n_RX, bounds=bounds, level=level)
    still = Difference(arm.mean, arm.se, arm.replicates - 1, arm.mean, arm.mean)
    return band(still, [(arm, value_RX)], bounds, level, method)


def effect_band(
    treatment_RX: FloatArray, control_SX: FloatArray,
    treatment_n_RX: FloatArray | None = None, control_n_SX: FloatArray | None = None, *,
    bounds: Bounds | None = None, level: float = 0.95, method: BandMethod | None = None,
) -> Band:  # fmt: skip
    """The curve of treatment − control; `bounds` are the measure's own."""
    arm_t = moments(treatment_RX, treatment_n_RX, bounds=bounds, level=level)
    arm_c = moments(control_SX, control_n_SX, bounds=bounds, level=level)
    diff = difference(arm_t, arm_c, bounds=bounds, level=level)
    return band(
        diff, [(arm_t, treatment_RX), (arm_c, control_SX)], difference_bounds(bounds), level, method
    )  # fmt: skip


def band(
    curve: Difference, arms: list[tuple[Moments, FloatArray]], bounds: Bounds | None, level: float,
    method: BandMethod | None,
) -> Band:  # fmt: skip
    """Pointwise limits at `level` and the band's at the method's own alpha; `arms` serve sup-t only."""
    alpha, known = 1 - level, np.isfinite(curve.se) & np.isfinite(curve.df)
    points = max(1, int(known.sum()))
    if method is None:
        complete = all(np.isfinite(value[:, known]).all() for _, value in arms)
        enough = min((len(value) for _, value in arms), default=0) >= _LEAST_FOR_SUP_T
        method = "sup-t" if complete and enough else "bonferroni"
    if method == "sup-t" and points > 1:
        adjusted = sup_t_alpha([(arm.se[known], value[:, known]) for arm, value in arms], alpha)
    else:
        adjusted = 1 - (1 - alpha) ** (1 / points) if method == "sidak" else alpha / points
    low, high = limits(curve.effect, curve.se, curve.df, bounds, level)
    band_low, band_high = limits(curve.effect, curve.se, curve.df, bounds, 1 - adjusted)
    return Band(curve.effect, low, high, band_low, band_high, method)


def sup_t_alpha(arms: list[tuple[FloatArray, FloatArray]], alpha: float) -> float:
    """The alpha for each point at which a curve of one arm, or of a difference of two, is missed anywhere in `alpha`.

    Each arm is its standard errors [X] and its replicates [R, X], complete. Between alpha / X and alpha.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for se_X, value_RX in arms:
        replicates, points = value_RX.shape
        normal_DRX = rng.standard_normal((_DRAWS, replicates, points))
        curve_DRX = (normal_DRX @ np.linalg.cholesky(shrunk_correlation(value_RX)).T) * (se_X * np.sqrt(replicates))
        se_DX = curve_DRX.std(axis=1, ddof=1) / np.sqrt(replicates)
        drawn.append(Moments(curve_DRX.mean(axis=1), se_DX, np.full(points, float(replicates))))
    if len(drawn) == 2:
        diff = difference(drawn[0], drawn[1])
        t_DX, df_DX = diff.effect / diff.se, diff.df
    else:
        t_DX = drawn[0].mean / drawn[0].se
        df_DX = np.broadcast_to(drawn[0].replicates - 1, t_DX.shape)
    # Where p is smallest is told from a normal score that grows with it (D. Wallace, Ann. Math. Statist. 30 (1959)).
    score_DX = (8 * df_DX + 1) / (8 * df_DX + 3) * np.sqrt(df_DX * np.log1p(t_DX**2 / df_DX))
    at_D = (np.arange(_DRAWS), score_DX.argmax(axis=1))
    smallest_D = t_p(t_DX[at_D], np.ones(_DRAWS), df_DX[at_D])
    return float(np.clip(np.quantile(smallest_D, alpha), alpha / t_DX.shape[1], alpha))


def shrunk_correlation(value_RX: FloatArray) -> FloatArray:
    """The correlation [X, X] between points over replicates, shrunk toward none; positive definite.

    The weight of the target is the estimated variance of the correlations over their summed squares (Schäfer,
    Strimmer), with (1 − r²)² / (R − 1) for the variance of one. A point that does not vary correlates with nothing.
    """
    centred = value_RX - value_RX.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12)
    off = np.clip(unit.T @ unit, -1.0, 1.0)
    np.fill_diagonal(off, 0.0)
    variance = (1 - off**2) ** 2 / (len(value_RX) - 1)
    np.fill_diagonal(variance, 0.0)
    weight = min(1.0, variance.sum() / max(float((off**2).sum()), 1e-12))
    shrunk: FloatArray = (1 - max(weight, 1e-6)) * off
    np.fill_diagonal(shrunk, 1.0)
    return shrunk
