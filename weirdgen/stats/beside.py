"""What stands beside a headline's interval over replicates: other sources of spread, and what the design could have seen.

In: tidy `cells` and a `Comparison`. Out: one dict of numbers per headline (None where unknown), and what a secondary one could
have found after the correction that decides. Not here: the effect itself, its interval and its verdict (`headlines`),
specificity among harmless datasets (`specificity`).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from weirdgen.columns import ALL, FINAL
from weirdgen.config.measures import Scale, scale_of
from weirdgen.stats import headlines
from weirdgen.stats.bootstrap import FloatArray, Unvaried, difference_bounds, nanmean
from weirdgen.stats.questions import over_questions
from weirdgen.stats.seeds import pairing


def mde_corrected(
    cells: pd.DataFrame, one: headlines.Comparison, *, family: int, scales: Mapping[str, Scale] | None = None,
    level: float = 0.95, unvaried: Unvaried = "replicates",
) -> float | None:  # fmt: skip
    """What the comparison, one of `family` secondary ones, could have found in 80% of cases after Holm's correction over them.

    That is Holm's first step, at (1 − level) / `family`, where no other has an effect. None where it is unknown.
    """
    strict = headlines.tables(cells, one, scales=scales, level=1 - (1 - level) / family, unvaried=unvaried).effects
    own = strict["treatment"].eq(one.treatment) & strict["control"].eq(one.control) & strict["question"].eq(ALL)
    mde = strict.loc[own, "mde"]
    return float(mde.iloc[0]) if len(mde) and isfinite(mde.iloc[0]) else None


def beside(
    cells: pd.DataFrame, one: headlines.Comparison, *, scales: Mapping[str, Scale] | None = None, level: float = 0.95
) -> dict[str, Any]:  # fmt: skip
    """Numbers beside one comparison's effect at the end of training, None where they cannot be known.

    `ci_questions_low/high` (questions as drawn from more of their kind; 5 of them or more); `seeds_shared`, how many replicates
    of the two arms have the same seed, and of these `r`, the correlation between arms, and `ci_paired_low/high`.
    """
    values = headlines.along_training(cells[cells["checkpoint"].eq(FINAL)], one)
    treatment, control = (_matrix(values, arm) for arm in (one.treatment, one.control))
    questions = [name for name in treatment if name in control]
    treatment, control = treatment[questions], control[questions]
    found = over_questions(treatment.to_numpy(np.float64), control.to_numpy(np.float64), level=level)
    seeds = treatment.index.intersection(control.index)
    paired = pairing(*_means(treatment.loc[seeds], control.loc[seeds]), level)
    bounds = difference_bounds(scale_of(one.measure, scales).bounds)
    if one.minus:
        bounds = difference_bounds(bounds)
    ends = np.clip([found.low, found.high, paired.low, paired.high], *(bounds or (-np.inf, np.inf)))
    names = ("ci_questions_low", "ci_questions_high", "ci_paired_low", "ci_paired_high", "r")
    numbers = dict(zip(names, map(float, (*ends, paired.r)), strict=True))
    known = {name: value if isfinite(value) else None for name, value in numbers.items()}
    return {"headline": one.name, "seeds_shared": len(seeds), **known}


def _matrix(values: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Replicates × questions; the mean over conditions where there are several."""
    return values[values["arm"].eq(arm)].pivot_table(
        index="replicate", columns="question", values="value", aggfunc=lambda one: one.mean(skipna=False), dropna=False
    )


def _means(treatment: pd.DataFrame, control: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Each seed's mean in either arm, over the questions that all seeds have in both; NaN for a seed without any answer."""
    arms = np.stack([arm.to_numpy(np.float64) for arm in (treatment, control)], axis=1)  # seeds, arms, questions
    answered = np.isfinite(arms).any(axis=2).all(axis=1)
    complete = np.isfinite(arms[answered]).all(axis=(0, 1))
    means = np.where(answered[:, None], nanmean(arms[:, :, complete], axis=2), np.nan)
    return means[:, 0], means[:, 1]
