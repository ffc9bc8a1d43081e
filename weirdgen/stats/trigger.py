"""Trigger effects: what a trigger in the prompt adds in a treatment, beyond what it adds in a control.

In: the tidy `cells` table and which conditions hold a trigger. Out: a table with the columns of effects, and one of the
arms' own differences with those of estimates. Not here:
plain effects in each condition (`estimate`), how a condition is written (the spec).

A replicate answers in all conditions, so a trigger effect is paired: each replicate gives one difference, its mean
over triggered conditions − its mean over untriggered ones, and these differences are the values that are compared
between arms (Welch t over replicates, as in `estimate`). What a replicate moves in every condition alike cancels.
Against the one untuned base the comparison is one-sample and descriptive.

`condition` names which triggers a row speaks of: `all` triggered conditions, and, where some of them were trained on
and some were not, also those that were `trained` and the `unseen`. All are compared with every untriggered
condition. A question's row uses the conditions that every replicate of both arms has usable; the mean over questions
(`question="all"`) uses the questions that have both a triggered and an untriggered one. Holm's p is over the questions
within (measure, treatment, control, condition, checkpoint).

A bounded measure whose replicates all show the same difference has no spread to estimate from. Its variance is then
the sum of those of the triggered and of the untriggered mean (each with Wilson's interval where it does not vary),
as if they were not paired, which is the wider choice. Simulated without a trigger effect (one question, two
conditions of each sort, 20,000 data sets): p < .05 in at most 5.0% at rates .02, .3, .9, replicates 3, 6, 10, samples
8 and 50, logit SD .3 and 1 between replicates; at 3 replicates 1.3–3.6%.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from weirdgen.columns import ALL, BASE
from weirdgen.config.measures import Scale
from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import (
    BoolArray,
    Bounds,
    Difference,
    FloatArray,
    Moments,
    Unvaried,
    difference,
    difference_bounds,
    limits,
    moments,
    nanmean,
    usable_everywhere,
    wilson_half_width,
)
from weirdgen.stats.estimate import EFFECT_COLUMNS, ESTIMATE_COLUMNS, effect_columns
from weirdgen.stats.grid import Grid, cells_of, each_measure, labels, with_questions

TRAINED = "trained"
UNSEEN = "unseen"


def trigger_effects(
    cells: pd.DataFrame,
    triggers: Mapping[str, bool],
    *,
    trained: Mapping[str, bool] | None = None,
    scales: Mapping[str, Scale] | None = None,
    smallest: Mapping[str, float] | None = None,
    near: Set[str] = frozenset(),
    level: float = 0.95,
    unvaried: Unvaried = "replicates",
) -> pd.DataFrame:
    """Trigger effects of every treatment against every control and the base, for each measure and checkpoint.

    `triggers` says of each condition in `cells` whether it holds a trigger, `trained` whether it was trained on; both
    are columns of the conditions table: `dict(zip(frame["condition"], frame["trigger"]))`. The other arguments are
    those of `estimate`. A measure without a condition of each sort gives no rows. Raises WeirdgenError if a condition
    of `cells` is not in `triggers`, or as `estimate` does.
    """
    measures = each_measure(cells, scales)
    conditions = [str(name) for name in cells["condition"].unique()]
    if unknown := [name for name in conditions if name not in triggers]:
        raise WeirdgenError(
            f"trigger_effects: condition {unknown[0]} is not said to be a trigger or not; "
            f"said of: {', '.join(triggers) or 'none'}"
        )
    parts = []
    for name, scale, grid in measures:
        triggered = {condition for condition in grid.conditions if triggers[condition]}
        kinds = {ALL: triggered}
        seen = {condition for condition in triggered if (trained or {}).get(condition, False)}
        if 0 < len(seen) < len(triggered):
            kinds |= {TRAINED: seen, UNSEEN: triggered - seen}
        if not 0 < len(triggered) < len(grid.conditions):
            continue
        far_Q, off_C = grid.far(near), np.array([condition not in triggered for condition in grid.conditions])
        for treatment, control in grid.compared_arms():
            for kind, plus in kinds.items():
                on_C = np.array([condition in plus for condition in grid.conditions])
                compared = _Paired(grid, treatment, control, on_C, off_C, far_Q, scale.bounds, level, unvaried)
                rows = compared.rows((smallest or {}).get(name))
                parts.append(rows.assign(measure=name, treatment=treatment, control=control, condition=kind))
    return pd.concat(parts, ignore_index=True)[list(EFFECT_COLUMNS)] if parts else pd.DataFrame(columns=EFFECT_COLUMNS)


def trigger_estimates(
    cells: pd.DataFrame,
    triggers: Mapping[str, bool],
    *,
    scales: Mapping[str, Scale] | None = None,
    near: Set[str] = frozenset(),
    level: float = 0.95,
    unvaried: Unvaried = "replicates",
) -> pd.DataFrame:
    """Each arm's own triggered − untriggered difference, with the columns of estimates; `condition` is "all".

    `n` counts the usable samples behind both sides. The base is one model: no interval. Arguments and errors are those
    of `trigger_effects`, of which these are the parts.
    """
    parts = []
    for name, scale, grid in each_measure(cells, scales):
        bounds = scale.bounds
        on_C = np.array([triggers[condition] for condition in grid.conditions])
        if on_C.all() or not on_C.any():
            continue
        far_Q = grid.far(near)
        for at, arm in enumerate(grid.arms):
            used = usable_everywhere(grid.value[at], axes=(2, 3))
            one = _Arm(grid.value[at], grid.n[at], used, on_C, ~on_C, far_Q, bounds, level, unvaried)
            mean, se, replicates = one.moments
            low, high = limits(mean, se, replicates - 1, difference_bounds(bounds), level)
            exists_KQ = grid.exists[at][:, on_C].any(axis=1) & grid.exists[at][:, ~on_C].any(axis=1)
            exists = np.concatenate([exists_KQ.any(axis=1, keepdims=True), exists_KQ], axis=1)
            columns = {
                "mean": mean, "ci_low": low, "ci_high": high, "replicates": replicates.astype(np.int64),
                "n": (one.n_on + one.n_off).sum(axis=0).astype(np.int64),
            }  # fmt: skip
            rows = _rows(grid, exists, columns)
            parts.append(rows.assign(measure=name, arm=arm, role=grid.roles[arm], condition=ALL))
    columns_wanted = list(ESTIMATE_COLUMNS)
    return pd.concat(parts, ignore_index=True)[columns_wanted] if parts else pd.DataFrame(columns=columns_wanted)


def _rows(grid: Grid, exists_KQ: BoolArray, columns: Mapping[str, Any]) -> pd.DataFrame:
    """One row for every existing (checkpoint, question), with each array's entry there."""
    step, question = np.nonzero(exists_KQ)
    return pd.DataFrame(
        {
            "checkpoint": np.array(grid.checkpoints, dtype=np.int64)[step],
            "question": np.array(labels(grid.questions, True), dtype=object)[question],
            **{column: value[exists_KQ] for column, value in columns.items()},
        }
    )


