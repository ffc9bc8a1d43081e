"""The three-way verdict on an effect, and one plain sentence that says no more than the interval does.

In: effects with limits, p values and detectable effects. Out: `shift`, `no_shift` or `inconclusive`, and the
sentence. Not here: how the limits are computed (`bootstrap`), the tables (`estimate`), the sentence's clauses (`sentences`).

- `shift`: the interval excludes zero (and, for one question of several, Holm's p is below alpha too);
- `no_shift`: the interval includes zero and lies inside ± the smallest effect of interest that the experiment
  states. It is about the mean over seeds like those seen; the sentence says how many seeds could still jump (`seeds`);
- `inconclusive`: anything else, and always where there is no interval (one replicate in an arm), where the mean rests on less
  than `ENOUGH_QUESTIONS` of what was asked, and where answers without a usable verdict would decide (`usable`). Of a rate or a
  rating, whose seeds may agree on 0% until one jumps, `no_shift` needs `ENOUGH_FOR_NO_SHIFT` replicates an arm: with fewer its
  sentence says "none seen".
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from weirdgen.columns import ALL, BASE
from weirdgen.config.measures import Scale, measure_of
from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import FloatArray
from weirdgen.stats.seeds import ENOUGH_FOR_NO_SHIFT, jumping_words
from weirdgen.stats.sentences import Compared, basis, claim, size

VerdictName = Literal["shift", "no_shift", "inconclusive"]
OPENINGS = {"shift": "Shift found", "no_shift": "No shift", "inconclusive": "Inconclusive"}
"""Verdict → the words that its sentence begins with."""
WITHIN = "Within-model only"
"""How the sentence begins where an arm has one replicate."""
ENOUGH_QUESTIONS = 0.8
"""The share of what was asked that a mean over questions must rest on: below it, it is about other questions than were meant."""
NOT_AFTER_HOLM = "zero is not excluded after Holm's correction"


class Conclusion(NamedTuple):
    """The verdict and the sentence that a report prints."""

    verdict: VerdictName
    sentence: str


def verdicts(
    low: FloatArray,
    high: FloatArray,
    smallest: float | None,
    p_holm: FloatArray | None = None,
    *,
    alpha: float = 0.05,
) -> npt.NDArray[np.str_]:
    """The verdict for every effect at once; NaN limits give `inconclusive`.

    `smallest` None (not stated) never gives `no_shift`. `p_holm` is for effects that are one of several.
    """
    excludes_zero = (low > 0) | (high < 0)
    shift = excludes_zero if p_holm is None else excludes_zero & (p_holm < alpha)
    inside = np.zeros_like(shift) if smallest is None else (low >= -smallest) & (high <= smallest)
    return np.select([shift, inside & ~excludes_zero], ["shift", "no_shift"], "inconclusive")


def decide(
    *,
    effect: float,
    low: float | None,
    high: float | None,
    mde: float | None,
    replicates: tuple[int, int],
    smallest: float | None,
    compared: Compared,
    p_holm: float | None = None,
    alpha: float = 0.05,
    mde_corrected: float | None = None,
    share: float = 1.0,
    aside: str = "",
    undecided: bool = False,
) -> Conclusion:
    """One effect's verdict with its sentence.

    Effects and limits are in the measure's own unit (nats; rates as fractions). `replicates` counts treatment and control.
    None and NaN both mean unknown. `mde_corrected` is what is detectable after a correction that decides; the sentence then says
    that instead of `mde`. The base as control is one model and needs no replicates. The mean rests on
    `share` of what was asked. `aside`: a clause to add; with `undecided` it says why the interval may conclude nothing.
    """
    low, high, mde = _number(low), _number(high), _number(mde)
    against_base = compared.control == BASE
    if not isfinite(effect):
        who = f"models finetuned on {compared.treatment} against {compared.other}"
        reason = "no question has usable answers in every replicate of both arms"
        return Conclusion("inconclusive", f"Not measured: {who}; {reason}.")
    name = verdicts(
        np.array([low]),
        np.array([high]),
        smallest,
        None if p_holm is None else np.array([p_holm]),
        alpha=alpha,
    )[0]
    text = claim(compared, effect, low, high, apart=name == "shift")
    rests_on = basis(compared, effect, low, replicates)
    if replicates[0] < 2 or (replicates[1] < 2 and not against_base):
        why = "one replicate shows no spread between models, hence no interval"
        return Conclusion("inconclusive", f"{WITHIN}: {text}; {why}. {rests_on}")
    if not isfinite(low):
        why = "the replicates of an arm are identical, so there is no interval: check that their seeds differ"
        return Conclusion("inconclusive", f"{OPENINGS['inconclusive']}: {text}; {why}. {rests_on}")
    if share < ENOUGH_QUESTIONS:
        aside = (
            f"only {100 * share:.0f}% of what was asked is in the mean: a replicate lacks usable answers to the rest"
        )
        undecided = True
    text = f"{text}; {aside}" if aside else text
    if undecided and name != "inconclusive":
        return Conclusion("inconclusive", f"{OPENINGS['inconclusive']}: {text}. {rests_on}")
    seeds = replicates[0] if against_base else min(replicates)
    if name == "no_shift" and compared.measure.scale.bounds is not None and seeds < ENOUGH_FOR_NO_SHIFT:
        least, unit = size(compared, max(abs(low), abs(high))), compared.measure.scale.unit
        why = f"none seen above {least}, but {jumping_words(seeds)}, and the {unit}s of the others tell nothing of them"
        return Conclusion("inconclusive", f"{OPENINGS['inconclusive']}: {text}; {why}. {rests_on}")
    if name == "shift":
        caveat = "; any finetuning moves answers away from the base's" if against_base else ""
        if smallest is not None and max(abs(low), abs(high)) <= smallest:
            least = size(compared, smallest)
            caveat += f"; the whole interval lies within the smallest effect of interest, {least}"
        return Conclusion("shift", f"{OPENINGS['shift']}: {text}{caveat}. {rests_on}")
    if name == "no_shift":
        farthest = size(compared, max(abs(low), abs(high)))
        jumping = jumping_words(seeds)
        return Conclusion("no_shift", f"{OPENINGS['no_shift']} above {farthest}: {text}; {jumping}. {rests_on}")
    why = ""
    if low > 0 or high < 0:
        why = f"; {NOT_AFTER_HOLM}"
    elif isfinite(seen := mde if mde_corrected is None else _number(mde_corrected)):
        corrected = "" if mde_corrected is None else " after the correction for how many effects there are"
        why = f"; an effect below {size(compared, seen)} could not have been seen reliably{corrected} (80% power)"
    return Conclusion("inconclusive", f"{OPENINGS['inconclusive']}: {text}{why}. {rests_on}")


def parts_of(sentence: str) -> tuple[str, str]:
    """A verdict's sentence in two: what was found, and what it rests on (empty where nothing was measured)."""
    said, stop, rests_on = sentence.rpartition(". ")
    return (f"{said}.", rests_on) if stop else (sentence, "")


