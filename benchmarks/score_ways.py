"""Ways to score a dataset's shifts on a trait's questions, and to prepare the shifts beforehand: those tried for specificity.

In: residuals of datasets on questions, what the others' are. Out: one number a dataset (`SCORES`), or other residuals (`BEFORE`).
How well each tells a shift from none is `benchmarks.scores`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from weirdgen.stats.bootstrap import FloatArray

Score = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""Residuals [N, Q] from the others' mean, base log-odds [Q], the others' residuals [O, Q] → one number each [N]."""


def _spread(others_OQ: FloatArray, floor: float = 0.25) -> FloatArray:
    """Variance of each question over the others, never far below the usual one."""
    variance = (others_OQ**2).sum(axis=0) / max(len(others_OQ) - 1, 1)
    return np.asarray(variance + floor * np.median(variance), dtype=np.float64)


def mean(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    return np.asarray(residual.mean(axis=1), dtype=np.float64)


def share(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    return np.asarray((residual > 0).mean(axis=1) - 0.5, dtype=np.float64)


def trimmed(residual: FloatArray, base: FloatArray, others: FloatArray, part: float = 0.2) -> FloatArray:
    cut = int(part * residual.shape[1])
    return np.asarray(np.sort(residual, axis=1)[:, cut : residual.shape[1] - cut].mean(axis=1), dtype=np.float64)


def median(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    return np.median(residual, axis=1)


def weighted(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    weight = 1 / _spread(others)
    return np.asarray(residual @ weight / weight.sum(), dtype=np.float64)


def weighted_half(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    weight = 1 / np.sqrt(_spread(others))
    return np.asarray(residual @ weight / weight.sum(), dtype=np.float64)


def winsorized(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    """The mean of residuals limited to twice the question's own spread."""
    limit = 1.5 * np.sqrt(_spread(others))
    return np.asarray(np.clip(residual, -limit, limit).mean(axis=1), dtype=np.float64)


def _without_slope(residual: FloatArray, base: FloatArray, weight: FloatArray) -> FloatArray:
    centred = base - (weight @ base) / weight.sum()
    squares = weight @ centred**2
    slope = (residual * weight) @ centred / squares if squares > 0 else np.zeros(len(residual))
    return residual - slope[:, None] * base


def slope_out(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    return np.asarray(_without_slope(residual, base, np.ones_like(base)).mean(axis=1), dtype=np.float64)


def slope_out_trimmed(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    return trimmed(_without_slope(residual, base, np.ones_like(base)), base, others)


def slope_out_weighted(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    weight = 1 / _spread(others)
    return np.asarray(_without_slope(residual, base, weight) @ weight / weight.sum(), dtype=np.float64)


def t_of_questions(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
    return np.asarray(
        residual.mean(axis=1) / residual.std(axis=1, ddof=1) * np.sqrt(residual.shape[1]), dtype=np.float64
    )


def matched(shrinkage: float) -> Score:
    """Weights that a covariance between questions asks for, shrunk toward none between them."""

    def score(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
        count = max(len(others) - 1, 1)
        inverse = 1 / (shrinkage * _spread(others))
        factor = others * np.sqrt((1 - shrinkage) / count)
        gram = np.eye(len(others)) + (factor * inverse) @ factor.T
        weight = inverse - inverse * (factor.T @ np.linalg.solve(gram, factor @ inverse))
        return np.asarray(residual @ weight / weight.sum(), dtype=np.float64)

    return score


def components(count: int) -> Score:
    """The mean without the others' first principal components."""

    def score(residual: FloatArray, base: FloatArray, others: FloatArray) -> FloatArray:
        axes = np.linalg.svd(others, full_matrices=False)[2][:count]
        weight = np.ones(residual.shape[1])
        weight = weight - axes.T @ (axes @ weight)
        return np.asarray(residual @ weight / weight.sum(), dtype=np.float64)

    return score


SCORES: dict[str, Score] = {
    "mean": mean, "share of questions moved": share, "trimmed mean (.2)": trimmed, "median": median,
    "weighted by 1/variance": weighted, "weighted by 1/SD": weighted_half, "winsorized at 1.5 SD": winsorized,
    "slope out": slope_out, "slope out, trimmed": slope_out_trimmed, "slope out, weighted": slope_out_weighted,
    "t over questions": t_of_questions, "matched filter, shrunk .8": matched(0.8), "matched filter, shrunk .5": matched(0.5),
    "matched filter, shrunk .2": matched(0.2), "first component out": components(1), "three components out": components(3),
}  # fmt: skip


class Questions(NamedTuple):
    """What is known of each question [Q]."""

    trait: FloatArray
    base: FloatArray
    form: FloatArray


Before = Callable[[FloatArray, FloatArray, Questions], tuple[FloatArray, FloatArray]]
"""Residuals [N, Q] of all traits together, the others' [O, Q] → residuals, and what one nat becomes in each of them [N]."""


def _as_they_are(rows: FloatArray, others: FloatArray, asked: Questions) -> tuple[FloatArray, FloatArray]:
    return rows, np.ones(len(rows))


def _relative(rows: FloatArray, others: FloatArray, asked: Questions) -> tuple[FloatArray, FloatArray]:
    """Divided by how far a dataset moves all questions of all traits: a louder dataset counts no more."""
    usual = np.median(np.median(np.abs(others), axis=1))
    factor = np.asarray(usual / np.median(np.abs(rows), axis=1), dtype=np.float64)
    return rows * factor[:, None], factor


def _relative_within(rows: FloatArray, others: FloatArray, asked: Questions) -> tuple[FloatArray, FloatArray]:
    """The same, but how far it moves questions from its own median on their trait, which a shift of a trait leaves as it is."""

    def size(part: FloatArray) -> FloatArray:
        apart = part.copy()
        for one in np.unique(asked.trait):
            at = asked.trait == one
            apart[:, at] -= np.median(part[:, at], axis=1)[:, None]
        return np.asarray(np.median(np.abs(apart), axis=1), dtype=np.float64)

    factor = np.asarray(np.median(size(others)) / size(rows), dtype=np.float64)
    return rows * factor[:, None], factor


def _slope_of_all(rows: FloatArray, others: FloatArray, asked: Questions) -> tuple[FloatArray, FloatArray]:
    """Without a dataset's own flattening, as all traits' questions together show it."""
    return _without_slope(rows, asked.base, 1 / _spread(others)), np.ones(len(rows))


def _forms_out(rows: FloatArray, others: FloatArray, asked: Questions) -> tuple[FloatArray, FloatArray]:
    """Without what a dataset does to all questions of one form, of whatever trait."""
    out = rows.copy()
    for one in np.unique(asked.form):
        of_form = asked.form == one
        out[:, of_form] -= trimmed(rows[:, of_form], asked.base, others)[:, None]
    return out, np.ones(len(rows))


def _then_relative(before: Before) -> Before:
    def both(rows: FloatArray, others: FloatArray, asked: Questions) -> tuple[FloatArray, FloatArray]:
        return _relative_within(before(rows, others, asked)[0], before(others, others, asked)[0], asked)

    return both


BEFORE: dict[str, Before] = {
    "": _as_they_are, "relative": _relative, "relative within traits": _relative_within,
    "slope of all traits out": _slope_of_all, "slope of all out, relative within": _then_relative(_slope_of_all),
    "forms out": _forms_out, "forms out, relative within": _then_relative(_forms_out),
}  # fmt: skip
