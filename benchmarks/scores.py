"""`python -m benchmarks.scores REFERENCES.parquet [TREATMENTS.parquet]`: every score that was tried for specificity.

In: tables with the columns set, question, trait, base, shift (and kind, shape, form), one row a dataset and question; an effect
that treatments were expected to have (`--expected SET=TRAIT`). Out: for each score the family-wise false alarms of its Student
p leaving one reference out (its ranks keep 5% by construction), the smallest shift that is found in 8 of 10 references, and where
treatments lie. Not here: the scores themselves (`score_ways`), and the one that was chosen and frozen
(`weirdgen.stats.specificity`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from benchmarks.score_ways import BEFORE, SCORES, Before, Questions, Score
from weirdgen.stats.bootstrap import FloatArray

CONDITIONAL = "given the other traits"
"""Each trait's score beyond what the other traits' scores let expect (their covariance over references, shrunk by half)."""


_GRID = np.linspace(0, 10, 41)


class Placed:
    """References, each against the others, and datasets against all of them, by one way of scoring."""

    def __init__(
        self, null_RQ: FloatArray, asked: Questions, before: Before, score: Score, conditional: bool, pairs: bool
    ) -> None:  # fmt: skip
        self.null_RQ, self.asked, self.before, self.score = null_RQ, asked, before, score
        self.conditional, self.pairs = conditional, pairs
        self.traits = np.unique(asked.trait)
        self.z_RK = np.stack([self.z(row[None], np.delete(null_RQ, at, 0))[0] for at, row in enumerate(null_RQ)])

    def z(self, rows_NQ: FloatArray, others_OQ: FloatArray) -> FloatArray:
        """[N, K], in SDs of the others' scores."""
        return self._placed(rows_NQ, others_OQ, None)[0]

    def _scores(self, residual_NQ: FloatArray, known_OQ: FloatArray) -> FloatArray:
        trait, base, _ = self.asked
        parts = [self.score(residual_NQ[:, at], base[at], known_OQ[:, at]) for at in (trait == k for k in self.traits)]
        return np.stack(parts, axis=1)

    def _placed(
        self, rows_NQ: FloatArray, others_OQ: FloatArray, pattern_Q: FloatArray | None
    ) -> tuple[FloatArray, FloatArray]:  # fmt: skip
        """z [N, K], and z of the first row with the grid's multiples of ± a pattern on each trait alone [2, G, K]."""
        centre = np.zeros(others_OQ.shape[1]) if self.pairs else others_OQ.mean(axis=0)
        rows, others = rows_NQ - centre, others_OQ - centre
        known, _ = self.before(others, others, self.asked)
        moved, factor = self.before(rows, others, self.asked)
        own, of_others = self._scores(moved, known), self._scores(known, known)
        middle = np.zeros(len(self.traits)) if self.pairs else of_others.mean(axis=0)
        own, of_others = own - middle, of_others - middle
        raw = own[0]
        if self.conditional:
            covariance = of_others.T @ of_others / (len(of_others) - 1)
            precision = np.linalg.inv(0.5 * covariance + 0.5 * np.diag(np.diag(covariance)))
            own, of_others = (part @ precision / np.diag(precision) for part in (own, of_others))
        free = len(of_others) - (0 if self.pairs else 1)
        scale = np.sqrt((of_others**2).sum(axis=0) / free * (1 if self.pairs else 1 + 1 / len(of_others)))
        scale = np.maximum(scale, 1e-12)
        if pattern_Q is None:
            return own / scale, np.empty(0)
        added = [self._scores(moved[0] + side * factor[0] * _GRID[:, None] * pattern_Q, known) for side in (1, -1)]
        # What a trait's own score gains, its score given the others gains too.
        return own / scale, (own[0] + np.stack(added) - middle - raw) / scale

    def needed(self, pattern_Q: FloatArray, *thresholds_K: FloatArray) -> list[FloatArray]:
        """For each of some thresholds: the multiple of a pattern on each trait alone that passes it in 8 of 10 references [K]."""
        curves = []
        for at, row in enumerate(self.null_RQ):
            _, z_SGK = self._placed(row[None], np.delete(self.null_RQ, at, 0), pattern_Q)
            curves += [z_SGK[0], -z_SGK[1]]
        z_CGK, found = np.stack(curves), []
        for threshold_K in thresholds_K:
            over = z_CGK - threshold_K
            first = np.where((over > 0).any(axis=1), (over > 0).argmax(axis=1), -1)
            before = np.maximum(first - 1, 0)
            high, low = (np.take_along_axis(over, at[:, None], axis=1)[:, 0] for at in (np.maximum(first, 0), before))
            with np.errstate(divide="ignore", invalid="ignore"):
                least = _GRID[np.maximum(first, 0)] - np.where(first > 0, high / (high - low), 0.0) * _GRID[1]
            found.append(np.quantile(np.where(first < 0, np.inf, least), 0.8, axis=0, method="higher"))
        return found