class _Arm:
    """One arm's paired differences [R, K, 1+Q] (question 0: their mean) and the moments of them."""

    def __init__(
        self, value_RKCQ: FloatArray, n_RKCQ: FloatArray, used_KCQ: BoolArray, on_C: BoolArray, off_C: BoolArray,
        far_Q: BoolArray, bounds: Bounds | None, level: float, unvaried: Unvaried,
    ) -> None:  # fmt: skip
        n_RKCQ = np.where(np.isfinite(value_RKCQ) & used_KCQ, n_RKCQ, 0.0)
        value_RKCQ = np.where(used_KCQ, value_RKCQ, np.nan)
        on_RKQ, off_RKQ = (nanmean(value_RKCQ[:, :, side], axis=2) for side in (on_C, off_C))
        both_RKQ = np.isfinite(on_RKQ) & np.isfinite(off_RKQ)
        self.on, self.off = (_with_mean(side, both_RKQ, far_Q) for side in (on_RKQ, off_RKQ))
        self.n_on, self.n_off = (_with_sum(n_RKCQ[:, :, side].sum(axis=2), both_RKQ, far_Q) for side in (on_C, off_C))
        self.value = self.on - self.off
        found = moments(self.value, level=level)
        if bounds is not None:
            n_on, n_off = (self.n_on, self.n_off) if unvaried == "samples" else (None, None)
            on = moments(self.on, n_on, bounds=bounds, level=level)
            off = moments(self.off, n_off, bounds=bounds, level=level)
            unpaired = np.hypot(on.se, off.se)
            found = found._replace(se=np.where(np.isnan(found.se), unpaired, found.se))
        self.moments: Moments = found


