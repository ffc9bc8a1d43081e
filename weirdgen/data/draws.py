"""Which rows of an arm one replicate is trained on, where an arm gives each replicate rows of its own.

In: how an arm is drawn (`config.arm.Arm.draws`), how many rows it has, a seed. Out: positions. Arms with equally many rows
give one seed the same positions, so arms that are matched row by row stay so. It reads no rows.
"""

from __future__ import annotations

import random
from typing import Literal

Draws = int | Literal["bootstrap"]


def draw_size(draws: Draws | None, rows: int) -> int:
    """Rows of one replicate."""
    return rows // draws if isinstance(draws, int) else rows


def drawn_positions(draws: Draws | None, rows: int, seed: int) -> list[int]:
    """Positions of the rows that the replicate with this seed is trained on.

    A number: the rows are dealt once into so many disjoint parts of equal size (what is left over is in none), and a seed takes
    the part seed mod draws. `bootstrap`: as many as there are, with replacement. None: all.
    """
    if draws is None:
        return list(range(rows))
    if draws == "bootstrap":
        return sorted(random.Random(f"bootstrap:{seed}").choices(range(rows), k=rows))
    dealt, size = list(range(rows)), draw_size(draws, rows)
    random.Random("parts").shuffle(dealt)
    start = seed % draws * size
    return sorted(dealt[start : start + size])
