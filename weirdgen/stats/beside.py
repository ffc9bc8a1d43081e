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

from weirdgen.columns import ALL, BASE, FINAL
from weirdgen.config.measures import Scale, scale_of
from weirdgen.stats import headlines
from weirdgen.stats.bootstrap import FloatArray, Unvaried, difference_bounds
from weirdgen.stats.estimate import Tables
from weirdgen.stats.questions import over_questions
from weirdgen.stats.seeds import pairing, share_that_could_jump

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

    `ci_questions_low/high` (questions as drawn from more of their kind; 5 of them or more), `questions_positive` (share with an
    effect above zero), `question_sd`; `r`, `r_low`, `r_high` (between arms that share their seeds), `ci_paired_low/high`,
    `p_paired`; `could_jump` (share of seeds that could jump unseen: none of the treatment's did).
    """
    values = headlines.along_training(cells[cells["checkpoint"].eq(FINAL)], one)
    arms = {arm: _matrix(values, arm) for arm in (one.treatment, one.control)}
    treatment, control = arms[one.treatment], arms[one.control]
    questions = [name for name in treatment if name in control]
    own_RQ, other_SQ = (frame[questions].to_numpy(np.float64) for frame in (treatment, control))
    if one.control == BASE and len(other_SQ):
        found = over_questions(own_RQ - other_SQ[0], None, level=level)
    else:
        found = over_questions(own_RQ, other_SQ, level=level)
    bounds = difference_bounds(scale_of(one.measure, scales).bounds)
    if one.minus:
        bounds = difference_bounds(bounds)
    low, high = np.clip([found.low, found.high], *(bounds or (-np.inf, np.inf)))
    seeds = [seed for seed in treatment.index if seed in control.index and one.control != BASE]
    paired = pairing(_means(treatment.loc[seeds, questions]), _means(control.loc[seeds, questions]), level)
    numbers = {
        "ci_questions_low": float(low), "ci_questions_high": float(high), "questions_positive": found.positive,
        "question_sd": found.question_sd, "r": paired.r, "r_low": paired.r_low, "r_high": paired.r_high,
        "ci_paired_low": paired.low, "ci_paired_high": paired.high, "p_paired": paired.p,
        "could_jump": share_that_could_jump(len(treatment)) if len(treatment) else float("nan"),
    }  # fmt: skip
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


def _means(values: pd.DataFrame) -> FloatArray:
    """Each replicate's mean over the questions that all have."""
    mean: FloatArray = values.dropna(axis=1, how="any").mean(axis=1).to_numpy(np.float64)
    return mean
