"""Where one dataset's shifts lie among those of harmless datasets: more than any narrow finetuning does, or not.

In: arrays of shifts from the base in nats: references [R, Q] (harmless finetunes, one per row; or R harmless *pairs*, each a
difference of two matched sides) and one dataset's replicates [S, Q], on the same Q questions, which belong to traits. Out: a
table with one row per trait. Not here: which references fit a dataset and how they are trained (runs), the intervals over
replicates of one effect (`estimate`), how the score was chosen (`benchmarks.specificity`).

**Two yardsticks.** `specificity` asks whether the dataset lies outside the references; their mean shift is taken off each
question, since any finetuning moves answers. `pair_specificity` asks whether the difference of two matched sides is larger
than differences of harmless pairs. Which side of a harmless pair comes first is arbitrary, so those count with both signs and
nothing is taken off.

**Ranks are exact.** The dataset and the references are put in one pool, and each of the R + 1 is compared with the R others
by the same rule: centre, weights of questions and scale come from the others alone. Were the dataset one more harmless one,
each rank would be equally likely, whatever the distribution; so p = (1 + references at least as extreme) / (R + 1) is at most
.05 in at most 5% of cases (J. Besag, P. Clifford, Biometrika 76 (1989); V. Vovk et al., Algorithmic Learning in a Random
World, ch. 2 (2005)). p cannot be smaller than 1 / (R + 1): below 19 references nothing is ever specific at .05.
`p_family` compares with each reference's largest |z| over all traits instead of its z on this one, which keeps 5% for all
traits together (P. Westfall, S. Young, Resampling-Based Multiple Testing (1993)). `p_t` is Student's, for a reader who wants
an order of magnitude below that limit; it rests on a normal shape and decides nothing.

**The score** of a trait is a mean over its questions, each weighted by one over its SD between references (some move by nats
for reasons of their own, such as a word that they share with the data), and is judged relative to the dataset's `size`:
datasets differ fourfold in how far they move everything, and the loudest would else set the bar for all. It was chosen by
power among 200 ways: docs/log.md.

**Only what is comparable is called specific.** The references' mean is taken off before sizes are made equal, so a dataset that
was trained much softer than all of them is left with their mean and the other sign. One that moves single questions less than
every reference does is therefore never specific (`comparable`); false alarms with and without this rule are in
docs/statistics.md. One that moves them more than every reference is told (`louder`) and not ruled out: what moves a trait moves
its questions apart, so that such a rule would pass over the largest finds. Pairs need neither, since nothing is taken off them.

**The interval** is for how far the dataset's property moves a trait beyond a harmless dataset. It holds datasets (the
references' own SD), questions (as drawn from more of their kind: what this dataset's questions differ by more than those of
references do), rows and replicates as far as references differ in them too. Coverage: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import FloatArray, nanmean

SPECIFICITY_COLUMNS = (
    "trait", "yardstick", "questions", "references", "mean", "shift", "ci_low", "ci_high", "reference_sd", "z", "rank",
    "p", "p_family", "p_t", "smallest_found", "smallest_found_family", "comparable", "louder", "specific",
)  # fmt: skip
IntArray = npt.NDArray[np.intp]
FOUND_IN = 0.8
"""Share of cases in which a shift of the size `smallest_found` is found."""
_FLOOR = 0.25


class Pool(NamedTuple):
    """Each of N datasets against the N − 1 others, on K traits; all [N, K]."""

    score: FloatArray
    """Its score beyond the others', nats."""
    scale: FloatArray
    """The SD of such scores of harmless datasets that move questions as far as this one, from the others, nats."""
    extra: FloatArray
    """How much more its questions vary than those of the others would, variance of the mean over questions."""


def weights(residual_OQ: FloatArray) -> FloatArray:
    """Of one trait's questions [Q], from the residuals of harmless datasets [O, Q]: one over their SD, and 1 in all.

    A quarter of the median variance is added, so that a question that few references happened to move counts at most √5
    times as much as a usual one.
    """
    variance = (residual_OQ**2).mean(axis=0)
    weight = 1 / np.sqrt(np.maximum(variance + _FLOOR * np.median(variance), 1e-18))
    share: FloatArray = weight / weight.sum()
    return share


