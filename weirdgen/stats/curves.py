"""Curves of an arm's mean or of an effect, with pointwise intervals and with bands for the whole curve.

In: tidy `cells` and what number stands for each checkpoint, condition or arm; or arrays of replicates × points. Out:
`Band`, or the table `curves`. Not here: where a curve jumps (`onset`), drawing.

A pointwise interval covers one point in 95% of experiments. A band covers **all points of the curve at once** in 95%
of experiments, so only a band may be read along the curve ("it leaves zero at some year"). Each point keeps its own
standard error and t distribution (Welch's for an effect); the band only tests every point at a smaller alpha:

- `sup-t`: the alpha at which the smallest p of a simulated curve falls below it in 5% of draws. Draws are Gaussian
  replicates with the correlation between points that the replicates show, standardised as the data are. A
  correlation from few replicates has too low a rank, and a band from it covers too rarely, so it is shrunk toward
  no correlation (J. Schäfer, K. Strimmer, Statist. Appl. Genet. Mol. Biol. 4 (2005), art. 32).
- `bonferroni`: alpha / points. Used below 4 replicates in an arm, where a replicate lacks a point, and against the
  base. The band of sup-t never is wider than this one.
- `sidak`: 1 − (1 − alpha)^(1 / points). Used where points are different arms (a dose), hence independent replicates;
  a shared control only makes it wider than needed (Z. Šidák, JASA 62 (1967)).

BAND_TABLE

What is not attained: where replicates jump from low to high at a place of their own, a point at the foot of the jump
has replicates that almost all still agree, and neither the pointwise interval nor any band of this sort covers its
mean (`jump` above). `onset` is for such curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import (
    Bounds,
    Difference,
    FloatArray,
    Moments,
    difference,
    difference_bounds,
    difference_from_base,
    limits,
    moments,
)
from weirdgen.stats.grid import Grid, base_everywhere, check_cells, check_range, expand, grid_of, labels
from weirdgen.stats.tests import t_p
from weirdgen.stats.verdict import ALL, BASE, Scale, scale_bounds

Axis = Literal["checkpoint", "condition", "arm"]
BandMethod = Literal["sup-t", "bonferroni", "sidak"]
CURVE_COLUMNS = (
    "measure", "arm", "control", "condition", "checkpoint", "question", "x", "mean", "ci_low", "ci_high",
    "band_low", "band_high", "replicates", "band",
)  # fmt: skip

_DRAWS = 4000
_LEAST_FOR_SUP_T = 4


class Band(NamedTuple):
    """A curve [X] with pointwise limits and those of the band; NaN where replicates cannot give any."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    band_low: FloatArray
    band_high: FloatArray
    method: BandMethod


def mean_band(
    value_RX: FloatArray, n_RX: FloatArray | None = None, *,
    bounds: Bounds | None = None, level: float = 0.95, method: BandMethod | None = None, seed: int = 0,
) -> Band:  # fmt: skip
    """The curve of an arm's mean over replicates. `method` None takes sup-t where it holds, as said above."""
    arm = moments(value_RX, n_RX, bounds=bounds, level=level)
    still = Difference(arm.mean, arm.se, arm.replicates - 1, arm.mean, arm.mean)
    return _band(still, [(arm, value_RX)], bounds, level, method, seed)


def effect_band(
    treatment_RX: FloatArray, control_SX: FloatArray,
    treatment_n_RX: FloatArray | None = None, control_n_SX: FloatArray | None = None, *,
    bounds: Bounds | None = None, level: float = 0.95, method: BandMethod | None = None, seed: int = 0,
) -> Band:  # fmt: skip
    """The curve of treatment − control; `bounds` are the measure's own."""
    arm_t = moments(treatment_RX, treatment_n_RX, bounds=bounds, level=level)
    arm_c = moments(control_SX, control_n_SX, bounds=bounds, level=level)
    found = difference(arm_t, arm_c, bounds=bounds, level=level)
    return _band(
        found, [(arm_t, treatment_RX), (arm_c, control_SX)], difference_bounds(bounds), level, method, seed
    )  # fmt: skip


