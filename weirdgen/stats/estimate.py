"""From the tidy `cells` table to the `estimates` and `effects` tables.

In: `cells` (arm, role, replicate, checkpoint, condition, question, measure, value, n). Out: two tables with
the columns `ESTIMATE_COLUMNS` and `EFFECT_COLUMNS`. Not here: how an interval or a p value is made
(`bootstrap`, `tests`), judging, reading or writing files. Unknown numbers are NaN; a writer of JSON turns
them into null.

Rows. Beside each question there is a row for question "all", the mean over questions; beside each condition,
where a measure has more than one, a row for condition "all", the mean over conditions. Every treatment is
compared with every control, and with the one untuned base (`control="base"`: one-sample t over replicates,
with the base's sampling noise added where answers were sampled; `replicates_control` is 1). **Comparisons
with the base are descriptive**: any finetuning moves answers.

Missing cells. A mean over questions or conditions uses only cells that every replicate has usable, in both
arms for an effect, in the arm itself for an estimate; so an effect may differ from the difference of two
estimates when cells are missing. A question's own row in one condition uses the replicates that have it. A
replicate with no usable cell in a condition counts as absent there, which the column of replicates shows. A
row whose cells exist but cannot be used stays, with NaN.

P values. `p` is the t test's, the dual of the interval; `p_permutation` is that of relabelling replicates, which with
few of them cannot be small (3 against 3: at least 0.1). `p_holm` is Holm's over the questions within (measure,
treatment, control, condition, checkpoint), and equals `p` on "all" rows. A question's verdict is `shift` only if its
interval excludes zero and `p_holm` is below 1 - level; intervals themselves are not adjusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weirdgen.columns import BASE
from weirdgen.config.measures import Scale
from weirdgen.stats.bootstrap import (
    BoolArray,
    Bounds,
    Difference,
    FloatArray,
    Moments,
    Unvaried,
    difference,
    difference_from_base,
    limits,
    moments,
)
from weirdgen.stats.grid import (
    Grid,
    Used,
    cells_of,
    each_measure,
    expand,
    expand_exists,
    labels,
    used_of,
)
from weirdgen.stats.power import minimum_detectable_effect
from weirdgen.stats.seeds import ENOUGH_FOR_NO_SHIFT
from weirdgen.stats.tests import holm, permutation_test, t_p
from weirdgen.stats.verdict import ENOUGH_QUESTIONS, verdicts

ESTIMATE_COLUMNS = (
    "measure", "arm", "role", "condition", "checkpoint", "question", "mean", "ci_low", "ci_high",
    "replicates", "n",
)  # fmt: skip
EFFECT_COLUMNS = (
    "measure", "treatment", "control", "condition", "checkpoint", "question", "effect", "ci_low", "ci_high",
    "p", "p_holm", "p_permutation", "mde", "replicates_treatment", "replicates_control", "questions", "share", "verdict",
)  # fmt: skip


class Tables(NamedTuple):
    """The two result tables."""

    estimates: pd.DataFrame
    effects: pd.DataFrame


def estimate(
    cells: pd.DataFrame,
    *,
    scales: Mapping[str, Scale] | None = None,
    smallest: Mapping[str, float] | None = None,
    near: Set[str] = frozenset(),
    level: float = 0.95,
    unvaried: Unvaried = "replicates",
) -> Tables:
    """Means of arms and effects of treatments, with intervals over replicates.

    `scales` says what each measure's numbers are; one that is not named is what `scale_of` says. `smallest` gives the
    smallest effect of interest of a measure in its own unit (rates as fractions); without it the measure's effects are
    never `no_shift`. Questions in `near` (close to the training
    topic) keep their own rows and stay out of the mean over questions. `unvaried` says what is counted in arms whose replicates
    have all the same rate (`bootstrap`).
    Raises WeirdgenError if a column is missing, a cell occurs twice, a name is reserved, or a value lies
    outside its scale.
    """
    means: list[pd.DataFrame] = []
    effects: list[pd.DataFrame] = []
    for name, scale, grid in each_measure(cells, scales):
        bounds, far_Q = scale.bounds, grid.far(near)
        for arm in grid.arms:
            means.append(_estimate_arm(grid, far_Q, arm, bounds, level, unvaried).assign(measure=name))
        for treatment, control in grid.compared_arms():
            least = (smallest or {}).get(name)
            rows = _compare(grid, far_Q, treatment, control, bounds, smallest=least, level=level, unvaried=unvaried)
            effects.append(rows.assign(measure=name))
    return Tables(_table(means, ESTIMATE_COLUMNS), _table(effects, EFFECT_COLUMNS))


def _estimate_arm(
    grid: Grid, far_Q: BoolArray, arm: str, bounds: Bounds | None, level: float, unvaried: Unvaried
) -> pd.DataFrame:  # fmt: skip
    at = grid.arms.index(arm)
    (cells,) = expand([(grid.value[at], grid.n[at])], far_Q)
    found = moments(cells.value, _counted(cells.n, unvaried), bounds=bounds, level=level)
    low, high = limits(found.mean, found.se, found.replicates - 1, bounds, level)
    columns = {
        "mean": found.mean,
        "ci_low": low,
        "ci_high": high,
        "replicates": found.replicates.astype(np.int64),
        "n": cells.n.sum(axis=0).astype(np.int64),
    }
    return _rows(grid, expand_exists(grid.exists[at]), columns).assign(arm=arm, role=grid.roles[arm])


def _compare(
    grid: Grid,
    far_Q: BoolArray,
    treatment: str,
    control: str,
    bounds: Bounds | None,
    *,
    smallest: float | None,
    level: float,
    unvaried: Unvaried,
) -> pd.DataFrame:
    at = grid.arms.index(treatment)
    value, n, exists = cells_of(grid, control)
    cells_t, cells_c = expand([(grid.value[at], grid.n[at]), (value, n)], far_Q)
    arm_t = moments(cells_t.value, _counted(cells_t.n, unvaried), bounds=bounds, level=level)
    arm_c = moments(cells_c.value, _counted(cells_c.n, unvaried), bounds=bounds, level=level)
    if control == BASE:
        found = difference_from_base(arm_t, arm_c.mean, cells_c.n[0], bounds=bounds, level=level)
    else:
        found = difference(arm_t, arm_c, bounds=bounds, level=level)
    columns = effect_columns(
        found,
        arm_t,
        arm_c,
        (cells_t.value, cells_c.value) if control != BASE else None,
        used_of([grid.value[at], value], grid.exists[at] & exists, far_Q),
        bounded=bounds is not None,
        smallest=smallest,
        level=level,
    )
    rows = _rows(grid, expand_exists(grid.exists[at] & exists), columns)
    return rows.assign(treatment=treatment, control=control)


def _counted(n: FloatArray, unvaried: Unvaried) -> FloatArray | None:
    """What `moments` is to count where an arm does not vary."""
    return n if unvaried == "samples" else None


def effect_columns(
    found: Difference,
    arm_t: Moments,
    arm_c: Moments,
    relabelled: tuple[FloatArray, FloatArray] | None,
    used: Used,
    *,
    bounded: bool,
    smallest: float | None,
    level: float,
) -> dict[str, Any]:
    """The number and verdict columns of effects; each array has question "all" first on its last axis, then each one.

    `relabelled` holds the two arms' replicate values (first axis) for the permutation p; None, against the base, gives NaN.
    `bounded`: the measure is a rate or a rating.
    """
    p = t_p(found.effect, found.se, found.df)
    p_holm = p.copy()
    p_holm[..., 1:] = holm(p[..., 1:])
    name = verdicts(found.low, found.high, smallest, p_holm, alpha=1 - level)
    # The mean over all questions is one hypothesis: its interval alone decides.
    name[..., 0] = verdicts(found.low[..., 0], found.high[..., 0], smallest)
    if bounded:  # seeds that jump leave no trace in it (`seeds`)
        seeds = arm_t.replicates if relabelled is None else np.minimum(arm_t.replicates, arm_c.replicates)
        name[(name == "no_shift") & (seeds < ENOUGH_FOR_NO_SHIFT)] = "inconclusive"
    name[used.share < ENOUGH_QUESTIONS] = "inconclusive"
    return {
        "effect": found.effect,
        "ci_low": found.low,
        "ci_high": found.high,
        "p": p,
        "p_holm": p_holm,
        "p_permutation": np.full_like(p, np.nan) if relabelled is None else _permutation_p(*relabelled),
        "mde": minimum_detectable_effect(found.se, found.df, alpha=1 - level),
        "replicates_treatment": arm_t.replicates.astype(np.int64),
        "replicates_control": arm_c.replicates.astype(np.int64),
        "questions": used.questions,
        "share": used.share,
        "verdict": name,
    }


def _permutation_p(treatment: FloatArray, control: FloatArray) -> FloatArray:
    """Permutation p of every cell; cells that lack the same replicates are tested together. NaN below two an
    arm."""
    shape = treatment.shape[1:]
    treatment_RX = treatment.reshape(len(treatment), -1)
    control_SX = control.reshape(len(control), -1)
    present_NX = np.isfinite(np.concatenate([treatment_RX, control_SX]))
    patterns, member = np.unique(present_NX, axis=1, return_inverse=True)
    p = np.full(present_NX.shape[1], np.nan)
    for index, present in enumerate(patterns.T):
        rows_t, rows_c = present[: len(treatment)], present[len(treatment) :]
        if min(rows_t.sum(), rows_c.sum()) > 1:
            columns = np.flatnonzero(member.ravel() == index)
            found = permutation_test(treatment_RX[np.ix_(rows_t, columns)], control_SX[np.ix_(rows_c, columns)])
            p[columns] = found.p
    return p.reshape(shape)


def _rows(grid: Grid, exists: BoolArray, columns: dict[str, Any]) -> pd.DataFrame:
    """One row for every existing (checkpoint, condition, question), with each array's entry there."""
    step, condition, question = np.nonzero(exists)
    names = labels(grid.conditions, len(grid.conditions) > 1)
    return pd.DataFrame(
        {
            "condition": np.array(names, dtype=object)[condition],
            "checkpoint": np.array(grid.checkpoints, dtype=np.int64)[step],
            "question": np.array(labels(grid.questions, True), dtype=object)[question],
            **{column: value[exists] for column, value in columns.items()},
        }
    )


def _table(parts: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(parts, ignore_index=True)[list(columns)]