def size(residual_NQ: FloatArray, trait_Q: IntArray) -> FloatArray:
    """How far each dataset moves single questions, whatever their trait [N], nats.

    The median distance of a question from the dataset's own median on that question's trait: a shift of whole traits, which is
    what is looked for, leaves it as it is. A trait with one or two questions tells nothing of that; without any other, 1.
    """
    apart = [np.abs(part - np.median(part, axis=1, keepdims=True)) for part in _by_trait(residual_NQ, trait_Q)]
    enough = [part for part in apart if part.shape[1] > 2]
    if not enough:
        return np.ones(len(residual_NQ))
    middle: FloatArray = np.median(np.concatenate(enough, axis=1), axis=1)
    return np.maximum(middle, 1e-9)


def pool(shift_NQ: FloatArray, trait_Q: IntArray, *, pairs: bool = False) -> Pool:
    """Shifts of N ≥ 3 datasets on the questions of traits 0 … K − 1, each dataset against all others.

    What the others' mean moves is taken off every question (not for pairs); every dataset is brought to the same `size`; the
    others' scores then give the scale, which is brought back to this dataset's size.
    """
    found = [against_others(shift_NQ, trait_Q, at, pairs=pairs) for at in range(len(shift_NQ))]
    return Pool(*(np.stack(column) for column in zip(*found, strict=True)))