def curves(
    cells: pd.DataFrame,
    x: Mapping[str, float] | Mapping[int, float],
    *,
    axis: Axis,
    question: str = ALL,
    scales: Mapping[str, Scale] | None = None,
    near: Set[str] = frozenset(),
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Curves of every arm's mean (`control` empty) and of every effect, along checkpoints, conditions or arms.

    `x` gives the number that stands for each checkpoint (a step; the final one is -1), condition (a year) or arm (a
    fraction of rows; the control stays outside); entries that `x` lacks are left out, and points come in the order
    of x. One curve for each measure and each value of the other identities; along conditions the mean over
    conditions is no point. On an arm axis the arms of x are one curve, called "dose" in the column `arm`. Raises
    WeirdgenError if fewer than two points are left or the question is unknown, and as `estimate` does.
    """
    check_cells(cells)
    parts = []
    for measure, part in cells.groupby("measure", sort=False):
        name = str(measure)
        scale = (scales or {}).get(name, "nat" if name == "contrast" else "rate")
        check_range(part, name, scale)
        grid = grid_of(part)
        reader = _Reader(grid, x, axis, question, near, scale_bounds(scale), level, seed)
        parts += [frame.assign(measure=name, question=question) for frame in reader.curves()]
    return pd.concat(parts, ignore_index=True)[list(CURVE_COLUMNS)] if parts else pd.DataFrame(columns=CURVE_COLUMNS)


class _Reader:
    """Reads curves along one axis off one measure's grid."""

    def __init__(
        self, grid: Grid, x: Mapping[str, float] | Mapping[int, float], axis: Axis, question: str, near: Set[str],
        bounds: Bounds | None, level: float, seed: int,
    ) -> None:  # fmt: skip
        names = labels(grid.questions, True)
        if question not in names:
            raise WeirdgenError(f"curves: no question {question}; there are {', '.join(names)}")
        self.grid, self.axis, self.bounds, self.level, self.seed = grid, axis, bounds, level, seed
        self.question = names.index(question)
        self.far_Q = np.array([one not in near for one in grid.questions])
        self.conditions = labels(grid.conditions, len(grid.conditions) > 1)
        along: list[str] | list[int] = {
            "checkpoint": grid.checkpoints, "condition": self.conditions, "arm": grid.arms,
        }[axis]  # fmt: skip
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
        treatments = [arm for arm in grid.arms if grid.roles[arm] == "treatment"]
        controls = [arm for role in ("control", "base") for arm in grid.arms if grid.roles[arm] == role]
        if self.axis == "arm":
            dose = [grid.arms[at] for at in self.points]
            outside = [arm for arm in controls if arm not in dose]
            return [frame for control in ["", *outside] for frame in self._doses(dose, control)]
        pairs = [(arm, "") for arm in grid.arms if arm != BASE or self.axis == "condition"]
        pairs += [(treatment, control) for treatment in treatments for control in controls]
        return [frame for arm, control in pairs for frame in self._along(arm, control)]

    def _arms(self, arm: str, control: str) -> list[tuple[FloatArray, FloatArray]]:
        """Value and n, [R, K, C'] each, of the arm and of the control if there is one."""
        pieces = []
        for name in filter(None, (arm, control)):
            at = self.grid.arms.index(name)
            value, n = self.grid.value[at], self.grid.n[at]
            if name == BASE:
                value, n, _ = base_everywhere(self.grid)
            pieces.append((value, n))
        return [(one.value[..., self.question], one.n[..., self.question]) for one in expand(pieces, self.far_Q)]

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
                band = mean_band(*read[0], **options, seed=self.seed)  # type: ignore[arg-type]  # options by name
            elif control == BASE:
                own = moments(*read[0], **options)  # type: ignore[arg-type]
                found = difference_from_base(own, read[1][0][0], read[1][1][0], **options)  # type: ignore[arg-type]
                band = _band(found, [], difference_bounds(self.bounds), self.level, "bonferroni", self.seed)
            else:
                (t, n_t), (c, n_c) = read
                band = effect_band(t, c, n_t, n_c, **options, seed=self.seed)  # type: ignore[arg-type]
            replicates = np.isfinite(read[0][0]).sum(axis=0)
            if control and control != BASE:
                replicates = np.minimum(replicates, np.isfinite(read[1][0]).sum(axis=0))
            where = {"checkpoint": -1, "condition": self.conditions[other]}
            if self.axis == "condition":
                where = {"checkpoint": steps[other], "condition": ALL}
            frames.append(self._frame(band, replicates, arm, control, where))
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
            band = _band(curve, [], bounds, self.level, "sidak", self.seed)
            replicates = np.array([np.isfinite(pieces[0][0][at]).sum() for pieces in arms])
            where = {"checkpoint": self.grid.checkpoints[step], "condition": self.conditions[condition]}
            frames.append(self._frame(band, replicates, "dose", control, where))
        return frames

    def _frame(
        self, band: Band, replicates: FloatArray, arm: str, control: str, where: dict[str, str | int]
    ) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "x": self.x, "mean": band.mean, "ci_low": band.low, "ci_high": band.high, "band_low": band.band_low,
                "band_high": band.band_high, "replicates": replicates.astype(np.int64), "band": band.method,
            }
        ).assign(arm=arm, control=control, **where)  # fmt: skip


