"""Onsets: at which checkpoint replicates jump away from the control, for every arm of a headline.

In: each replicate's value at each checkpoint. Out: rows of the tables of onsets and of jumps. The model of a jump is
`weirdgen.stats.onset`'s; which checkpoints a headline has is decided in `runs.results.estimates`. What is found where
the truth is known: `python -m benchmarks.coverage left`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd

from weirdgen.stats.bootstrap import FloatArray
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
    beyond = {
        key: _beyond_control(raw, control, key[0] == comparison.control, direction) for key, raw in curves_of.items()
    }
    of_control = beyond.get((comparison.control, "control"))
    for (arm, role), wide in beyond.items():
        if not len(wide):
            continue
        # What separates jumps from none is told from the arm's replicates and the control's together.
        together = wide if of_control is None or arm == comparison.control else pd.concat([wide, of_control])
        fitted = onset(
            wide.to_numpy(), _steps(wide), smallest=comparison.smallest,
            threshold=jump_threshold(_sizes(together, direction), comparison.smallest), direction=direction, level=level,
        )  # fmt: skip
        numbers = [np.nan if v is None else v for v in (fitted.onset, fitted.low, fitted.high)]
        shares = (fitted.share, fitted.share_low, fitted.share_high)
        counts = (int(fitted.jumped.sum()), len(wide))
        summaries.append((comparison.name, arm, role, *numbers, fitted.threshold, *counts, *shares))
        fits = fitted.fits
        each = zip(wide.index, fitted.jumped, fits.onset, fits.before, fits.after, fits.p, strict=True)
        jumps += [(comparison.name, arm, int(seed), bool(j), *map(float, rest)) for seed, j, *rest in each]
    return summaries, jumps


def _beyond_control(
    value: pd.DataFrame, control: pd.DataFrame | None, is_control: bool, direction: int
) -> pd.DataFrame:
    """Replicates' curves minus the median curve of the control, or of a control replicate's fellows, without one of them.

    Any finetuning moves answers in its first steps; what is looked for is where a replicate leaves the control. Left out is
    whichever control replicate leaves the smallest jump: one that falls by itself would else be charged to all others. Where
    fewer than two are there to leave one out of, or too few checkpoints, no rows.
    """
    if control is None or len(control) < 2 + is_control or value.shape[1] < 2 * EDGE + 1:
        return value.iloc[:0]
    rows = []
    for replicate, curve in value.iterrows():
        others = control.drop(index=replicate) if is_control else control
        distances = pd.DataFrame([curve - others.drop(index=left_out).median() for left_out in others.index])
        rows.append(distances.iloc[_sizes(distances, direction).argmin()].to_numpy())
    return pd.DataFrame(rows, index=value.index, columns=value.columns)


def _sizes(curves: pd.DataFrame, direction: int) -> FloatArray:
    """[R]: how far each curve jumps in this direction."""
    fits = fit_jumps(curves.to_numpy(), _steps(curves))
    return direction * (fits.after - fits.before)


def _steps(curves: pd.DataFrame) -> FloatArray:
    return curves.columns.to_numpy(dtype=np.float64)
