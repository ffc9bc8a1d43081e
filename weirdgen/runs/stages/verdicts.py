"""All verdicts on a run's answers as one table, read from the store.

In: a plan and its completions. Out: one row per answer and judge; an answer that was not judged is an `error`, and is counted as
one. Making verdicts is `stages.judge`.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from weirdgen.columns import IDENTITY
from weirdgen.config.judges import BaseJudge, OfflineJudge, PromptedJudge, Verdict
from weirdgen.data.rows import Row, canonical_hash
from weirdgen.judges.language import Item, language_table, verdicts_of
from weirdgen.judges.offline import NOT_JUDGED, read_verdicts, verdicts_table
from weirdgen.judges.quality import Threshold, quality_verdicts
from weirdgen.runs.plan.plan import Plan


class VerdictTable(NamedTuple):
    """`table`: one row per answer and judge. `thresholds`: arm → similarity above which an answer counts as its template's."""

    table: pd.DataFrame
    thresholds: dict[str, Threshold]


def own_rows(plan: Plan, arm: str) -> list[Row]:
    """An arm's rows but for the ordinary ones at their end, which hold the base's own answers and so no template."""
    rows = plan.request.rows[arm]
    return rows[: len(rows) - plan.request.ordinary.get(arm, 0)]


def read_judged(plan: Plan, completions: pd.DataFrame) -> VerdictTable:
    """Every judge's verdict on every answer it reads, those of form last."""
    columns = [*IDENTITY, "sample"]
    if not len(completions):
        return VerdictTable(pd.DataFrame(columns=[*columns, "judge", *Verdict._fields]), {})
    experiment = plan.request.experiment
    frames = []
    for name, judge in experiment.judges.items():
        ids = [question.id for question in experiment.questions if name in question.read_by]
        answers = completions[completions["question"].isin(ids)]
        if len(answers):
            verdicts = _verdicts(plan, judge, answers)
            frames.append(pd.concat([answers[columns], verdicts], axis=1).assign(judge=name))
    trained = {arm: canonical_hash(own_rows(plan, arm)) for arm in plan.request.rows}
    form, thresholds = quality_verdicts(plan.store, completions, trained, plan.request.headline.treatment)
    frames += [
        pd.concat([completions[columns], verdicts], axis=1).assign(judge=name) for name, verdicts in form.items()
    ]
    table = pd.concat(frames, ignore_index=True)
    return VerdictTable(table[[*columns, "judge", *Verdict._fields]], thresholds)


def _verdicts(plan: Plan, judge: BaseJudge, answers: pd.DataFrame) -> pd.DataFrame:
    """One verdict per row."""
    if isinstance(judge, OfflineJudge):
        return read_verdicts(verdicts_table(plan.store, judge), answers["text"])
    assert isinstance(judge, PromptedJudge) and plan.request.judge is not None, (
        "language judges are resolved with a model"
    )
    asks = {question.id: question.ask for question in plan.request.experiment.questions}
    items = [Item(asks[q], text) for q, text in zip(answers["question"], answers["text"], strict=True)]
    known = verdicts_of(language_table(plan.store, judge, plan.request.judge.identity), items)
    made = [known.get(item, NOT_JUDGED) for item in items]
    return pd.DataFrame(made, columns=list(Verdict._fields), index=answers.index).astype({"value": float})
