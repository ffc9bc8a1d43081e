"""The judge stage: verdicts that are missing from the store, made and kept by (judge, answer).

In: answers and judges. Out: one verdict a judge and distinct answer, in a table named by the judge's own content, so
a new judge or more samples pay only for what is new. Adding a kind of judge is adding a line to `judge_answer`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from weirdgen.measure import match
from weirdgen.measure.match import Verdict, judge_match
from weirdgen.spec import Match
from weirdgen.store import Store, Table, content_key


def verdicts_table(store: Store, judge: Match) -> Table:
    """The table of every verdict this judge has ever given."""
    inputs = {"version": match.VERSION, "judge": judge.model_dump(mode="json")}
    return store.table("judge", content_key(inputs), inputs, unique=("answer_key",))


def judge_answer(judge: Match, answer: str) -> Verdict:
    """One verdict, by the judge's kind."""
    return judge_match(judge, answer)


def judge_all(table: Table, judge: Match, answers: Iterable[str]) -> dict[str, Verdict]:
    """A verdict for every distinct answer, made now or read from the table."""
    import pandas as pd

    frame = table.read()
    known = {
        row.answer_key: Verdict(row.status, None if pd.isna(row.value) else row.value, row.label)
        for row in frame.itertuples()
    }
    verdicts: dict[str, Verdict] = {}
    with table:
        for answer in sorted(set(answers)):
            key = hashlib.sha256(answer.encode()).hexdigest()[:32]
            if key not in known:
                known[key] = judge_answer(judge, answer)
                table.append({"answer_key": key, **known[key]._asdict()})
            verdicts[answer] = known[key]
    return verdicts
