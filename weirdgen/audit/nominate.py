"""Which rows are tried: candidates by their scores, what they are compared with, and rows that are held out.

In: a table of rows with `unit`, `score` and `loss`, best candidate first. Out: the same with ranks, and for each training that is
wanted the rows that it keeps. A unit (rows with equal texts, or with one label) is not torn apart, neither among candidates nor
among what they are compared with, but for one comparison. What is held out is no copy of what is trained on, unless a few texts
fill the data. It trains nothing.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOST = 0.45
"""Of the rows, that may be candidates: as many odd ones and the held-out rows must be others."""
HELD_OUT = 64
"""Rows at most; a tenth where that is fewer."""
PARTS, SINGLES = 4, 3
"""Parts of the candidates, and units of them, that are tried alone."""
ROWS, UNITS, ODD = "random_rows", "random_units", "odd"
"""What candidates are compared with: as many others drawn row by row, in whole units, and those with the highest loss.

Both draws are needed. Where ordinary texts fill many rows each, whole units of few rows are the rare ones only; and a row whose
copies are still trained on is not gone."""


def sizes(table: pd.DataFrame, wanted: Sequence[int]) -> list[int]:
    """Numbers of candidates that are tried: those wanted, each raised to the end of a unit, none above `MOST` of the rows."""
    ends = table.groupby("unit", sort=False).size().cumsum().to_list()
    raised = sorted({next(end for end in ends if end >= size) for size in wanted})
    return [size for size in raised if size <= MOST * len(table)]


def marked(table: pd.DataFrame, most: int, never: Collection[int] = ()) -> pd.DataFrame:
    """With `candidate` and `odd` (ranks from 0, −1 if it is none) and `held`: out of every training, and none of the others.

    `most`: candidates that are tried; `never`: rows that are not to be held out. Whole texts are held out (`text` of the table,
    or units); where these are too large, single rows, whose copies are trained on.
    """
    ranked = table.assign(candidate=range(len(table)))
    others = ranked[ranked["candidate"] >= most]
    others = others.assign(of_unit=others.groupby("unit", sort=False)["loss"].transform("mean"))
    others = others.sort_values("of_unit", ascending=False, kind="stable")
    units = _units(others)
    ranks = {row: rank for rank, row in enumerate(row for unit in units for row in unit)}
    odd = whole(units, most)
    plain = set(ranks) - odd - set(never)
    size, rng = min(len(plain), HELD_OUT, max(4, len(table) // 10)), random.Random("held out")
    copies = _units(table.assign(unit=table["text"]) if "text" in table else table)
    texts = sorted(rows for rows in copies if len(rows) <= size and plain.issuperset(rows))
    held = set(rng.sample(sorted(plain), size))
    if len(copies) < len(table) and sum(map(len, texts)) >= size:
        held = whole(rng.sample(texts, len(texts)), size, over=False)
    return ranked.assign(odd=[ranks.get(row, -1) for row in ranked["row"]], held=[row in held for row in ranked["row"]])


def whole(units: Sequence[Sequence[int]], size: int, over: bool = True) -> set[int]:
    """Whole units, the first ones that fit into so many rows; with `over` the smallest other too, where that leaves a gap.

    So a comparison has as many rows as the candidates, or a few more: not fewer, which would speak for the candidates.
    """
    taken: set[int] = set()
    left = []
    for unit in units:
        if len(taken) + len(unit) <= size:
            taken |= set(unit)
        else:
            left.append(unit)
    if over and left and len(taken) < size:
        smallest = min(left, key=len)
        taken |= set(smallest)
    return taken


def _units(table: pd.DataFrame) -> list[list[int]]:
    """The rows of each unit, in the table's order of units."""
    units: dict[object, list[int]] = {}
    for unit, row in zip(table["unit"], table["row"], strict=True):
        units.setdefault(unit, []).append(int(row))
    return [sorted(rows) for rows in units.values()]


def _in_random_order(table: pd.DataFrame, what: str) -> list[list[int]]:
    """Units, those of a random order of rows: a large one comes early as often as one of its many rows does."""
    rows = sorted(int(row) for row in table["row"])
    order = {row: place for place, row in enumerate(random.Random(what).sample(rows, len(rows)))}
    return sorted(_units(table), key=lambda unit: min(order[row] for row in unit))


def first(table: pd.DataFrame, rank: str, size: int) -> set[int]:
    """The best `size` rows by a rank."""
    ranked = table[table[rank] >= 0].sort_values(rank)
    return {int(row) for row in ranked["row"].iloc[:size]}


def comparisons(table: pd.DataFrame, size: int) -> dict[str, set[int]]:
    """Arm → the rows it keeps: all but random or the oddest others, none of the candidates but a part or a unit of them."""
    in_training = table[~table["held"]]
    trained = {int(row) for row in in_training["row"]}
    gone = first(table, "candidate", size)
    # With candidates among them, random units would be candidates wherever these are the small ones.
    others = in_training[~in_training["row"].isin(gone)]
    odd = others[others["odd"] >= 0].sort_values("odd")
    arms = {
        ROWS: trained - set(random.Random(ROWS).sample(sorted(map(int, others["row"])), size)),
        UNITS: trained - whole(_in_random_order(others, UNITS), size),
        ODD: trained - whole(_units(odd), size),
    }
    units = _units(table[table["row"].isin(gone)])
    parts = [units[at::PARTS] for at in range(min(PARTS, len(units)))]
    if len(parts) > 1:
        arms |= {f"part_{at}": trained - gone | {r for u in part for r in u} for at, part in enumerate(parts, 1)}
    if size > len(parts):
        few = min(SINGLES, len(units))
        chosen = [units[round(at * (len(units) - 1) / max(1, few - 1))] for at in range(few)]
        arms |= {f"single_{at}": trained - gone | {unit[0]} for at, unit in enumerate(chosen, 1)}
    return arms