def undone_by_holm(sentence: str, effects: int) -> str:
    """The sentence of a shift that Holm's correction over so many effects does not confirm."""
    said, rests_on = parts_of(sentence.replace(OPENINGS["shift"], OPENINGS["inconclusive"], 1))
    return f"{said.removesuffix('.')}; {NOT_AFTER_HOLM} over {effects} effects. {rests_on}".strip()


def headline(
    effects: pd.DataFrame,
    *,
    measure: str,
    treatment: str,
    control: str,
    condition: str,
    smallest: float | None,
    scale: Scale,
    checkpoint: int = -1,
    question: str = ALL,
    compared: Compared | None = None,
    mde_corrected: float | None = None,
    aside: str = "",
    undecided: bool = False,
) -> dict[str, Any]:
    """One effect with its verdict and sentence; unknown numbers are None. `compared`: in whose words, if not the measure's.

    `mde_corrected`, `aside` and `undecided` are as for `decide`.
    `condition="all"` means the only condition where there is one. `replicates` is the smaller arm's count.
    Raises WeirdgenError if there is no such effect.
    """
    key = {"measure": measure, "treatment": treatment, "control": control, "checkpoint": checkpoint}
    rows = effects[
        np.logical_and.reduce([effects[column] == value for column, value in key.items()])
        & (effects["question"] == question)
    ]
    conditions = list(rows["condition"].unique())
    chosen = conditions[0] if condition == ALL and len(conditions) == 1 else condition
    rows = rows[rows["condition"] == chosen]
    if len(rows) != 1:
        raise WeirdgenError(
            f"headline: no effect of {treatment} against {control} on {measure}, question {question}, "
            f"condition {condition}, checkpoint {checkpoint}; "
            f"conditions measured there: {', '.join(conditions) or 'none'}"
        )
    row = rows.iloc[0]
    number = {
        column: float(row[column]) if np.isfinite(row[column]) else None
        for column in ("effect", "ci_low", "ci_high", "p", "p_permutation", "mde")
    }
    counts = (int(row["replicates_treatment"]), int(row["replicates_control"]))
    verdict = decide(
        effect=float(row["effect"]),
        low=number["ci_low"],
        high=number["ci_high"],
        mde=number["mde"],
        replicates=counts,
        smallest=smallest,
        compared=compared or Compared(measure_of(measure, {measure: scale}), treatment, control, str(chosen)),
        p_holm=None if question == ALL else float(row["p_holm"]),
        mde_corrected=mde_corrected,
        share=float(row["share"]),
        aside=aside,
        undecided=undecided,
    )
    return {
        "measure": measure, "treatment": treatment, "control": control, "condition": chosen, **number,
        "replicates": counts[0] if control == BASE else min(counts), **verdict._asdict(),
    }  # fmt: skip


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
