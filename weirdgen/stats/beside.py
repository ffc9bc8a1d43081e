"""What stands beside a headline's interval over replicates: other sources of spread, and what the design could have seen.

In: tidy `cells` and a `Comparison`. Out: one dict of numbers per headline (None where unknown), a row per question of what
would have been detected after the correction that decides, and clauses that say it. Not here: the effect itself, its interval
and its verdict (`headlines`), specificity among harmless datasets (`specificity`).
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
from weirdgen.stats.estimate import Tables
from weirdgen.stats.questions import over_questions
from weirdgen.stats.seeds import pairing

DETECTABLE_COLUMNS = ("headline", "question", "effects", "mde", "mde_corrected")


def detectable(
    cells: pd.DataFrame, one: headlines.Comparison, *, family: int = 1, scales: Mapping[str, Scale] | None = None,
    level: float = 0.95, unvaried: Unvaried = "replicates",
) -> pd.DataFrame:  # fmt: skip
    """`DETECTABLE_COLUMNS`: the comparison's effect over all questions, one of `family` secondary ones, and each question's.

    `mde` is what the plain test at 1 − level finds in 80% of cases, `mde_corrected` what is left after Holm's correction over
    `effects` of them where no other has an effect: its first step, at alpha / effects.
    """
    own = _detectable(headlines.tables(cells, one, scales=scales, level=level, unvaried=unvaried), one)
    questions = int((own["question"] != ALL).sum())
    parts = []
    for which, effects in ((own["question"].eq(ALL), family), (own["question"].ne(ALL), questions)):
        if effects < 1 or not which.any():
            continue
        strict = headlines.tables(cells, one, scales=scales, level=1 - (1 - level) / effects, unvaried=unvaried)
        corrected = _detectable(strict, one)[which.to_numpy()]["mde"]
        parts.append(own[which].assign(effects=effects, mde_corrected=corrected.to_numpy()))
    return pd.concat(parts, ignore_index=True).assign(headline=one.name)[list(DETECTABLE_COLUMNS)]


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


def _detectable(found: Tables, one: headlines.Comparison) -> pd.DataFrame:
    effects = found.effects
    rows = effects[effects["treatment"].eq(one.treatment) & effects["control"].eq(one.control)]
    kept = rows["condition"].eq(one.condition) & rows["question"].isin([ALL, *one.questions])
    return rows.loc[kept, ["question", "mde"]]


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
