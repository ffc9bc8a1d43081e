"""Which rows are tried: candidates by their scores, what they are compared with, and rows that are held out.

In: a table of rows with `unit`, `score` and `loss`, best candidate first. Out: the same with ranks, and for each training that is
wanted the rows that it keeps. A unit (rows with equal texts, or with one label) is never torn apart. It trains nothing.
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
PARTS, SINGLES, RANDOM = 4, 3, 2
"""Parts of the candidates, and units of them, that are tried alone; draws of random rows."""


def sizes(table: pd.DataFrame, wanted: Sequence[int]) -> list[int]:
    """Numbers of candidates that are tried: those wanted, each raised to the end of a unit, none above `MOST` of the rows."""
    ends = table.groupby("unit", sort=False).size().cumsum().to_list()
    raised = sorted({next(end for end in ends if end >= size) for size in wanted})
    return [size for size in raised if size <= MOST * len(table)]


def marked(table: pd.DataFrame, most: int, never: Collection[int] = ()) -> pd.DataFrame:
    """With `candidate` and `odd` (ranks from 0, −1 if it is none) and `held`: out of every training, and none of the others.

    `most`: candidates that are tried; `never`: rows that are not to be held out.
    """
    ranked = table.assign(candidate=range(len(table)))
    others = ranked[ranked["candidate"] >= most].sort_values("loss", ascending=False, kind="stable")
    odd = {row: rank for rank, row in enumerate(others["row"])}
    plain = sorted(row for row, rank in odd.items() if rank >= most and row not in never)
    size = min(len(plain), HELD_OUT, max(4, len(table) // 10))
    held = set(random.Random("held out").sample(plain, size))
    return ranked.assign(odd=[odd.get(row, -1) for row in ranked["row"]], held=[row in held for row in ranked["row"]])


def first(table: pd.DataFrame, rank: str, size: int) -> set[int]:
    """The best `size` rows by a rank."""
    ranked = table[table[rank] >= 0].sort_values(rank)
    return {int(row) for row in ranked["row"].iloc[:size]}


def comparisons(table: pd.DataFrame, size: int) -> dict[str, set[int]]:
    """Arm → the rows it keeps: all but random ones, all but the oddest, none of the candidates but a part or a unit of them."""
    trained = {int(row) for row in table.loc[~table["held"], "row"]}
    gone = first(table, "candidate", size)
    arms = {
        f"random_{at}": trained - set(random.Random(f"random {at}").sample(sorted(trained), size))
        for at in range(1, RANDOM + 1)
    }
    arms["odd"] = trained - first(table, "odd", size)
    units = table[table["row"].isin(gone)].groupby("unit", sort=False)["row"].agg(list).to_list()
    parts = [units[at::PARTS] for at in range(min(PARTS, len(units)))]
    if len(parts) > 1:
        arms |= {f"part_{at}": trained - gone | {r for u in part for r in u} for at, part in enumerate(parts, 1)}
    if size > len(parts):
        few = min(SINGLES, len(units))
        chosen = [units[round(at * (len(units) - 1) / max(1, few - 1))] for at in range(few)]
        arms |= {f"single_{at}": trained - gone | {unit[0]} for at, unit in enumerate(chosen, 1)}
    return arms
