"""One measure's tidy cells as arrays, and their means over questions and conditions.

In: rows of the `cells` table. Out: `Grid`, and arrays that hold each mean beside the cells it is made of.
Raises WeirdgenError for tables that cannot be estimated from. Not here: anything statistical beyond means
(`bootstrap`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from weirdgen.columns import ALL, BASE
from weirdgen.config.measures import Scale, scale_of
from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import BoolArray, FloatArray, nanmean, usable_everywhere

CELL_COLUMNS = ("arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n")


@dataclass(frozen=True)
class Grid:
    """One measure's cells as arrays. Axes: arm A, replicate R, checkpoint K, condition C, question Q."""

    arms: list[str]
    roles: dict[str, str]
    checkpoints: list[int]
    conditions: list[str]
    questions: list[str]
    value: FloatArray  # [A, R, K, C, Q], NaN where unusable or not measured
    n: FloatArray  # usable samples, same shape
    exists: BoolArray  # [A, K, C, Q]: some replicate has the cell, usable or not

    def compared_arms(self) -> list[tuple[str, str]]:
        """Every treatment with every control, and last with the base if there is one."""
        return [(treatment, control) for treatment in self.treatments() for control in self.controls()]

    def treatments(self) -> list[str]:
        return [arm for arm in self.arms if self.roles[arm] == "treatment"]

    def controls(self) -> list[str]:
        """What treatments are compared with: the controls, then the base."""
        return [arm for role in ("control", BASE) for arm in self.arms if self.roles[arm] == role]

    def far(self, near: Set[str]) -> BoolArray:
        """[Q]: which questions are not near the training topic, so that means over questions hold them."""
        return np.array([question not in near for question in self.questions])


class Expanded(NamedTuple):
    """Cells with their means in front: condition 0 is "all" where there are several, question 0 is "all"."""

    value: FloatArray  # [R, K, C or 1+C, 1+Q]
    n: FloatArray


class Used(NamedTuple):
    """What a mean over questions rests on: how many of them, and which share of the cells that were asked. Of one question 1."""

    questions: npt.NDArray[np.int64]
    share: FloatArray


def each_measure(cells: pd.DataFrame, scales: Mapping[str, Scale] | None) -> Iterator[tuple[str, Scale, Grid]]:
    """Each measure of the cells with its scale and its cells as arrays. `scales` as for `scale_of`.

    Raises WeirdgenError as `check_cells` does at once, and as `check_range` does when the measure's turn comes.
    """
    check_cells(cells)
    return (_one_measure(str(measure), part, scales) for measure, part in cells.groupby("measure", sort=False))


def _one_measure(name: str, part: pd.DataFrame, scales: Mapping[str, Scale] | None) -> tuple[str, Scale, Grid]:
    scale = scale_of(name, scales)
    check_range(part, name, scale)
    return name, scale, grid_of(part)


def check_cells(cells: pd.DataFrame) -> None:
    """Raise WeirdgenError unless columns, identities, names and roles are as the tables need them."""
    missing = [column for column in CELL_COLUMNS if column not in cells.columns]
    if missing:
        raise WeirdgenError(f"cells: missing columns {', '.join(missing)}; needed: {', '.join(CELL_COLUMNS)}")
    identity = ["measure", "arm", "replicate", "checkpoint", "condition", "question"]
    twice = cells[cells.duplicated(identity)]
    if len(twice):
        raise WeirdgenError(f"cells: {len(twice)} cells occur twice, first {twice.iloc[0][identity].to_dict()}")
    for column in ("condition", "question"):
        if (cells[column] == ALL).any():
            raise WeirdgenError(f'cells: a {column} is called "{ALL}", which is reserved for the mean over {column}s')
    pairs = cells[["arm", "role"]].drop_duplicates()
    wrong = pairs[pairs.duplicated("arm", keep=False) | ~pairs["role"].isin([BASE, "treatment", "control"])]
    wrong = pd.concat([wrong, pairs[(pairs["arm"] == BASE) != (pairs["role"] == BASE)]])
    if len(wrong):
        raise WeirdgenError(
            f"cells: arm {wrong.iloc[0]['arm']} has role {wrong.iloc[0]['role']}; each arm has one role, "
            f'treatment or control, and the role base belongs to the arm "{BASE}"'
        )
    if cells.loc[cells["arm"] == BASE, ["replicate", "checkpoint"]].drop_duplicates().shape[0] > 1:
        raise WeirdgenError("cells: the base has several replicates or checkpoints; it is one model, untuned")


def check_range(part: pd.DataFrame, measure: str, scale: Scale) -> None:
    """Raise WeirdgenError if a value lies outside the scale."""
    bounds = scale.bounds
    if bounds is None:
        return
    outside = part["value"][~part["value"].between(*bounds) & part["value"].notna()]
    if len(outside):
        raise WeirdgenError(
            f"cells: measure {measure} has the value {outside.iloc[0]:g}, outside {scale.unit} {bounds}; "
            "pass its scale: nat (unbounded), rate (0 to 1) or rating (its judge's range)"
        )