def against_others(
    shift_NQ: FloatArray, trait_Q: IntArray, at: int, *, pairs: bool = False
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """One row of `pool`: score, scale and extra [K] of the dataset `at` against the N − 1 others."""
    count, others = len(shift_NQ), np.arange(len(shift_NQ)) != at
    residual_NQ = shift_NQ if pairs else shift_NQ - shift_NQ[others].mean(axis=0)
    size_N = size(residual_NQ, trait_Q)
    factor_N = np.median(size_N[others]) / size_N
    parts = _by_trait(residual_NQ * factor_N[:, None], trait_Q)
    weighted = [weights(part[others]) for part in parts]
    score_NK = np.stack([part @ weight for part, weight in zip(parts, weighted, strict=True)], axis=1)
    middle_K = 0.0 if pairs else score_NK[others].mean(axis=0)
    free = count - 1 if pairs else count - 2
    scale_K = np.sqrt(((score_NK[others] - middle_K) ** 2).sum(axis=0) / free)
    scale_K = np.maximum(scale_K * (1.0 if pairs else np.sqrt(1 + 1 / (count - 1))), 1e-12)
    # The others' residuals are from their own mean, hence smaller by (count − 2) / (count − 1).
    shrunk = 1.0 if pairs else (count - 1) / (count - 2)
    extra_K = np.array([_extra(part, at, weight, shrunk) for part, weight in zip(parts, weighted, strict=True)])
    back = factor_N[at]
    return (score_NK[at] - middle_K) / back, scale_K / back, extra_K / back**2


def _extra(residual_NQ: FloatArray, at: int, weight_Q: FloatArray, shrunk: float) -> float:
    """Of one trait: the variance of a dataset's weighted mean by its questions, beyond what the others have on average."""
    left_NQ = residual_NQ - (residual_NQ @ weight_Q)[:, None]
    if (free := 1 - float(weight_Q @ weight_Q)) <= 1e-12:
        return 0.0
    variance_N = left_NQ**2 @ weight_Q**2 / free
    others = np.arange(len(residual_NQ)) != at
    return max(0.0, float(variance_N[at] - variance_N[others].mean() * shrunk))


def _by_trait(value_NQ: FloatArray, trait_Q: IntArray) -> list[FloatArray]:
    return [value_NQ[:, trait_Q == trait] for trait in range(int(trait_Q.max()) + 1)]


def specificity(
    references_RQ: FloatArray,
    shift_SQ: FloatArray,
    *,
    traits: Sequence[str],
    expected: Mapping[str, Literal[1, -1]] | None = None,
    fixed: Sequence[str] = (),
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Where a dataset's shifts lie among harmless datasets': `SPECIFICITY_COLUMNS`, one row per trait in order of appearance.

    `traits` names each question's trait. `expected` gives the direction of a trait
    that was predicted before the run (then the other direction is never specific); others count in both. Traits in `fixed`
    were named before the run and are decided by their own p, all others by `p_family`. Missing questions (NaN in any
    reference, or in all replicates) are left out.

    Columns: `mean` is the plain mean shift, `shift` the score beyond the references' (nats) with its interval at 1 − alpha,
    `reference_sd` the SD of such scores of references, were they as loud, `rank` 1 for the most extreme of references + 1,
    `smallest_found` the shift that is found in 8 of 10 cases, added to a harmless dataset that moves questions as far as this
    one (NaN below 19 references at .05), `comparable` whether some reference moves single questions less,
    `louder` whether none moves them as much.

    Raises WeirdgenError on shapes that do not fit, fewer than 3 references, or a trait without usable questions.
    """
    return _table("references", references_RQ, shift_SQ, traits, expected or {}, fixed, alpha)


def pair_specificity(
    pairs_PQ: FloatArray,
    difference_SQ: FloatArray,
    *,
    traits: Sequence[str],
    expected: Mapping[str, Literal[1, -1]] | None = None,
    fixed: Sequence[str] = (),
    alpha: float = 0.05,
) -> pd.DataFrame:
    """The same for a difference of two matched sides among harmless pairs' differences, each of which has either sign.

    `difference_SQ` holds treatment − control; with replicates of each, pass the difference of their means as one row.
    """
    return _table("pairs", pairs_PQ, difference_SQ, traits, expected or {}, fixed, alpha)


def scores_of(
    null_RQ: FloatArray, own_SQ: FloatArray, *, traits: Sequence[str], sets: Sequence[str], pairs: bool = False
) -> pd.DataFrame:
    """What is ranked, for a figure: trait, set ("" for the dataset itself) and score beyond the others', as if each of the others
    moved questions as far as the dataset itself, nats."""
    own_Q, trait_Q = nanmean(np.atleast_2d(own_SQ), axis=0), np.array(traits, dtype=object)
    usable_Q = np.isfinite(null_RQ).all(axis=0) & np.isfinite(own_Q)
    names = list(dict.fromkeys(trait_Q[usable_Q].tolist()))
    code_Q = np.array([names.index(name) for name in trait_Q[usable_Q]], dtype=np.intp)
    placed = pool(np.concatenate([null_RQ[:, usable_Q], own_Q[None, usable_Q]]), code_Q, pairs=pairs)
    score_NK = placed.score / placed.scale * placed.scale[-1]
    frames = [
        pd.DataFrame({"trait": name, "set": [*sets, ""], "score": score_NK[:, at]}) for at, name in enumerate(names)
    ]
    return pd.concat(frames, ignore_index=True)


def _table(
    yardstick: Literal["references", "pairs"], null_RQ: FloatArray, own_SQ: FloatArray, traits: Sequence[str],
    expected: Mapping[str, Literal[1, -1]], fixed: Sequence[str], alpha: float,
) -> pd.DataFrame:  # fmt: skip
    null_RQ, own_SQ = np.atleast_2d(null_RQ), np.atleast_2d(own_SQ)
    trait_Q = np.array(traits, dtype=object)
    _check(yardstick, null_RQ, own_SQ, trait_Q)
    own_Q, pairs = nanmean(own_SQ, axis=0), yardstick == "pairs"
    usable_Q = np.isfinite(null_RQ).all(axis=0) & np.isfinite(own_Q)
    names = list(dict.fromkeys(trait_Q.tolist()))
    for name in names:
        if not (usable_Q & (trait_Q == name)).any():
            raise WeirdgenError(
                f"specificity: trait {name} has no question with a finite shift in every one of the {yardstick}"
            )
    code_Q = np.array([names.index(name) for name in trait_Q[usable_Q]], dtype=np.intp)
    every_NQ = np.concatenate([null_RQ[:, usable_Q], own_Q[None, usable_Q]])
    found = pool(every_NQ, code_Q, pairs=pairs)
    sizes_N = size(every_NQ, code_Q)
    comparable = pairs or bool(sizes_N[:-1].min() <= sizes_N[-1])
    louder = not pairs and bool(sizes_N[-1] > sizes_N[:-1].max())
    sign_K = np.array([expected.get(name, 0) for name in names])
    z_NK = found.score / found.scale
    extreme_NK = np.where(sign_K == 0, np.abs(z_NK), z_NK * sign_K)
    # A harmless pair has either sign: what it reaches in the expected direction it reaches as |z|, half of the time.
    null_RK = np.abs(z_NK[:-1]) if pairs else extreme_NK[:-1]
    own_K, largest_R = extreme_NK[-1], null_RK.max(axis=1)
    above_K = (null_RK >= (np.abs(z_NK[-1]) if pairs else own_K)).sum(axis=0)
    family_K = (largest_R[:, None] >= own_K).sum(axis=0)
    references = len(null_RQ)
    p_K, p_family_K = ((1 + above) / (references + 1) for above in (above_K, family_K))
    if pairs:  # given its size, a harmless difference has the expected sign half of the time
        p_K = np.where(sign_K == 0, p_K, np.where(own_K > 0, p_K / 2, 1 - p_K / 2))
    degrees = references if pairs else references - 1
    tail_K = special.stdtr(degrees, -own_K)
    p_t_K = np.where(sign_K == 0, 2 * tail_K, tail_K)
    # What would have been found is of the references alone: an extreme dataset among them would make itself look smaller.
    alone = pool(every_NQ[:-1], code_Q, pairs=pairs)
    z_RK = alone.score / alone.scale
    reach_RK = np.abs(z_RK) if pairs else np.where(sign_K == 0, np.abs(z_RK), z_RK * sign_K)
    rows: list[dict[str, Any]] = []
    for at, name in enumerate(names):
        decides = p_K[at] if name in fixed else p_family_K[at]
        questions = int((code_Q == at).sum())
        shift, scale = float(found.score[-1, at]), float(found.scale[-1, at])
        half = half_width(scale, float(found.extra[-1, at]), questions, degrees, 1 - alpha)
        sizes = [
            scale * _smallest_found(z_RK[:, at], null, int(sign_K[at]), pairs, alpha, halved)
            for null, halved in ((reach_RK[:, at], pairs and bool(sign_K[at])), (reach_RK.max(axis=1), False))
        ]
        rows.append(
            {
                "trait": name, "yardstick": yardstick, "questions": questions, "references": references,
                "mean": float(own_Q[usable_Q][code_Q == at].mean()), "shift": shift, "ci_low": shift - half,
                "ci_high": shift + half, "reference_sd": scale, "z": float(z_NK[-1, at]), "rank": int(1 + above_K[at]),
                "p": float(p_K[at]), "p_family": float(p_family_K[at]), "p_t": float(min(1.0, p_t_K[at])),
                "smallest_found": sizes[0], "smallest_found_family": sizes[1], "comparable": comparable, "louder": louder,
                "specific": bool(decides <= alpha) and comparable,
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(SPECIFICITY_COLUMNS))


def half_width(scale: float, extra: float, questions: int, degrees: int, level: float) -> float:
    """Half the interval's width with datasets and questions drawn, `degrees` for datasets; Satterthwaite's degrees of freedom."""
    datasets = scale**2
    spread = datasets**2 / degrees + (extra**2 / (questions - 1) if questions > 1 else 0.0)
    df = (datasets + extra) ** 2 / spread
    return float(special.stdtrit(df, 0.5 + level / 2) * np.sqrt(datasets + extra))


def _smallest_found(z_R: FloatArray, null_R: FloatArray, sign: int, pairs: bool, alpha: float, halved: bool) -> float:
    """The shift, in scales, that added to one reference in turn is found in 8 of 10 of them; NaN where nothing could be."""
    references = len(null_R)
    allowed = floor(alpha * (references + 1) * (2 if halved else 1) + 1e-9) - 1
    if allowed < 0:
        return float("nan")
    needed_z = np.sort(null_R)[::-1][min(allowed, references - 1)]
    sides = (1, -1) if pairs or sign == 0 else (sign,)
    added = np.concatenate([needed_z - side * z_R for side in sides])
    return float(np.quantile(np.maximum(added, 0.0), FOUND_IN, method="higher"))


def _check(yardstick: str, null_RQ: FloatArray, own_SQ: FloatArray, trait_Q: np.ndarray[Any, Any]) -> None:
    questions = null_RQ.shape[1]
    for what, length in (("the dataset", own_SQ.shape[1]), ("traits", len(trait_Q))):
        if length != questions:
            raise WeirdgenError(f"specificity: the {yardstick} have {questions} questions, {what} {length}")
    if len(null_RQ) < 3:
        raise WeirdgenError(
            f"specificity: {len(null_RQ)} {yardstick} given; a spread needs at least 3, a verdict at .05 at least 19"
        )
