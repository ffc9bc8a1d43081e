"""What is trained to be compared with: harmless sets of the library, both sides of its pairs, or rows of anybody's.

In: names of the library, or rows. Out: `TrainingSet`s, all with equally many rows. The library itself is `data.references`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from weirdgen.data.reference_definitions import Use
from weirdgen.data.references import pair_rows, pairs, references, rows
from weirdgen.data.rows import Row, canonical_hash
from weirdgen.errors import DataError, choices

ROWS = 208
"""Rows a set of the standard size: 26 steps of 8 an epoch."""
SIDES = ("left", "right")


@dataclass(frozen=True)
class TrainingSet:
    """Rows to train one replicate on."""

    name: str
    kind: str
    """"reference", "final", "pair", or a word of the caller's."""
    shape: str
    """What its answers look like (`data.reference_definitions.Shape`); empty if nobody said."""
    rows: tuple[Row, ...]

    @cached_property
    def digest(self) -> str:
        """The rows' canonical hash."""
        return canonical_hash(list(self.rows))


def reference_sets(count: int = ROWS, use: Use = "reference", only: Sequence[str] = ()) -> list[TrainingSet]:
    """The library's sets for one use, `count` rows each; `only` keeps those named. Raises `DataError` on an unknown name."""
    sets = references(use)
    if unknown := sorted(set(only) - {one.name for one in sets}):
        raise DataError(f"no reference set {unknown[0]!r}; there are {choices((one.name for one in sets), unknown[0])}")
    return [
        TrainingSet(one.name, use, one.shape, tuple(rows(one.name, count)))
        for one in sets
        if not only or one.name in only
    ]


def pair_sets(count: int = ROWS, use: Use = "reference", only: Sequence[str] = ()) -> list[TrainingSet]:
    """Both sides of every pair for one use, as sets NAME.left and NAME.right of the kind "pair" or "final_pair".

    `only` keeps the pairs that are named. Raises `DataError` on an unknown name.
    """
    kind = "pair" if use == "reference" else "final_pair"
    if unknown := sorted(set(only) - {pair.name for pair in pairs(use)}):
        raise DataError(f"no pair {unknown[0]!r}; there are {choices((pair.name for pair in pairs(use)), unknown[0])}")
    return [
        TrainingSet(f"{pair.name}.{side}", kind, pair.shape, tuple(mine))
        for pair in pairs(use)
        if not only or pair.name in only
        for side, mine in zip(SIDES, pair_rows(pair.name, count), strict=True)
    ]
