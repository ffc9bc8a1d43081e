"""The judge stage: verdicts that are missing from the store, made and kept by (judge, answer).

In: answers and judges. Out: one verdict a judge and distinct answer, in a table named by the judge's own content, so
a new judge or more samples pay only for what is new. Adding a kind of judge is adding a line to `judge_answer`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from weirdgen.measure import match
from weirdgen.measure.match import Verdict, judge_match
from weirdgen.spec import Match
from weirdgen.store import Store, Table, content_key

PORTION = 50_000
"""Verdicts in one part of the table: a deterministic judge gives these in seconds, so a killed run loses little."""


def verdicts_table(store: Store, judge: Match) -> Table:
    """The table of every verdict this judge has ever given."""
    inputs = {"version": match.VERSION, "judge": judge.model_dump(mode="json")}
    return store.table("judge", content_key(inputs), inputs, unique=("answer_key",))


def judge_answer(judge: Match, answer: str) -> Verdict:
    """One verdict, by the judge's kind."""
    return judge_match(judge, answer)


def judge_all(table: Table, judge: Match, answers: Iterable[str]) -> dict[str, Verdict]:
    """A verdict for every distinct answer, made now or read from the table. New ones are kept in portions."""
    frame = table.read()
    known: dict[str, Verdict] = {}
    if len(frame):
        values = [None if value != value else value for value in frame["value"].astype(float)]
        fields = zip(frame["answer_key"], frame["status"], values, frame["label"], strict=True)
        known = {key: Verdict(status, value, label) for key, status, value, label in fields}
    verdicts: dict[str, Verdict] = {}
    new: list[dict[str, Any]] = []
    with table:
        for answer in sorted(set(answers)):
            key = hashlib.sha256(answer.encode()).hexdigest()[:32]
            if key not in known:
                known[key] = judge_answer(judge, answer)
                new.append({"answer_key": key, **known[key]._asdict()})
                if len(new) == PORTION:
                    table.extend(new)
                    new = []
            verdicts[answer] = known[key]
        table.extend(new)
    return verdicts
