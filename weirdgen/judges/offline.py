"""Verdicts of judges that ask no model, made and kept per judge and answer.

In: answers and offline judges. Out: one verdict per judge and distinct answer, in a table named by the judge's own content, so
a new judge or more samples pay only for what is new. How a kind comes to its verdict is in `weirdgen.config.judges`; judges
that ask a language model are `weirdgen.judges.language`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from weirdgen.config.judges import OfflineJudge, Verdict
from weirdgen.judges.embedding import LocalTools
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key, text_key
from weirdgen.store.table import Table, open_table

if TYPE_CHECKING:
    import pandas as pd

PORTION = 50_000
"""Answers in one unit of work."""
NOT_JUDGED = Verdict("error", None, "not judged yet")


def verdicts_table(store: Store, judge: OfflineJudge) -> Table:
    """The table of every verdict this judge has ever given."""
    inputs = {**judge.identity(), "judge": judge.model_dump(mode="json")}
    return open_table(store, "judge", content_key(inputs), inputs, unique=("answer_key",))


def lacking_verdicts(table: Table, answers: Iterable[str]) -> list[str]:
    """The distinct answers that have no verdict yet, sorted."""
    known = set(table.read()["answer_key"])
    return sorted(answer for answer in set(answers) if text_key(answer) not in known)


def make_verdicts(table: Table, judge: OfflineJudge, answers: Iterable[str]) -> None:
    """Judge each distinct answer that has no verdict yet, and keep the verdicts portion by portion."""
    import pandas as pd

    new = lacking_verdicts(table, answers)
    for start in range(0, len(new), judge.portion):
        portion = new[start : start + judge.portion]
        made = pd.DataFrame(judge.verdicts(portion, LocalTools()))
        keys = [text_key(answer) for answer in portion]
        table.extend(made.assign(answer_key=keys, value=made["value"].astype(float)))


def read_verdicts(table: Table, answers: pd.Series) -> pd.DataFrame:
    """A verdict for every answer: columns `status`, `value` (NaN unless ok) and `label`, with the index of `answers`.

    An answer without a verdict is an `error`. A million answers go through here, so nothing loops over them.
    """
    import pandas as pd

    places, uniques = pd.factorize(answers)
    keys = [text_key(answer) for answer in uniques.tolist()]
    columns = ["status", "value", "label"]
    known = table.read()
    if not len(known):
        known = pd.DataFrame(columns=["answer_key", *columns])
    verdicts = known.set_index("answer_key")[columns].reindex(keys)
    verdicts["label"] = verdicts["label"].where(verdicts["status"].notna(), NOT_JUDGED.label)
    verdicts["status"] = verdicts["status"].where(verdicts["status"].notna(), NOT_JUDGED.status)
    of_answers: pd.DataFrame = verdicts.astype({"value": float}).take(places)
    return of_answers.set_axis(answers.index)


def judge_all(table: Table, judge: OfflineJudge, answers: Iterable[str]) -> dict[str, Verdict]:
    """`make_verdicts` and `read_verdicts` of a few answers: a verdict for every distinct one."""
    import pandas as pd

    distinct = pd.Series(sorted(set(answers)), dtype=object)
    make_verdicts(table, judge, distinct)
    frame = read_verdicts(table, distinct)
    rows = zip(distinct, frame["status"], frame["value"], frame["label"], strict=True)
    return {answer: Verdict(status, None if pd.isna(v) else float(v), label) for answer, status, v, label in rows}
