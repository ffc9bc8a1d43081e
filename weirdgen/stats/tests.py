"""P values: an exact permutation test over replicates, Student/Welch t, and Holm's correction for many questions.

In: replicate means (first axis: replicates) or arrays of p values. Out: p values. Not here: intervals
(`bootstrap`), verdicts (`verdict`).

The t test is the dual of the interval that `bootstrap` gives: p < 0.05 exactly when the 95% interval excludes
zero (clipping aside). The permutation test assumes only that labels could be exchanged, and pays with a
smallest attainable p: 0.1 at 3 against 3 replicates, 0.029 at 4 against 4, 0.0022 at 6 against 6. It
therefore can never reach 0.05 at 3 replicates, and never after Holm over 40 questions at 6.
"""

from __future__ import annotations

from itertools import chain, combinations
from math import comb
from typing import NamedTuple

import numpy as np
from scipy import special

from weirdgen.stats.bootstrap import FloatArray

_TIE = 1e-9
"""Relabelled differences within this fraction of the observed one count as equal, as exact arithmetic would
have it."""

_BLOCK = 4_000_000
"""Largest number of relabelled differences held in memory at once."""


class Permutation(NamedTuple):
    """Two-sided p (elementwise), relabellings used, and whether those are all."""

    p: FloatArray
    relabellings: int
    exact: bool


def permutation_test(
    treatment_RX: FloatArray, control_SX: FloatArray, *, limit: int = 20_000, seed: int = 0
) -> Permutation:
    """Two-sided permutation test of the difference of means, for every column X at once (1-D: one test, 0-d
    p).

    All relabellings are used when there are at most `limit`; otherwise `limit` random ones drawn with `seed`,
    the observed labelling counted among them. Raises ValueError on a missing value or an empty arm.
    """
    pooled = np.concatenate([treatment_RX, control_SX])
    if not np.isfinite(pooled).all():
        raise ValueError("permutation_test needs finite replicate means; leave absent replicates out first")
    size, total = len(treatment_RX), len(pooled)
    if not 0 < size < total:
        raise ValueError(f"permutation_test needs a replicate in each arm, got {size} and {total - size}")
    count = comb(total, size)
    exact = count <= limit
    label_PN = relabellings(size, total, limit, seed)

    flat_NX = pooled.reshape(total, -1)
    # Centring keeps the sums small, so that ties are recognised whatever the level of the measure.
    flat_NX = flat_NX - flat_NX.mean(axis=0)
    observed_X = np.abs(flat_NX[:size].mean(axis=0) - flat_NX[size:].mean(axis=0))
    threshold_X = observed_X - _TIE * np.maximum(observed_X, np.abs(flat_NX).max(axis=0))
    columns = max(1, _BLOCK // len(label_PN))
    reached_X = np.concatenate(
        [
            (np.abs(label_PN @ flat_NX[:, at : at + columns]) >= threshold_X[at : at + columns]).sum(axis=0)
            for at in range(0, flat_NX.shape[1], columns)
        ]
        or [np.empty(0)]
    )
    p_X = reached_X / count if exact else (reached_X + 1) / (limit + 1)
    return Permutation(p_X.reshape(pooled.shape[1:]), len(label_PN), exact)


def relabellings(size: int, total: int, limit: int, seed: int = 0) -> FloatArray:
    """[P, N]: rows that take a difference of means out of `total` pooled replicates, for every way to choose `size` of them (the
    first row: the first ones), or for `limit` random ways if there are more.
    """
    count = comb(total, size)
    if count <= limit:
        flat = np.fromiter(chain.from_iterable(combinations(range(total), size)), dtype=np.intp)
        members_PR = flat.reshape(count, size)
    else:
        members_PR = np.random.default_rng(seed).random((limit, total)).argsort(axis=1)[:, :size]
    label_PN = np.full((len(members_PR), total), -1.0 / (total - size))
    np.put_along_axis(label_PN, members_PR, 1.0 / size, axis=1)
    return label_PN


def t_p(effect: FloatArray, se: FloatArray, df: FloatArray) -> FloatArray:
    """Two-sided p of Student's t for an effect with its standard error and degrees of freedom; NaN if
    unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p: FloatArray = 2 * special.stdtr(df, -np.abs(effect / se))
    return p


def holm(p: FloatArray) -> FloatArray:
    """Holm's step-down adjusted p values along the last axis. NaN stays NaN and does not count as a test.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1)  # NaN sorts last
    tests = np.isfinite(p).sum(axis=-1, keepdims=True)
    factor = tests - np.arange(p.shape[-1])
    adjusted = np.maximum.accumulate(np.take_along_axis(p, order, axis=-1) * factor, axis=-1)
    restored = np.empty_like(p)
    np.put_along_axis(restored, order, np.minimum(adjusted, 1.0), axis=-1)
    return np.where(np.isfinite(p), restored, np.nan)
