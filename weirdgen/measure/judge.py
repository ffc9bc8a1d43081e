"""The judge stage: verdicts that are missing from the store, made and kept by (judge, answer).

In: answers and judges. Out: one verdict a judge and distinct answer, in a table named by the judge's own content, so
a new judge or more samples pay only for what is new. Adding a kind of judge is adding a line to `judge_answer`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from weirdgen.measure import match
from weirdgen.measure.match import Verdict, judge_match
from weirdgen.spec import Match
from weirdgen.store import Store, Table, content_key

if TYPE_CHECKING:
    import pandas as pd

PORTION = 50_000
"""Verdicts in one part of the table: a deterministic judge gives these in seconds, so a killed run loses little."""


def verdicts_table(store: Store, judge: Match) -> Table:
    """The table of every verdict this judge has ever given."""
    inputs = {"version": match.VERSION, "judge": judge.model_dump(mode="json")}
    return store.table("judge", content_key(inputs), inputs, unique=("answer_key",))


def answer_key(answer: str) -> str:
    """How a verdicts table names an answer."""
    return hashlib.sha256(answer.encode()).hexdigest()[:32]


def judge_answer(judge: Match, answer: str) -> Verdict:
    """One verdict, by the judge's kind."""
    return judge_match(judge, answer)


def judge_frame(table: Table, judge: Match, answers: pd.Series) -> pd.DataFrame:
    """A verdict for every answer: columns `status`, `value` (NaN unless ok) and `label`, with the index of `answers`.

    Each distinct answer is read from the table, or judged once and kept. A million answers go through here, so nothing
    loops over those that are known.
    """
    import numpy as np
    import pandas as pd

    places, found_texts = pd.factorize(answers)
    distinct: list[str] = found_texts.tolist()
    keys = pd.Index([answer_key(answer) for answer in distinct], dtype=object)
    known = table.read()
    new = np.flatnonzero(~keys.isin(known["answer_key"]))
    for start in range(0, len(new), PORTION):
        portion = new[start : start + PORTION]
        made = pd.DataFrame([judge_answer(judge, distinct[place]) for place in portion])
        made = made.assign(answer_key=keys[portion], value=made["value"].astype(float))
        table.extend(made)
        known = pd.concat([known, made], ignore_index=True) if len(known) else made
    columns = ["status", "value", "label"]
    if not len(known):
        return pd.DataFrame(columns=columns, index=answers.index)
    found: pd.DataFrame = known.set_index("answer_key")[columns].reindex(keys)
    return found.take(places).set_axis(answers.index)


def judge_all(table: Table, judge: Match, answers: Iterable[str]) -> dict[str, Verdict]:
    """The same for a few answers: a verdict for every distinct one."""
    import pandas as pd

    distinct = pd.Series(sorted(set(answers)), dtype=object)
    found = judge_frame(table, judge, distinct)
    values = [None if pd.isna(value) else float(value) for value in found["value"]]
    return {
        answer: Verdict(status, value, label)
        for answer, status, value, label in zip(distinct, found["status"], values, found["label"], strict=True)
    }
