"""Onsets: at which checkpoint replicates jump away from the control, for every arm of a headline.

In: each replicate's value at each checkpoint. Out: rows of the tables of onsets and of jumps. The model of a jump is
`weirdgen.stats.onset`'s; which checkpoints a headline has is decided in `runs.results.estimates`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from weirdgen.stats.headlines import Comparison
from weirdgen.stats.onset import EDGE, fit_jumps, jump_threshold, onset

ONSET_COLUMNS = (
    "headline", "arm", "role", "onset", "ci_low", "ci_high", "threshold", "jumped", "replicates", "share", "share_low",
    "share_high",
)  # fmt: skip
JUMP_COLUMNS = ("headline", "arm", "replicate", "jumped", "onset", "before", "after", "p")


def onsets_of(
    values: pd.DataFrame, comparison: Comparison, direction: Literal[1, -1], level: float
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Rows of `ONSET_COLUMNS`, one an arm, and of `JUMP_COLUMNS`, one a replicate.

    `values` has the columns arm, role, replicate, value and `x`, the step.
    """
    summaries: list[tuple[Any, ...]] = []
    jumps: list[tuple[Any, ...]] = []
    curves_of = {
        (str(arm), str(role)): part.pivot(index="replicate", columns="x", values="value").dropna()
        for (arm, role), part in values.groupby(["arm", "role"], sort=False)
    }
    control = curves_of.get((comparison.control, "control"))
    for (arm, role), raw in curves_of.items():
        wide = _beyond_control(raw, control, arm == comparison.control)
        if not len(wide) or wide.shape[1] < 2 * EDGE + 1:
            continue
        fitted = onset(
            wide.to_numpy(), wide.columns.to_numpy(dtype=np.float64), smallest=comparison.smallest,
            threshold=_threshold(wide, control, comparison.smallest, direction), direction=direction, level=level,
        )  # fmt: skip
        numbers = [np.nan if v is None else v for v in (fitted.onset, fitted.low, fitted.high)]
        shares = (fitted.share, fitted.share_low, fitted.share_high)
        counts = (int(fitted.jumped.sum()), len(wide))
        summaries.append((comparison.name, arm, role, *numbers, fitted.threshold, *counts, *shares))
        fits = fitted.fits
        each = zip(wide.index, fitted.jumped, fits.onset, fits.before, fits.after, fits.p, strict=True)
        jumps += [(comparison.name, arm, int(seed), bool(j), *map(float, rest)) for seed, j, *rest in each]
    return summaries, jumps


def _beyond_control(value: pd.DataFrame, control: pd.DataFrame | None, is_control: bool) -> pd.DataFrame:
    """Replicates' curves minus the control's mean curve; those of the control itself minus the mean of its others.

    Any finetuning moves answers in its first steps; what is looked for is where the treatment leaves the control. Without a
    control replicate to compare with, no rows.
    """
    if control is None or len(control) < 1 + is_control:
        return value.iloc[:0]
    if is_control:
        return value - (value.sum() - value) / (len(value) - 1)
    return value - control.mean()


def _threshold(value: pd.DataFrame, control: pd.DataFrame | None, smallest: float, direction: int) -> float:
    """What separates jumps from none, told from the arm's replicates and the control's together."""
    beyond = [value] if control is None else [value, _beyond_control(control, control, True)]
    together = pd.concat(beyond)
    fits = fit_jumps(together.to_numpy(), together.columns.to_numpy(dtype=np.float64))
    return jump_threshold(direction * (fits.after - fits.before), smallest)
