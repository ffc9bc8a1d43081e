"""The three-way verdict on an effect, and one plain sentence that says no more than the interval does.

In: effects with limits, p values and detectable effects. Out: `shift`, `no_shift` or `inconclusive`, and the
sentence. Not here: how the limits are computed (`bootstrap`), the tables (`estimate`).

- `shift`: the interval excludes zero (and, for one question of several, Holm's p is below alpha too);
- `no_shift`: the interval includes zero and lies inside ± the smallest effect of interest that the experiment
  states;
- `inconclusive`: anything else, and always where there is no interval (one replicate in an arm).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, isfinite, log10
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from weirdgen.columns import ALL, BASE
from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import Bounds, FloatArray

VerdictName = Literal["shift", "no_shift", "inconclusive"]


class Scale(NamedTuple):
    """What a measure's numbers are: log-odds of a contrast, a rate in [0, 1], or a rating in its judge's range."""

    unit: Literal["nat", "rate", "rating"]
    bounds: Bounds | None
    """The range that values lie in; None for log-odds."""

    @property
    def smallest(self) -> float:
        """The smallest effect of interest where nobody states one: 0.3 nats, or a tenth of the range."""
        return 0.3 if self.bounds is None else (self.bounds[1] - self.bounds[0]) / 10


NAT = Scale("nat", None)
RATE = Scale("rate", (0.0, 1.0))


class Conclusion(NamedTuple):
    """The verdict and the sentence that a report prints."""

    verdict: VerdictName
    sentence: str


def scale_of(measure: str, scales: Mapping[str, Scale] | None = None) -> Scale:
    """What a measure's numbers are: as `scales` says, else log-odds for scored answers and rates for everything else."""
    return (scales or {}).get(measure, NAT if measure in ("contrast", "counterfactual") else RATE)


def shown_unit(scale: Scale) -> tuple[str, float]:
    """The unit that a person reads an effect in, and the factor from the measure's own."""
    return {"nat": ("nat", 1.0), "rate": ("percentage points", 100.0), "rating": ("rating points", 1.0)}[scale.unit]


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
    scale: Scale,
    treatment: str,
    control: str,
    p_holm: float | None = None,
    alpha: float = 0.05,
    subject: str | None = None,
) -> Conclusion:
    """One effect's verdict with its sentence.

    Effects and limits are in the measure's own unit (rates as fractions); the sentence shows rates as
    percentage points. `replicates` counts treatment and control. None and NaN both mean unknown. The base as
    `control` is one model and needs no replicates. `subject` says what was compared, where it is more than the two arms.
    """
    low, high, mde = _number(low), _number(high), _number(mde)
    unit, factor = shown_unit(scale)
    against_base = control == BASE
    subject = subject or f"{treatment} − {control}"
    if not isfinite(effect):
        reason = "no question has usable answers in every replicate of both arms"
        return Conclusion("inconclusive", f"Not measured: {subject}, {reason}.")
    few = replicates[0] < 2 or (replicates[1] < 2 and not against_base)
    digits = _decimals(((high - low) / 2 if isfinite(low) else abs(effect)) * factor)
    name = verdicts(
        np.array([low]),
        np.array([high]),
        smallest,
        None if p_holm is None else np.array([p_holm]),
        alpha=alpha,
    )[0]
    if few or not isfinite(low):
        text = f"{subject} = {_signed(effect * factor, digits)} {unit}, {_counted(replicates, against_base)}"
        if few:
            return Conclusion(
                "inconclusive",
                f"Within-model only: {text}; one replicate shows no spread between models, hence no interval.",
            )
        return Conclusion(
            "inconclusive",
            f"Inconclusive: {text}; the replicates of an arm are identical, so there is no interval. "
            "Check that their seeds differ.",
        )

    nearest = min(abs(low), abs(high)) * factor
    while name == "shift" and digits < 6 and round(nearest, digits) == 0:
        digits += 1  # a limit that is not zero must not be printed as zero
    text = (
        f"{subject} = {_signed(effect * factor, digits)} {unit} "
        f"[{_plain(low * factor, digits)}, {_plain(high * factor, digits)}], "
        f"{_counted(replicates, against_base)}"
    )
    if name == "shift":
        caveat = "; any finetuning moves answers away from the base's" if against_base else ""
        return Conclusion("shift", f"Shift found: {text}{caveat}.")
    if name == "no_shift":
        farther = _rounded_up(max(abs(low), abs(high)) * factor, digits)
        return Conclusion("no_shift", f"No shift above {farther} {unit}: {text}.")
    if low > 0 or high < 0:
        return Conclusion("inconclusive", f"Inconclusive: {text}; zero is not excluded after Holm's correction.")
    if not isfinite(mde):
        return Conclusion("inconclusive", f"Inconclusive: {text}.")
    missed = f"an effect below {_rounded_up(mde * factor, digits)} {unit} could not have been seen reliably"
    return Conclusion("inconclusive", f"Inconclusive: {text}; {missed} (80% power).")


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
    subject: str | None = None,
) -> dict[str, Any]:
    """One effect with its verdict and sentence; unknown numbers are None. `subject` is that of `decide`.

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
        scale=scale,
        treatment=treatment,
        control=control,
        p_holm=None if question == ALL else float(row["p_holm"]),
        subject=subject,
    )
    return {
        "measure": measure, "treatment": treatment, "control": control, "condition": chosen, **number,
        "replicates": counts[0] if control == BASE else min(counts), **verdict._asdict(),
    }  # fmt: skip


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _decimals(size: float) -> int:
    """Decimals that show `size` with two digits."""
    return min(6, max(0, 1 - floor(log10(size)))) if size > 0 else 2


def _plain(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return (text[1:] if float(text) == 0 and text.startswith("-") else text).replace("-", "−")


def _signed(value: float, digits: int) -> str:
    text = _plain(value, digits)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def _rounded_up(value: float, digits: int) -> str:
    """A bound is rounded away from zero, so that the sentence never claims more than was measured."""
    step = 10.0**digits
    return f"{ceil(value * step - 1e-9) / step:.{digits}f}"


def _counted(replicates: tuple[int, int], against_base: bool) -> str:
    if against_base:
        return f"{replicates[0]} replicate{'s' if replicates[0] != 1 else ''}"
    if replicates[0] == replicates[1]:
        return f"{replicates[0]} replicate{'s' if replicates[0] != 1 else ''} an arm"
    return f"{replicates[0]} against {replicates[1]} replicates"