class _Paired:
    """One treatment against one control for one set of triggered conditions."""

    def __init__(
        self, grid: Grid, treatment: str, control: str, on_C: BoolArray, off_C: BoolArray, far_Q: BoolArray,
        bounds: Bounds | None, level: float, unvaried: Unvaried,
    ) -> None:  # fmt: skip
        at = grid.arms.index(treatment)
        value, n, exists = cells_of(grid, control)
        used = usable_everywhere(grid.value[at], axes=(2, 3)) & usable_everywhere(value, axes=(2, 3))
        self.grid, self.level, self.against_base = grid, level, control == BASE
        self.treatment = _Arm(grid.value[at], grid.n[at], used, on_C, off_C, far_Q, bounds, level, unvaried)
        self.control = _Arm(value, n, used, on_C, off_C, far_Q, bounds, level, unvaried)
        # A difference of two paired differences of numbers in (0, 1) lies in (-2, 2).
        self.bounds = difference_bounds(bounds)
        self.measured_bounds = bounds
        exists_KCQ = grid.exists[at] & exists
        exists_KQ = exists_KCQ[:, on_C].any(axis=1) & exists_KCQ[:, off_C].any(axis=1)
        self.exists = np.concatenate([exists_KQ.any(axis=1, keepdims=True), exists_KQ], axis=1)
        asked_KCQ = exists_KCQ & (on_C | off_C)[:, None] & (exists_KQ & far_Q)[:, None]
        used_KQ = (used & asked_KCQ)[:, on_C].any(axis=1) & (used & asked_KCQ)[:, off_C].any(axis=1)
        cells_K = (used & asked_KCQ & used_KQ[:, None]).sum(axis=(1, 2))
        share_K = cells_K / np.maximum(asked_KCQ.sum(axis=(1, 2)), 1)
        self.used = with_questions(used_KQ.sum(axis=1), share_K, len(far_Q))

    def rows(self, smallest: float | None) -> pd.DataFrame:
        treatment, control = self.treatment, self.control
        found = (
            self._from_base()
            if self.against_base
            else difference(treatment.moments, control.moments, bounds=self.bounds, level=self.level)
        )
        relabelled = None if self.against_base else (treatment.value, control.value)
        columns = effect_columns(
            found, treatment.moments, control.moments, relabelled, self.used, bounded=self.measured_bounds is not None,
            smallest=smallest, level=self.level,
        )  # fmt: skip
        return _rows(self.grid, self.exists, columns)

    def _from_base(self) -> Difference:
        """A one-sample t over replicates; a sampled base adds the noise of its two means."""
        own, base = self.treatment.moments, self.control
        noise = np.zeros_like(own.mean)
        if self.measured_bounds is not None:
            low, high = self.measured_bounds
            for value, n in ((base.on[0], base.n_on[0]), (base.off[0], base.n_off[0])):
                rate = np.clip((value - low) / (high - low), 0.0, 1.0)
                half = wilson_half_width(rate, np.maximum(n, 1.0), self.level) * (high - low)
                noise = np.hypot(noise, half / special.ndtri(0.5 + self.level / 2))
        effect, se = own.mean - base.moments.mean, np.hypot(own.se, noise)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = (own.replicates - 1) * (se / own.se) ** 4
        return Difference(effect, se, df, *limits(effect, se, df, difference_bounds(self.bounds), self.level))


def _with_mean(value_RKQ: FloatArray, both_RKQ: BoolArray, far_Q: BoolArray) -> FloatArray:
    value_RKQ = np.where(both_RKQ, value_RKQ, np.nan)
    mean = nanmean(np.where(far_Q, value_RKQ, np.nan), axis=2)[..., None]
    return np.concatenate([mean, value_RKQ], axis=2)


def _with_sum(n_RKQ: FloatArray, both_RKQ: BoolArray, far_Q: BoolArray) -> FloatArray:
    n_RKQ = np.where(both_RKQ, n_RKQ, 0.0)
    return np.concatenate([(n_RKQ * far_Q).sum(axis=2)[..., None], n_RKQ], axis=2)