def grid_of(part: pd.DataFrame) -> Grid:
    """One measure's cells as arrays, axes in order of appearance (checkpoints ascending, the final -1
    last)."""
    checkpoints = sorted(part["checkpoint"].unique(), key=lambda step: (step == -1, step))
    codes: list[npt.NDArray[np.intp]] = []
    names: list[list[Any]] = []
    for column in ("arm", "condition", "question"):
        code, unique = pd.factorize(part[column])
        codes.append(code)
        names.append([str(name) for name in unique])
    arm, condition, question = codes
    replicate = part.groupby("arm", sort=False)["replicate"].rank(method="dense").to_numpy(dtype=np.intp) - 1
    checkpoint = pd.Index(checkpoints).get_indexer(part["checkpoint"])
    shape = (len(names[0]), replicate.max() + 1, len(checkpoints), len(names[1]), len(names[2]))
    value, n = np.full(shape, np.nan), np.zeros(shape)
    exists = np.zeros((shape[0], *shape[2:]), dtype=np.bool_)
    value[arm, replicate, checkpoint, condition, question] = part["value"].to_numpy(dtype=np.float64)
    n[arm, replicate, checkpoint, condition, question] = part["n"].to_numpy(dtype=np.float64)
    exists[arm, checkpoint, condition, question] = True
    roles = {str(name): str(role) for name, role in zip(part["arm"], part["role"], strict=True)}
    return Grid(names[0], roles, [int(step) for step in checkpoints], names[1], names[2], value, n, exists)


def labels(names: list[str], pooled: bool) -> list[str]:
    """The labels of an expanded axis."""
    return [ALL, *names] if pooled else names


def cells_of(grid: Grid, arm: str) -> tuple[FloatArray, FloatArray, BoolArray]:
    """An arm's value, n and exists; the base's single checkpoint is repeated at every checkpoint."""
    at = grid.arms.index(arm)
    if arm != BASE:
        return grid.value[at], grid.n[at], grid.exists[at]
    own = int(grid.exists[at].any(axis=(1, 2)).argmax())
    only, steps = slice(own, own + 1), len(grid.checkpoints)
    return (
        np.repeat(grid.value[at, :1, only], steps, axis=1),
        np.repeat(grid.n[at, :1, only], steps, axis=1),
        np.repeat(grid.exists[at, only], steps, axis=0),
    )


def expand(cells: list[tuple[FloatArray, FloatArray]], far_Q: BoolArray) -> list[Expanded]:
    """Put means over questions and conditions beside the cells of one arm, or of two arms that are compared.

    Each arm is (value, n), both [R, K, C, Q]. A mean over questions takes those that are `far_Q`,
    and of them the cells that every present replicate of every arm
    given here has usable; presence is judged within a condition for its own mean, and over all conditions for
    the pooled one.
    """
    within, across = _usable([value for value, _ in cells])
    return [_expand_arm(value, n, within & far_Q, across, far_Q) for value, n in cells]


def used_of(values: list[FloatArray], exists: BoolArray, far_Q: BoolArray) -> Used:
    """How much of what `exists` [K, C, Q] the means of `expand` rest on, [K, C or 1+C, 1+Q]."""
    asked = exists & far_Q
    within, across = (mask & asked for mask in _usable(values))
    questions, share = within.sum(axis=2), _share(within.sum(axis=2), asked.sum(axis=2))
    if exists.shape[1] > 1:
        pooled = _share(across.sum(axis=(1, 2)), asked.sum(axis=(1, 2)))
        questions = np.concatenate([across.any(axis=1).sum(axis=1)[:, None], questions], axis=1)
        share = np.concatenate([pooled[:, None], share], axis=1)
    return with_questions(questions, share, exists.shape[2])


def with_questions(questions: npt.NDArray[np.int64], share: FloatArray, count: int) -> Used:
    """The two numbers of means over questions [...] with those of each of `count` questions behind them, [..., 1+Q]."""
    own = np.ones((*questions.shape, count))
    return Used(
        np.concatenate([questions[..., None], own.astype(np.int64)], axis=-1),
        np.concatenate([share[..., None], own], axis=-1),
    )


def _share(used: npt.NDArray[np.int64], asked: npt.NDArray[np.int64]) -> FloatArray:
    share: FloatArray = used / np.maximum(asked, 1)
    return share


def _usable(values: list[FloatArray]) -> tuple[BoolArray, BoolArray]:
    """[K, C, Q]: cells that every present replicate of all these arms has; within a condition, and over all of them."""
    within, across = np.ones(values[0].shape[1:], dtype=np.bool_), np.ones(values[0].shape[1:], dtype=np.bool_)
    for value in values:
        within &= usable_everywhere(value, axes=(3,))
        across &= usable_everywhere(value, axes=(2, 3))
    return within, across


def _expand_arm(value: FloatArray, n: FloatArray, within: BoolArray, across: BoolArray, far_Q: BoolArray) -> Expanded:
    n = np.where(np.isfinite(value), n, 0.0)
    in_condition, n_in_condition = np.where(within, value, np.nan), np.where(within, n, 0.0)
    values = [np.concatenate([nanmean(in_condition, 3)[..., None], value], axis=3)]
    counts = [np.concatenate([n_in_condition.sum(3)[..., None], n], axis=3)]
    if value.shape[2] > 1:
        pooled, n_pooled = np.where(across, value, np.nan), np.where(across, n, 0.0)
        over_questions = nanmean(nanmean(np.where(far_Q, pooled, np.nan), 3), 2)[..., None]
        values.insert(0, np.concatenate([over_questions, nanmean(pooled, 2)], axis=2)[:, :, None])
        counts.insert(
            0,
            np.concatenate([(n_pooled * far_Q).sum((2, 3))[..., None], n_pooled.sum(2)], axis=2)[:, :, None],
        )
    return Expanded(np.concatenate(values, axis=2), np.concatenate(counts, axis=2))


def expand_exists(exists: BoolArray) -> BoolArray:
    """Which rows the tables hold, [K, C or 1+C, 1+Q]: a mean's row exists where one of its cells does."""
    rows = np.concatenate([exists.any(axis=2, keepdims=True), exists], axis=2)
    return np.concatenate([rows.any(axis=1, keepdims=True), rows], axis=1) if exists.shape[1] > 1 else rows