def tried(
    references: pd.DataFrame, treatments: pd.DataFrame, expected: dict[str, str], *,
    patterns: Sequence[tuple[str, str, str]] = (), pairs: bool = False, scores: dict[str, Score] = SCORES,
    befores: dict[str, Before] = BEFORE,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """A row a way of scoring, and a row a way and treatment.

    `patterns` (treatment, control, trait): how many times their difference on the trait's questions, added to a reference, is
    found in 8 of 10 references.
    """
    wide = references.pivot(index="set", columns="question", values="shift").dropna(axis=1)
    about = references.drop_duplicates("question").set_index("question").loc[wide.columns]
    forms = about["form"] if "form" in about else about["trait"]
    names = [str(one) for one in np.unique(about["trait"])]
    asked = Questions(about["trait"].to_numpy(), about["base"].to_numpy(), forms.to_numpy())
    null_RQ, count = wide.to_numpy(), len(wide)
    own = treatments.pivot(index="set", columns="question", values="shift")[wide.columns] if len(treatments) else None
    allowed = max(int(0.05 * (count + 1) + 1e-9) - 1, 0)
    summaries, places = [], []
    ways = [
        (", ".join(filter(None, (name, before, CONDITIONAL if conditional else ""))), score, how, conditional)
        for name, score in scores.items() for before, how in befores.items() for conditional in (False, True)
    ]  # fmt: skip
    for way, score, how, conditional in ways:
        placed = Placed(null_RQ, asked, how, score, conditional, pairs)
        null_RK = np.abs(placed.z_RK)
        largest = np.sort(null_RK.max(axis=1))[::-1]
        own_p = 2 * special.stdtr(count - (1 if pairs else 2), -null_RK)
        named, family = np.sort(null_RK, axis=0)[::-1][allowed], np.full(len(names), largest[allowed])
        found, found_family = placed.needed(np.ones_like(asked.base), named, family)
        of_patterns = {}
        for one, other, trait in patterns:
            assert own is not None
            pattern_Q = (own.loc[one] - own.loc[other]).to_numpy() * (asked.trait == trait)
            at = names.index(trait)
            for how_said, sizes in zip(("", ", family"), placed.needed(pattern_Q, named, family), strict=True):
                of_patterns[f"× {one}{how_said}"] = sizes[at]
        summaries.append(
            {
                "way": way, "false alarms, Student": float((own_p.min(axis=1) * len(names) <= 0.05).mean()),
                "threshold": float(largest[allowed]), "found, named": float(np.median(found)),
                "found, family": float(np.median(found_family)), **of_patterns,
            }
        )  # fmt: skip
        if own is None:
            continue
        z_TK = placed.z(own.to_numpy(), null_RQ)
        for z_K, set_name in zip(z_TK, own.index, strict=True):
            family = (1 + (largest[:, None] >= np.abs(z_K)).sum(axis=0)) / (count + 1)
            k = names.index(expected[set_name]) if set_name in expected else int(np.abs(z_K).argmax())
            places.append(
                {
                    "way": way, "set": set_name, "trait": names[k], "z": z_K[k], "expected": set_name in expected,
                    "p": (1 + (null_RK[:, k] >= abs(z_K[k])).sum()) / (count + 1), "p_family": family[k],
                    "others found": int((np.delete(family, k) <= 0.05).sum()),
                }
            )  # fmt: skip
    return pd.DataFrame(summaries), pd.DataFrame(places)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scores", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("references", type=Path)
    parser.add_argument("treatments", type=Path, nargs="?")
    parser.add_argument("--expected", action="append", default=[], metavar="SET=TRAIT")
    parser.add_argument(
        "--pattern", action="append", default=[], metavar="SET-SET=TRAIT", help="difference of two sets"
    )
    parser.add_argument("--before", action="append", choices=list(BEFORE), help="these preparations only")
    parser.add_argument("--some", action="append", metavar="SCORE", choices=list(SCORES), help="these scores only")
    parser.add_argument("--pairs", action="store_true", help="rows are differences of pairs")
    asked = parser.parse_args(arguments)
    treatments = pd.read_parquet(asked.treatments) if asked.treatments else pd.DataFrame()
    expected = dict(one.split("=", 1) for one in asked.expected)
    scores = {name: one for name, one in SCORES.items() if not asked.some or name in asked.some}
    befores = {name: one for name, one in BEFORE.items() if asked.before is None or name in asked.before}
    patterns = [(*one.rpartition("=")[0].split("-"), one.rpartition("=")[2]) for one in asked.pattern]
    for table in tried(
        pd.read_parquet(asked.references), treatments, expected, pairs=asked.pairs, scores=scores, befores=befores,
        patterns=[(one, other, trait) for one, other, trait in patterns],
    ):  # fmt: skip
        print(table.round(3).to_string(index=False), end="\n\n")


if __name__ == "__main__":
    main()
