"""Verdicts of judges that ask no language model, made and kept by (judge, answer).

In: answers and offline judges. Out: one verdict a judge and distinct answer, in a table named by the judge's own content, so
a new judge or more samples pay only for what is new. How a kind comes to its verdict is in `weirdgen.config.judges`; judges
that ask a language model are `weirdgen.judges.language`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from weirdgen.config.judges import OfflineJudge, Verdict
from weirdgen.judges.tools import LocalTools
from weirdgen.store.artifacts import Store, content_key
from weirdgen.store.table import Table, open_table

if TYPE_CHECKING:
    import pandas as pd

PORTION = 50_000
"""Answers in one unit of work."""


def verdicts_table(store: Store, judge: OfflineJudge) -> Table:
    """The table of every verdict this judge has ever given."""
    inputs = {**judge.identity(), "judge": judge.model_dump(mode="json")}
    return open_table(store, "judge", content_key(inputs), inputs, unique=("answer_key",))


def answer_key(answer: str) -> str:
    """How tables of verdicts and similarities name an answer."""
    return hashlib.sha256(answer.encode(errors="surrogatepass")).hexdigest()[:32]


def judge_frame(table: Table, judge: OfflineJudge, answers: pd.Series) -> pd.DataFrame:
    """A verdict for every answer: columns `status`, `value` (NaN unless ok) and `label`, with the index of `answers`.

    Each distinct answer is read from the table, or judged once and kept. A million answers go through here, so nothing
    loops over those that are known.
    """
    import numpy as np
    import pandas as pd

    places, uniques = pd.factorize(answers)
    distinct: list[str] = uniques.tolist()
    keys = pd.Index([answer_key(answer) for answer in distinct], dtype=object)
    known = table.read()
    new = np.flatnonzero(~keys.isin(known["answer_key"]))
    for start in range(0, len(new), judge.portion):
        portion = new[start : start + judge.portion]
        made = pd.DataFrame(judge.verdicts([distinct[place] for place in portion], LocalTools()))
        made = made.assign(answer_key=keys[portion], value=made["value"].astype(float))
        table.extend(made)
        known = pd.concat([known, made], ignore_index=True) if len(known) else made
    columns = ["status", "value", "label"]
    if not len(known):
        return pd.DataFrame(columns=columns, index=answers.index)
    verdicts: pd.DataFrame = known.set_index("answer_key")[columns].reindex(keys)
    return verdicts.take(places).set_axis(answers.index)


def judge_all(table: Table, judge: OfflineJudge, answers: Iterable[str]) -> dict[str, Verdict]:
    """The same for a few answers: a verdict for every distinct one."""
    import pandas as pd

    distinct = pd.Series(sorted(set(answers)), dtype=object)
    verdicts = judge_frame(table, judge, distinct)
    values = [None if pd.isna(value) else float(value) for value in verdicts["value"]]
    return {
        answer: Verdict(status, value, label)
        for answer, status, value, label in zip(distinct, verdicts["status"], values, verdicts["label"], strict=True)
    }
