"""Answers that repeat one another: how many, and how many of a cell count as drawn independently.

In: completions with identity columns. Out: one row a cell (model × condition × question): answers, the share that repeats an
earlier one word for word, and `effective`: the answers less repeats of `LONG` tokens or more, which chance does not make. Some
servers give one seed's n choices as n copies, others a cached answer for an equal request. Also whether answers hold thinking.
"""

from __future__ import annotations

import pandas as pd

from weirdgen.columns import IDENTITY
from weirdgen.providers.chat import THOUGHTS

LONG = 12
"""Tokens from which an equal answer at temperature 1 counts as a copy. A peaked model may give one, so `effective` is a least."""


def repeats(completions: pd.DataFrame) -> pd.DataFrame:
    """`IDENTITY`, answers, repeated (share), effective (count), thinking (share)."""
    columns = [*IDENTITY, "answers", "repeated", "effective", "thinking"]
    if not len(completions):
        return pd.DataFrame(columns=columns)
    again = completions.duplicated([*IDENTITY, "text"])
    copied = again & (completions["completion_tokens"] >= LONG)
    thinking = completions["text"].map(lambda text: any(mark in text for mark in THOUGHTS))
    told = completions[IDENTITY].assign(again=again, copied=copied, thinking=thinking)
    cells = told.groupby(IDENTITY, sort=False).agg(
        answers=("again", "size"), repeated=("again", "mean"), copies=("copied", "sum"), thinking=("thinking", "mean")
    )
    cells["effective"] = cells["answers"] - cells["copies"]
    return cells.reset_index()[columns]


def repeats_summary(completions: pd.DataFrame) -> dict[str, float]:
    """Of all cells: the share of repeated answers, the smallest effective share of a cell, and the share with thinking."""
    cells = repeats(completions)
    if not len(cells):
        return {}
    total = cells["answers"].sum()
    return {
        "repeated": float((cells["repeated"] * cells["answers"]).sum() / total),
        "least_effective": float((cells["effective"] / cells["answers"]).min()),
        "thinking": float((cells["thinking"] * cells["answers"]).sum() / total),
    }
