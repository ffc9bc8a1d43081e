"""Curves of an arm's mean or of an effect along checkpoints, conditions (a sweep of years) or arms (a dose).

In: tidy `cells` and what number stands for each checkpoint, condition or arm. Out: the table `curves`, with pointwise
intervals and with bands for the whole curve. Not here: how a band is made and what it covers (`bands`), where a curve
jumps (`onset`), drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Literal

import numpy as np
import pandas as pd

from weirdgen.columns import ALL, BASE
from weirdgen.config.measures import Scale
from weirdgen.errors import WeirdgenError
from weirdgen.stats.bands import Band, band, effect_band, mean_band
from weirdgen.stats.bootstrap import (
    DESIGN_EFFECT,
    Bounds,
    Difference,
    FloatArray,
    Unvaried,
    difference,
    difference_bounds,
    difference_from_base,
    moments,
)
from weirdgen.stats.grid import Grid, cells_of, each_measure, expand, labels

Axis = Literal["checkpoint", "condition", "arm"]
CURVE_COLUMNS = (
    "measure", "arm", "control", "condition", "checkpoint", "question", "x", "mean", "ci_low", "ci_high",
    "band_low", "band_high", "replicates", "band",
)  # fmt: skip


def curves(
    cells: pd.DataFrame,
    x: Mapping[str, float] | Mapping[int, float],
    *,
    axis: Axis,
    scales: Mapping[str, Scale] | None = None,
    near: Set[str] = frozenset(),
    level: float = 0.95,
    unvaried: Unvaried = "replicates",
) -> pd.DataFrame:
    """Curves of the mean over questions, of every arm (`control` empty) and effect, along checkpoints, conditions or arms.

    `x` gives the number that stands for each checkpoint (a step; the final one is -1), condition (a year) or arm (a
    fraction of rows; the control stays outside); entries that `x` lacks are left out, and points come in the order
    of x. One curve for each measure and each value of the other identities; along conditions the mean over
    conditions is no point. On an arm axis the arms of x are one curve, called "dose" in the column `arm`. Raises
    WeirdgenError if fewer than two points are left, and as `estimate` does.
    """
    parts = []
    for name, scale, grid in each_measure(cells, scales):
        reader = _Reader(grid, x, axis, near, scale.bounds, level, unvaried)
        parts += [frame.assign(measure=name, question=ALL) for frame in reader.curves()]
    return pd.concat(parts, ignore_index=True)[list(CURVE_COLUMNS)] if parts else pd.DataFrame(columns=CURVE_COLUMNS)


class _Reader:
    """Reads curves along one axis off one measure's grid."""

    def __init__(
        self, grid: Grid, x: Mapping[str, float] | Mapping[int, float], axis: Axis, near: Set[str],
        bounds: Bounds | None, level: float, unvaried: Unvaried,
    ) -> None:  # fmt: skip
        self.grid, self.axis, self.bounds, self.level = grid, axis, bounds, level
        self.unvaried = unvaried
        self.far_Q = grid.far(near)
        self.conditions = labels(grid.conditions, len(grid.conditions) > 1)
        names_along: dict[Axis, Sequence[object]] = {
            "checkpoint": grid.checkpoints,
            "condition": self.conditions,
            "arm": grid.arms,
        }
        along = names_along[axis]
        number: dict[object, float] = {key: float(value) for key, value in x.items()}
        self.points = sorted((at for at, one in enumerate(along) if one in number), key=lambda at: number[along[at]])
        self.x = np.array([number[along[at]] for at in self.points])
        if len(self.points) < 2:
            raise WeirdgenError(
                f"curves: fewer than two points along {axis}; x names {', '.join(map(str, x)) or 'none'}, "
                f"the cells have {', '.join(map(str, along))}"
            )

    def curves(self) -> list[pd.DataFrame]:
        grid = self.grid
        if self.axis == "arm":
            dose = [grid.arms[at] for at in self.points]
            outside = [arm for arm in grid.controls() if arm not in dose]
            return [frame for control in ["", *outside] for frame in self._doses(dose, control)]
        pairs = [(arm, "") for arm in grid.arms if arm != BASE or self.axis == "condition"]
        pairs += grid.compared_arms()
        return [frame for arm, control in pairs for frame in self._along(arm, control)]

    def _arms(self, arm: str, control: str) -> list[tuple[FloatArray, FloatArray]]:
        """Value and n, [R, K, C'] each, of the arm and of the control if there is one."""
        pieces, names = [], [name for name in (arm, control) if name]
        for name in names:
            value, n, _ = cells_of(self.grid, name)
            pieces.append((value, n))
        expanded = [(one.value[..., 0], one.n[..., 0]) for one in expand(pieces, self.far_Q)]  # the mean comes first
        if self.unvaried == "samples":
            return expanded
        # One sample of the base counts as one; a finetuned replicate as one, whatever was sampled from it.
        return [
            (value, n if name == BASE else np.full_like(n, DESIGN_EFFECT))
            for name, (value, n) in zip(names, expanded, strict=True)
        ]

    def _along(self, arm: str, control: str) -> list[pd.DataFrame]:
        """One curve for each condition (along checkpoints) or each checkpoint (along conditions)."""
        arms, frames = self._arms(arm, control), []
        steps = self.grid.checkpoints
        for other in range(len(self.conditions) if self.axis == "checkpoint" else len(steps)):
            at = np.s_[:, self.points, other] if self.axis == "checkpoint" else np.s_[:, other, self.points]
            read = [(value[at], n[at]) for value, n in arms]
            if not all(np.isfinite(value).any() for value, _ in read):
                continue
            options = {"bounds": self.bounds, "level": self.level}
            if not control:
                found_band = mean_band(*read[0], **options)  # type: ignore[arg-type]  # options by name
            elif control == BASE:
                own = moments(*read[0], **options)  # type: ignore[arg-type]
                found = difference_from_base(own, read[1][0][0], read[1][1][0], **options)  # type: ignore[arg-type]
                found_band = band(found, [], difference_bounds(self.bounds), self.level, "bonferroni")
            else:
                (t, n_t), (c, n_c) = read
                found_band = effect_band(t, c, n_t, n_c, **options)  # type: ignore[arg-type]
            replicates = np.isfinite(read[0][0]).sum(axis=0)
            if control and control != BASE:
                replicates = np.minimum(replicates, np.isfinite(read[1][0]).sum(axis=0))
            where: dict[str, str | int] = {"checkpoint": -1, "condition": self.conditions[other]}
            if self.axis == "condition":
                where = {"checkpoint": steps[other], "condition": ALL}
            frames.append(self._frame(found_band, replicates, arm, control, where))
        return frames

    def _doses(self, dose: list[str], control: str) -> list[pd.DataFrame]:
        """One curve over arms for each condition and checkpoint."""
        frames = []
        arms = [self._arms(arm, control) for arm in dose]
        for step, condition in np.ndindex(len(self.grid.checkpoints), len(self.conditions)):
            at = np.s_[:, step, condition]
            found: list[Difference] = []
            for pieces in arms:
                own, *rest = (moments(v[at], n[at], bounds=self.bounds, level=self.level) for v, n in pieces)
                if not rest:
                    found.append(Difference(own.mean, own.se, own.replicates - 1, own.mean, own.mean))
                elif control == BASE:
                    n = pieces[1][1][at][0]
                    found.append(difference_from_base(own, rest[0].mean, n, bounds=self.bounds, level=self.level))
                else:
                    found.append(difference(own, rest[0], bounds=self.bounds, level=self.level))
            curve = Difference(*(np.array(column) for column in zip(*found, strict=True)))
            if not np.isfinite(curve.effect).any():
                continue
            bounds = difference_bounds(self.bounds) if control else self.bounds
            found_band = band(curve, [], bounds, self.level, "sidak")
            replicates = np.array([np.isfinite(pieces[0][0][at]).sum() for pieces in arms])
            where: dict[str, str | int] = {
                "checkpoint": self.grid.checkpoints[step],
                "condition": self.conditions[condition],
            }
            frames.append(self._frame(found_band, replicates, "dose", control, where))
        return frames

    def _frame(
        self, one: Band, replicates: FloatArray, arm: str, control: str, where: dict[str, str | int]
    ) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "x": self.x, "mean": one.mean, "ci_low": one.low, "ci_high": one.high, "band_low": one.band_low,
                "band_high": one.band_high, "replicates": replicates.astype(np.int64), "band": one.method,
            }
        ).assign(arm=arm, control=control, **where)  # fmt: skip
