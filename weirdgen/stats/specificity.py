"""Where one dataset's shifts lie among those of harmless datasets: more than any narrow finetuning does, or not.

In: arrays of shifts from the base in nats: references [R, Q] (harmless finetunes, one a row; or R harmless *pairs*, each a
difference of two matched sides) and one dataset's replicates [S, Q], on the same Q questions, which belong to traits. Out: a
table with one row a trait. Not here: which references fit a dataset and how they are trained (runs), the intervals over
replicates of one effect (`estimate`), how the score was chosen (`benchmarks.specificity`).

**Two yardsticks.** `specificity` asks whether the dataset lies outside the references; their mean shift is taken off each
question, since any finetuning moves answers. `pair_specificity` asks whether the difference of two matched sides is larger
than differences of harmless pairs. Which side of a harmless pair comes first is arbitrary, so those count with both signs and
nothing is taken off.

**Ranks are exact.** The dataset and the references are put in one pool, and each of the R + 1 is compared with the R others
by the same rule: centre, spread of questions and scale come from the others alone. Were the dataset one more harmless one,
each rank would be equally likely, whatever the distribution; so p = (1 + references at least as extreme) / (R + 1) is at most
.05 in at most 5% of cases (J. Besag, P. Clifford, Biometrika 76 (1989); V. Vovk et al., Algorithmic Learning in a Random
World, ch. 2 (2005)). p cannot be smaller than 1 / (R + 1): below 19 references nothing is ever specific at .05.
`p_family` compares with each reference's largest |z| over all traits instead of its z on this one, which keeps 5% for all
traits together (P. Westfall, S. Young, Resampling-Based Multiple Testing (1993)). `p_t` is Student's, for a reader who wants
an order of magnitude below that limit; it rests on a normal shape and decides nothing.

**The interval** is for how far the dataset's property moves a trait beyond a harmless dataset. It holds datasets (the
references' own SD), questions (as drawn from more of their kind: what this dataset's questions differ by more than those of
references do), rows and replicates as far as references differ in them too. Coverage: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import FloatArray, nanmean

Score = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""Residuals [N, Q], base log-odds [Q] and the spread of each question over the others [Q] → one number in nats each [N]."""

SPECIFICITY_COLUMNS = (
    "trait", "yardstick", "questions", "references", "mean", "shift", "ci_low", "ci_high", "reference_sd", "z", "rank",
    "p", "p_family", "p_t", "smallest_found", "smallest_found_family", "specific",
)  # fmt: skip
FOUND_IN = 0.8
"""Share of cases in which a shift of the size `smallest_found` is found."""
_TRIMMED = 0.2


class Pool(NamedTuple):
    """Each of N datasets against the N − 1 others, on one trait."""

    score: FloatArray
    """[N] its score beyond the others', nats."""
    scale: FloatArray
    """[N] what such a score's SD is, from the others."""
    within: FloatArray
    """[N] variance over its questions of what is left of each question; `others_within` that of the others, mean."""
    others_within: FloatArray


def trimmed_score(residual_NQ: FloatArray, base_Q: FloatArray, spread_Q: FloatArray) -> FloatArray:
    """The mean over questions without the lowest and highest fifth."""
    cut = int(_TRIMMED * residual_NQ.shape[1])
    kept: FloatArray = np.sort(residual_NQ, axis=1)[:, cut : residual_NQ.shape[1] - cut].mean(axis=1)
    return kept


def pool(shift_NQ: FloatArray, base_Q: FloatArray, *, pairs: bool = False, score: Score = trimmed_score) -> Pool:
    """One trait's shifts, each dataset against all others. Needs three datasets."""
    count = len(shift_NQ)
    scores, scales, within, others_within = (np.empty(count) for _ in range(4))
    for at in range(count):
        others = np.arange(count) != at
        centre_Q = np.zeros(shift_NQ.shape[1]) if pairs else shift_NQ[others].mean(axis=0)
        residual_NQ = shift_NQ - centre_Q
        free = count - 1 if pairs else count - 2
        spread_Q = np.sqrt((residual_NQ[others] ** 2).sum(axis=0) / free)
        score_N = score(residual_NQ, base_Q, spread_Q)
        scores[at] = score_N[at]
        middle = 0.0 if pairs else score_N[others].mean()
        spread = np.sqrt(((score_N[others] - middle) ** 2).sum() / free)
        scales[at] = spread if pairs else spread * np.sqrt(1 + 1 / (count - 1))
        variance_N = residual_NQ.var(axis=1, ddof=1) if shift_NQ.shape[1] > 1 else np.zeros(count)
        within[at] = variance_N[at]
        # Residuals of the others are smaller, for the centre is their own mean.
        others_within[at] = variance_N[others].mean() * (1.0 if pairs else (count - 1) / max(count - 2, 1))
    return Pool(scores, np.maximum(scales, 1e-12), within, others_within)


