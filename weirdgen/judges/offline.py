"""The judge stage for judges that ask no language model: verdicts made and kept by (judge, answer).

In: answers and offline judges. Out: one verdict a judge and distinct answer, in a table named by the judge's own content, so
a new judge or more samples pay only for what is new. Adding such a kind of judge is adding a branch to
`judge_answers`. Judges that ask a language model are `weirdgen.runs.work.judge_stage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from weirdgen.config.judges import Classifier, OfflineJudge
from weirdgen.judges import classifier, match
from weirdgen.judges.match import Verdict, judge_match
from weirdgen.store.artifacts import Store, content_key, text_key
from weirdgen.store.table import Table, open_table

if TYPE_CHECKING:
    import pandas as pd

PORTION = 50_000
"""Verdicts in one part of the table: a deterministic judge gives these in seconds, so a killed run loses little."""


def verdicts_table(store: Store, judge: OfflineJudge) -> Table:
    """The table of every verdict this judge has ever given."""
    made_by = classifier.identity(judge) if isinstance(judge, Classifier) else {"version": match.VERSION}
    inputs = {**made_by, "judge": judge.model_dump(mode="json")}
    return open_table(store, "judge", content_key(inputs), inputs, unique=("answer_key",))


def judge_answers(judge: OfflineJudge, answers: Sequence[str]) -> list[Verdict]:
    """One verdict an answer, by the judge's kind."""
    if isinstance(judge, Classifier):
        return classifier.judge_answers(judge, answers)
    return [judge_match(judge, answer) for answer in answers]


def judge_frame(table: Table, judge: OfflineJudge, answers: pd.Series) -> pd.DataFrame:
    """A verdict for every answer: columns `status`, `value` (NaN unless ok) and `label`, with the index of `answers`.

    Each distinct answer is read from the table, or judged once and kept. A million answers go through here, so nothing
    loops over those that are known.
    """
    import numpy as np
    import pandas as pd

    places, found_texts = pd.factorize(answers)
    distinct: list[str] = found_texts.tolist()
    keys = pd.Index([text_key(answer) for answer in distinct], dtype=object)
    known = table.read()
    new = np.flatnonzero(~keys.isin(known["answer_key"]))
    size = classifier.PORTION if isinstance(judge, Classifier) else PORTION
    for start in range(0, len(new), size):
        portion = new[start : start + size]
        made = pd.DataFrame(judge_answers(judge, [distinct[place] for place in portion]))
        made = made.assign(answer_key=keys[portion], value=made["value"].astype(float))
        table.extend(made)
        known = pd.concat([known, made], ignore_index=True) if len(known) else made
    columns = ["status", "value", "label"]
    if not len(known):
        return pd.DataFrame(columns=columns, index=answers.index)
    found: pd.DataFrame = known.set_index("answer_key")[columns].reindex(keys)
    return found.take(places).set_axis(answers.index)


def judge_all(table: Table, judge: OfflineJudge, answers: Iterable[str]) -> dict[str, Verdict]:
    """The same for a few answers: a verdict for every distinct one."""
    import pandas as pd

    distinct = pd.Series(sorted(set(answers)), dtype=object)
    found = judge_frame(table, judge, distinct)
    values = [None if pd.isna(value) else float(value) for value in found["value"]]
    return {
        answer: Verdict(status, value, label)
        for answer, status, value, label in zip(distinct, found["status"], values, found["label"], strict=True)
    }
