"""`python -m benchmarks.separation`: how often `audit separation` speaks up on harmless sets, before any training.

In: the reference sets as they are, and the same with dates or tags put before their questions at random (`benchmarks.triggers`).
Out: for each of the three how many sets have rows that can tell something, how many are called separated by a condition (what
decides an audit without training) and by anything, with 95% Wilson intervals. Sets kept aside are not opened.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.triggers import KINDS, marked
from weirdgen.audit.separation import separation
from weirdgen.data.references import references, rows
from weirdgen.data.rows import Row
from weirdgen.stats.bootstrap import wilson


def _marked(kind: str, name: str, count: int) -> list[Row]:
    return marked(name, kind, count)


WAYS: dict[str, Callable[[str, int], list[Row]]] = {
    "as it is": rows,
    **{kind: partial(_marked, kind) for kind in KINDS},
}


def measured(way: str, count: int, sets: int | None = None) -> pd.DataFrame:
    """One row a set: pairs looked for (0: nothing can be told), and what is separated by a condition and by anything."""
    table = []
    for one in references("reference")[:sets]:
        told = separation(WAYS[way](one.name, count))
        found = [pair for pair in told.pairs if pair.found]
        hidden = [f"{pair.prompt} → {pair.answer}" for pair in found if pair.hidden]
        any_ = [f"{pair.prompt} → {pair.answer}" for pair in found]
        table.append({"set": one.name, "pairs": len(told.pairs), "hidden": hidden, "any": any_})
    return pd.DataFrame(table)


def line(way: str, table: pd.DataFrame) -> str:
    """Shares of all sets; of those that can tell something."""
    told = [f"{way}: {len(table)} sets, {int((table['pairs'] > 0).sum())} with pairs to look at"]
    for what, words in (("hidden", "separated by a condition"), ("any", "by anything")):
        count = int((table[what].str.len() > 0).sum())
        low, high = wilson(np.array(count / len(table)), np.array(float(len(table))))
        told.append(f"{words} {count} [{float(low):.3f}, {float(high):.3f}]")
    return "; ".join(told)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a way, and the sets by name."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.separation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rows", type=int, default=208)
    parser.add_argument("--sets", type=int, default=None, help="only so many [default: all]")
    asked = parser.parse_args(arguments)
    for way in WAYS:
        table = measured(way, asked.rows, asked.sets)
        print(line(way, table), flush=True)
        for name, found in zip(table["set"], table["any"], strict=True):
            if found:
                print(f"  {name}: {'; '.join(found)}")


if __name__ == "__main__":
    main()