def _band(
    found: Difference, arms: list[tuple[Moments, FloatArray]], bounds: Bounds | None, level: float,
    method: BandMethod | None, seed: int,
) -> Band:  # fmt: skip
    """Pointwise limits at `level` and the band's at the method's own alpha; `arms` serve sup-t only."""
    alpha, known = 1 - level, np.isfinite(found.se) & np.isfinite(found.df)
    points = max(1, int(known.sum()))
    if method is None:
        complete = all(np.isfinite(value[:, known]).all() for _, value in arms)
        enough = min((len(value) for _, value in arms), default=0) >= _LEAST_FOR_SUP_T
        method = "sup-t" if complete and enough else "bonferroni"
    if method == "sup-t" and points > 1:
        adjusted = sup_t_alpha([(arm.se[known], value[:, known]) for arm, value in arms], alpha, seed=seed)
    else:
        adjusted = 1 - (1 - alpha) ** (1 / points) if method == "sidak" else alpha / points
    low, high = limits(found.effect, found.se, found.df, bounds, level)
    band_low, band_high = limits(found.effect, found.se, found.df, bounds, 1 - adjusted)
    return Band(found.effect, low, high, band_low, band_high, method)


def sup_t_alpha(
    arms: list[tuple[FloatArray, FloatArray]], alpha: float, *, draws: int = _DRAWS, seed: int = 0
) -> float:
    """The alpha for each point at which a curve of one arm, or of a difference of two, is missed anywhere in `alpha`.

    Each arm is its standard errors [X] and its replicates [R, X], complete. Between alpha / X and alpha.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for se_X, value_RX in arms:
        replicates, points = value_RX.shape
        normal_DRX = rng.standard_normal((draws, replicates, points))
        curve_DRX = (normal_DRX @ np.linalg.cholesky(shrunk_correlation(value_RX)).T) * (se_X * np.sqrt(replicates))
        se_DX = curve_DRX.std(axis=1, ddof=1) / np.sqrt(replicates)
        drawn.append(Moments(curve_DRX.mean(axis=1), se_DX, np.full(points, float(replicates))))
    if len(drawn) == 2:
        found = difference(drawn[0], drawn[1])
        t_DX, df_DX = found.effect / found.se, found.df
    else:
        t_DX = drawn[0].mean / drawn[0].se
        df_DX = np.broadcast_to(drawn[0].replicates - 1, t_DX.shape)
    # Where p is smallest is told from a normal score that grows with it (D. Wallace, Ann. Math. Statist. 30 (1959)).
    score_DX = (8 * df_DX + 1) / (8 * df_DX + 3) * np.sqrt(df_DX * np.log1p(t_DX**2 / df_DX))
    at_D = (np.arange(draws), score_DX.argmax(axis=1))
    smallest_D = t_p(t_DX[at_D], np.ones(draws), df_DX[at_D])
    return float(np.clip(np.quantile(smallest_D, alpha), alpha / t_DX.shape[1], alpha))


def shrunk_correlation(value_RX: FloatArray) -> FloatArray:
    """The correlation [X, X] between points over replicates, shrunk toward none; positive definite.

    The weight of the target is the estimated variance of the correlations over their summed squares (Schäfer,
    Strimmer), with (1 − r²)² / (R − 1) for the variance of one. A point that does not vary correlates with nothing.
    """
    centred = value_RX - value_RX.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12)
    off = np.clip(unit.T @ unit, -1.0, 1.0)
    np.fill_diagonal(off, 0.0)
    variance = (1 - off**2) ** 2 / (len(value_RX) - 1)
    np.fill_diagonal(variance, 0.0)
    weight = min(1.0, variance.sum() / max(float((off**2).sum()), 1e-12))
    shrunk: FloatArray = (1 - max(weight, 1e-6)) * off
    np.fill_diagonal(shrunk, 1.0)
    return shrunk