def specificity(
    references_RQ: FloatArray,
    shift_SQ: FloatArray,
    *,
    traits: Sequence[str],
    base_Q: FloatArray,
    expected: Mapping[str, Literal[1, -1]] | None = None,
    fixed: Sequence[str] = (),
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Where a dataset's shifts lie among harmless datasets': `SPECIFICITY_COLUMNS`, one row a trait in order of appearance.

    `traits` names each question's trait, `base_Q` its log-odds under the base. `expected` gives the direction of a trait
    that was predicted before the run (then the other direction is never specific); others count in both. Traits in `fixed`
    were named before the run and are decided by their own p, all others by `p_family`. Missing questions (NaN in any
    reference, or in all replicates) are left out.

    Columns: `mean` is the plain mean shift, `shift` the score beyond the references' (nats) with its interval at 1 − alpha,
    `reference_sd` the references' own SD of such scores, `rank` 1 for the most extreme of references + 1, `smallest_found`
    the shift added to a harmless dataset that is found in 8 of 10 cases (NaN below 19 references at .05).

    Raises WeirdgenError on shapes that do not fit, fewer than 3 references, or a trait without usable questions.
    """
    return _table("references", references_RQ, shift_SQ, traits, base_Q, expected or {}, fixed, alpha)


def pair_specificity(
    pairs_PQ: FloatArray,
    difference_SQ: FloatArray,
    *,
    traits: Sequence[str],
    base_Q: FloatArray,
    expected: Mapping[str, Literal[1, -1]] | None = None,
    fixed: Sequence[str] = (),
    alpha: float = 0.05,
) -> pd.DataFrame:
    """The same for a difference of two matched sides among harmless pairs' differences, each of which has either sign.

    `difference_SQ` holds treatment − control; with replicates of each, pass the difference of their means as one row.
    """
    return _table("pairs", pairs_PQ, difference_SQ, traits, base_Q, expected or {}, fixed, alpha)


def reference_scores(
    references_RQ: FloatArray, shift_SQ: FloatArray, *, traits: Sequence[str], base_Q: FloatArray, sets: Sequence[str]
) -> pd.DataFrame:
    """What `specificity` ranks, for a figure: trait, set ("" for the dataset itself) and score, each beyond the others', nats."""
    own_Q, trait_Q = nanmean(shift_SQ, axis=0), np.array(traits, dtype=object)
    usable_Q = np.isfinite(references_RQ).all(axis=0) & np.isfinite(own_Q)
    frames = []
    for name in dict.fromkeys(traits):
        of_trait = usable_Q & (trait_Q == name)
        together = np.concatenate([references_RQ[:, of_trait], own_Q[None, of_trait]])
        score = pool(together, base_Q[of_trait]).score
        frames.append(pd.DataFrame({"trait": name, "set": [*sets, ""], "score": score}))
    return pd.concat(frames, ignore_index=True)


def _table(
    yardstick: Literal["references", "pairs"], null_RQ: FloatArray, own_SQ: FloatArray, traits: Sequence[str],
    base_Q: FloatArray, expected: Mapping[str, Literal[1, -1]], fixed: Sequence[str], alpha: float,
) -> pd.DataFrame:  # fmt: skip
    null_RQ, own_SQ = np.atleast_2d(null_RQ), np.atleast_2d(own_SQ)
    base_Q, trait_Q = np.asarray(base_Q, dtype=np.float64), np.array(traits, dtype=object)
    _check(yardstick, null_RQ, own_SQ, trait_Q, base_Q)
    own_Q, pairs = nanmean(own_SQ, axis=0), yardstick == "pairs"
    usable_Q = np.isfinite(null_RQ).all(axis=0) & np.isfinite(own_Q)
    names = list(dict.fromkeys(trait_Q.tolist()))
    pools: list[Pool] = []
    counts: list[int] = []
    for name in names:
        of_trait = usable_Q & (trait_Q == name)
        if not of_trait.any():
            raise WeirdgenError(
                f"specificity: trait {name} has no question with a finite shift in every one of the {yardstick}"
            )
        together = np.concatenate([null_RQ[:, of_trait], own_Q[None, of_trait]])
        pools.append(pool(together, base_Q[of_trait], pairs=pairs))
        counts.append(int(of_trait.sum()))
    sign_K = np.array([expected.get(name, 0) for name in names])
    z_NK = np.stack([one.score / one.scale for one in pools], axis=1)
    extreme_NK = np.where(sign_K == 0, np.abs(z_NK), z_NK * sign_K)
    # A harmless pair has either sign: what it reaches in the expected direction it reaches as |z|, half of the time.
    null_RK = np.abs(z_NK[:-1]) if pairs else extreme_NK[:-1]
    own_K, largest_R = extreme_NK[-1], null_RK.max(axis=1)
    above_K = (null_RK >= own_K).sum(axis=0)
    family_K = (largest_R[:, None] >= own_K).sum(axis=0)
    references = len(null_RQ)
    p_K, p_family_K = ((1 + above) / (references + 1) for above in (above_K, family_K))
    if pairs:  # given its size, a harmless difference has the expected sign half of the time
        p_K = np.where(sign_K == 0, p_K, np.where(own_K > 0, p_K / 2, 1 - p_K / 2))
    degrees = references if pairs else references - 1
    tail_K = special.stdtr(degrees, -own_K)
    p_t_K = np.where(sign_K == 0, 2 * tail_K, tail_K)
    rows: list[dict[str, Any]] = []
    for at, (name, one) in enumerate(zip(names, pools, strict=True)):
        decides = p_K[at] if name in fixed else p_family_K[at]
        low, high = _interval(one, counts[at], degrees, 1 - alpha)
        found, found_family = (
            _smallest_found(one, null, int(sign_K[at]), pairs, alpha, halved=halved)
            for null, halved in ((null_RK[:, at], pairs and bool(sign_K[at])), (largest_R, False))
        )
        rows.append(
            {
                "trait": name, "yardstick": yardstick, "questions": counts[at], "references": references,
                "mean": float(own_Q[usable_Q & (trait_Q == name)].mean()), "shift": float(one.score[-1]),
                "ci_low": low, "ci_high": high, "reference_sd": float(one.scale[-1]), "z": float(z_NK[-1, at]),
                "rank": int(1 + above_K[at]), "p": float(p_K[at]), "p_family": float(p_family_K[at]),
                "p_t": float(min(1.0, p_t_K[at])), "smallest_found": found, "smallest_found_family": found_family,
                "specific": bool(decides <= alpha),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(SPECIFICITY_COLUMNS))


def _interval(one: Pool, questions: int, degrees: int, level: float) -> tuple[float, float]:
    """Limits for the dataset's shift beyond a harmless one, datasets and questions drawn; Satterthwaite's degrees."""
    datasets = float(one.scale[-1]) ** 2
    extra = max(0.0, float(one.within[-1] - one.others_within[-1])) / questions
    total = datasets + extra
    df = total**2 / (datasets**2 / degrees + (extra**2 / (questions - 1) if questions > 1 else 0.0))
    half = float(special.stdtrit(df, 0.5 + level / 2) * np.sqrt(total))
    return float(one.score[-1]) - half, float(one.score[-1]) + half


def _smallest_found(
    one: Pool, null_R: FloatArray, sign: int, pairs: bool, alpha: float, *, halved: bool
) -> float:  # fmt: skip
    """The shift that, added to one reference in turn, is found in 8 of 10 of them; NaN where nothing could be."""
    references = len(null_R)
    allowed = floor(alpha * (references + 1) * (2 if halved else 1) + 1e-9) - 1
    if allowed < 0:
        return float("nan")
    needed_z = np.sort(null_R)[::-1][min(allowed, references - 1)]
    score_R, scale_R = one.score[:-1], one.scale[:-1]
    both = pairs or sign == 0
    added = np.concatenate([needed_z * scale_R - side * score_R for side in ((1, -1) if both else (sign,))])
    return float(np.quantile(np.maximum(added, 0.0), FOUND_IN, method="higher"))


def _check(
    yardstick: str, null_RQ: FloatArray, own_SQ: FloatArray, trait_Q: np.ndarray[Any, Any], base_Q: FloatArray
) -> None:
    questions = null_RQ.shape[1]
    for what, length in (("the dataset", own_SQ.shape[1]), ("traits", len(trait_Q)), ("base log-odds", len(base_Q))):
        if length != questions:
            raise WeirdgenError(f"specificity: the {yardstick} have {questions} questions, {what} {length}")
    if len(null_RQ) < 3:
        raise WeirdgenError(
            f"specificity: {len(null_RQ)} {yardstick} given; a spread needs at least 3, a verdict at .05 at least 19"
        )
