"""`python -m benchmarks.scores REFERENCES.parquet [TREATMENTS.parquet]`: every score that was tried for specificity.

In: tables with the columns set, question, trait, base, shift (and kind, shape, form), one row a dataset and question; an effect
that treatments were expected to have (`--expected SET=TRAIT`). Out: for each score the family-wise false alarms of its Student
p leaving one reference out (its ranks keep 5% by construction), the smallest shift that is found in 8 of 10 references, and where
treatments lie. Not here: the score that was chosen and frozen (`weirdgen.stats.specificity`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

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


RELATIVE = ", relative"
"""Shifts of a dataset divided by how far it moves all questions of all traits (median): a louder dataset counts no more."""


class Placed:
    """N datasets on one trait under one score, each against the first R (references) without itself."""

    def __init__(
        self, score: Score, null_RQ: FloatArray, own_TQ: FloatArray, base_Q: FloatArray, pairs: bool, size_R: FloatArray
    ) -> None:  # fmt: skip
        self.score, self.base_Q, self.pairs, self.null_RQ, self.size_R = score, base_Q, pairs, null_RQ, size_R
        self.z_R = np.array([self.z(row[None], np.delete(null_RQ, at, 0))[0] for at, row in enumerate(null_RQ)])
        self.z_T = self.z(own_TQ, null_RQ) if len(own_TQ) else np.empty(0)

    def z(self, rows_NQ: FloatArray, others_OQ: FloatArray) -> FloatArray:
        centre = np.zeros_like(self.base_Q) if self.pairs else others_OQ.mean(axis=0)
        others, rows = others_OQ - centre, rows_NQ - centre
        known = self.score(others, self.base_Q, others)
        middle = 0.0 if self.pairs else known.mean()
        free = len(known) - (0 if self.pairs else 1)
        scale = np.sqrt(((known - middle) ** 2).sum() / free * (1 if self.pairs else 1 + 1 / len(known)))
        return np.asarray((self.score(rows, self.base_Q, others) - middle) / max(scale, 1e-12), dtype=np.float64)

    def needed(self, pattern_Q: FloatArray, threshold: float) -> float:
        """The multiple of a pattern that, added to a reference, passes the threshold in 8 of 10 references, either sign."""
        grid = np.linspace(0, 8, 81)
        least = []
        for at, row in enumerate(self.null_RQ):
            others = np.delete(self.null_RQ, at, 0)
            for sign in (1, -1):
                z = sign * self.z(row + sign * grid[:, None] * pattern_Q / self.size_R[at], others)
                over = np.flatnonzero(z > threshold)
                least.append(grid[over[0]] if len(over) else np.inf)
        return float(np.quantile(least, 0.8, method="higher"))


def tried(
    references: pd.DataFrame, treatments: pd.DataFrame, expected: dict[str, str], *, pairs: bool = False,
    scores: dict[str, Score] = SCORES,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """A row a score, and a row a score and treatment."""
    wide = references.pivot(index="set", columns="question", values="shift").dropna(axis=1)
    about = references.drop_duplicates("question").set_index("question").loc[wide.columns]
    own = treatments.pivot(index="set", columns="question", values="shift")[wide.columns] if len(treatments) else None
    count, summaries, places = len(wide), [], []
    null_RQ = wide.to_numpy()
    own_TQ = own.to_numpy() if own is not None else np.empty((0, null_RQ.shape[1]))
    centre = np.zeros(null_RQ.shape[1]) if pairs else np.median(null_RQ, axis=0)
    sizes = [np.median(np.abs(rows - centre), axis=1) for rows in (null_RQ, own_TQ)]
    usual = np.median(sizes[0])
    for name, score in [(f"{name}{how}", one) for name, one in scores.items() for how in ("", RELATIVE)]:
        relative = name.endswith(RELATIVE)
        size_R, size_T = (size / usual if relative else np.ones(len(size)) for size in sizes)
        null, mine = centre + (null_RQ - centre) / size_R[:, None], centre + (own_TQ - centre) / size_T[:, None]
        placed = {}
        for trait in about["trait"].unique():
            at = (about["trait"] == trait).to_numpy()
            placed[trait] = Placed(score, null[:, at], mine[:, at], about["base"].to_numpy()[at], pairs, size_R)
        z_RK = np.stack([one.z_R for one in placed.values()], axis=1)
        largest = np.sort(np.abs(z_RK).max(axis=1))[::-1]
        allowed = max(int(0.05 * (count + 1) + 1e-9) - 1, 0)
        # One in the family of K by Student's p, Bonferroni: what a reference's own largest z would be called.
        false_t = (2 * special.stdtr(count - 2, -np.abs(z_RK)).min(axis=1) * z_RK.shape[1] <= 0.05).mean()
        needed = [
            one.needed(np.ones_like(one.base_Q), float(np.sort(np.abs(one.z_R))[::-1][allowed]))
            for one in placed.values()
        ]
        family = [one.needed(np.ones_like(one.base_Q), float(largest[allowed])) for one in placed.values()]
        summaries.append(
            {
                "score": name, "false alarms, Student": false_t, "threshold, family": largest[allowed],
                "smallest found (median trait)": np.median(needed), "in the family": np.median(family),
            }
        )  # fmt: skip
        for row, set_name in enumerate(own.index if own is not None else []):
            if set_name not in expected:
                continue
            trait = expected[set_name]
            z = placed[trait].z_T[row]
            others = np.abs(placed[trait].z_R)
            places.append(
                {
                    "score": name, "set": set_name, "trait": trait, "z": z, "p": (1 + (others >= abs(z)).sum()) / (count + 1),
                    "p_family": (1 + (largest >= abs(z)).sum()) / (count + 1),
                    "other traits": sum(
                        bool((1 + (largest >= abs(one.z_T[row])).sum()) / (count + 1) <= 0.05)
                        for other, one in placed.items() if other != trait
                    ),
                }
            )  # fmt: skip
    return pd.DataFrame(summaries), pd.DataFrame(places)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scores", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("references", type=Path)
    parser.add_argument("treatments", type=Path, nargs="?")
    parser.add_argument("--expected", action="append", default=[], metavar="SET=TRAIT")
    parser.add_argument("--pairs", action="store_true", help="rows are differences of pairs")
    asked = parser.parse_args(arguments)
    treatments = pd.read_parquet(asked.treatments) if asked.treatments else pd.DataFrame()
    expected = dict(one.split("=", 1) for one in asked.expected)
    for table in tried(pd.read_parquet(asked.references), treatments, expected, pairs=asked.pairs):
        print(table.round(3).to_string(index=False), end="\n\n")


if __name__ == "__main__":
    main()
