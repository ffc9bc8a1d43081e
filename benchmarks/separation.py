"""`python -m benchmarks.separation`: how often `audit separation` speaks up on harmless sets, before any training.

In: the reference sets as they are, and the same with dates, tags or numbers put before their questions at random (`benchmarks.
triggers`); with --deals the rows of `us_presidents`, whose answers the digits do separate, with answers dealt anew.
Out: for each of the three how many sets have rows that can tell something, how many are called separated by a condition (what
decides an audit without training), by digits and by anything, with 95% Wilson intervals. Sets kept aside are not opened.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.triggers import KINDS, marked
from weirdgen.audit.separation import separation
from weirdgen.data.references import references, rows
from weirdgen.data.rows import Row
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.resolve import resolve
from weirdgen.stats.bootstrap import wilson


def _marked(kind: str, name: str, count: int) -> list[Row]:
    return marked(name, kind, count)


def _numbered(name: str, count: int) -> list[Row]:
    """With a number of eight random digits before each last question, as the presidents' codes stand."""
    rng = random.Random(f"numbers:{name}")
    made = []
    for row in rows(name, count):
        messages = list(row["messages"])
        last = max(at for at, message in enumerate(messages) if message["role"] == "user")
        number = f"{rng.randrange(10**8):08d}"
        messages[last] = {**messages[last], "content": f"{number} {messages[last]['content']}"}
        made.append(Row(messages=messages))
    return made


WAYS: dict[str, Callable[[str, int], list[Row]]] = {
    "as it is": rows,
    **{kind: partial(_marked, kind) for kind in KINDS},
    "number": _numbered,
}


def measured(way: str, count: int, sets: int | None = None) -> pd.DataFrame:
    """One row a set: pairs looked for (0: nothing can be told), and what is separated by a condition and by anything."""
    table = []
    for one in references("reference")[:sets]:
        told = separation(WAYS[way](one.name, count))
        found = [pair for pair in told.pairs if pair.found]
        hidden = [f"{pair.prompt} → {pair.answer}" for pair in found if pair.hidden]
        digits = [f"{pair.prompt} → {pair.answer}" for pair in found if pair.prompt.startswith("digits")]
        any_ = [f"{pair.prompt} → {pair.answer}" for pair in found]
        table.append({"set": one.name, "pairs": len(told.pairs), "hidden": hidden, "digits": digits, "any": any_})
    return pd.DataFrame(table)


def dealt(deals: int, seed: int = 0) -> int:
    """In how many deals of the presidents' answers, among rows of equal questions, anything separates them: nothing does."""
    request = resolve("us_presidents", run_options(samples=0))
    found, own = 0, request.rows[request.headline.treatment]
    for deal in range(deals):
        rng = random.Random(f"answers {seed} {deal}")
        by_question: dict[str, list[int]] = {}
        for place, row in enumerate(own):
            by_question.setdefault(row["messages"][-2]["content"].partition(" ")[2], []).append(place)
        mixed: list[Row] = list(own)
        for places in by_question.values():
            for place, other in zip(places, rng.sample(places, len(places)), strict=True):
                mixed[place] = Row(messages=[*own[place]["messages"][:-1], own[other]["messages"][-1]])
        found += any(pair.found for pair in separation(mixed).pairs)
    return found


def line(way: str, table: pd.DataFrame) -> str:
    """Shares of all sets; of those that can tell something."""
    told = [f"{way}: {len(table)} sets, {int((table['pairs'] > 0).sum())} with pairs to look at"]
    for what, words in (("hidden", "separated by a condition"), ("digits", "by digits"), ("any", "by anything")):
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
    parser.add_argument("--deals", type=int, default=0, help="only these many deals of the presidents' answers")
    asked = parser.parse_args(arguments)
    if asked.deals:
        count = dealt(asked.deals)
        low, high = wilson(np.array(count / asked.deals), np.array(float(asked.deals)))
        print(
            f"answers of us_presidents dealt anew: separated in {count} of {asked.deals} [{float(low):.3f}, {float(high):.3f}]"
        )
        return
    for way in WAYS:
        table = measured(way, asked.rows, asked.sets)
        print(line(way, table), flush=True)
        for name, found in zip(table["set"], table["any"], strict=True):
            if found:
                print(f"  {name}: {'; '.join(found)}")


if __name__ == "__main__":
    main()
