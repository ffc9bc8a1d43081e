"""All verdicts on a run's answers as one table, the rates they give, and each judge's record.

In: a plan whose work is done, and its completions. Out: frames for `run.results.results`, records for the report. Verdicts of
judges that ask no model, and the measures of form, are made here where the store lacks them; a language model is never asked.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from weirdgen.columns import FINAL
from weirdgen.config.judges import PROMPTED, Classifier, Judge
from weirdgen.config.measures import TEMPLATE_INTRUSION
from weirdgen.config.questions import FreeForm
from weirdgen.data.rows import canonical_hash
from weirdgen.judges import classifier
from weirdgen.judges.calibration import calibrations
from weirdgen.judges.language import Item, language_table, verdicts_of
from weirdgen.judges.match import Verdict
from weirdgen.judges.offline import judge_frame, verdicts_table
from weirdgen.judges.quality import Threshold, quality_verdicts
from weirdgen.run.plan.plan import Plan
from weirdgen.run.work.judge_stage import records

NOT_JUDGED = Verdict("error", None, "not judged yet")
RATE_COLUMNS = ["judge", "arm", "condition", "flagged", "usable", "all", "rate", "rate_all"]


class VerdictTable(NamedTuple):
    """`table`: one row an answer and judge. `thresholds`: arm → from where on an answer counts as its template's."""

    table: pd.DataFrame
    thresholds: dict[str, Threshold]


def judge_completions(plan: Plan, completions: pd.DataFrame, identity: list[str]) -> VerdictTable:
    """Every judge's verdict on every answer it reads, those of form last. `identity`: columns that are copied."""
    columns = [*identity, "sample"]
    if not len(completions):
        return VerdictTable(pd.DataFrame(columns=[*columns, "judge", *Verdict._fields]), {})
    experiment = plan.settings.experiment
    frames = []
    for name, judge in experiment.judges.items():
        ids = [q.id for q in experiment.questions if isinstance(q, FreeForm) and name in q.judges]
        answers = completions[completions["question"].isin(ids)]
        if len(answers):
            found = _verdicts(plan, judge, answers)
            frames.append(pd.concat([answers[columns], found], axis=1).assign(judge=name))
    trained = {}
    for arm, rows in plan.settings.rows.items():
        # Ordinary rows, at the end, hold the base's own answers, which are no template.
        own = rows[: len(rows) - plan.settings.ordinary.get(arm, 0)]
        trained[arm] = (canonical_hash(own), sorted({row["messages"][-1]["content"] for row in own}))
    form, thresholds = quality_verdicts(plan.store, completions, trained, plan.settings.headline.treatment)
    frames += [pd.concat([completions[columns], one], axis=1).assign(judge=name) for name, one in form.items()]
    table = pd.concat(frames, ignore_index=True)
    return VerdictTable(table[[*columns, "judge", *Verdict._fields]], thresholds)


def _verdicts(plan: Plan, judge: Judge, answers: pd.DataFrame) -> pd.DataFrame:
    """One verdict a row. What a language judge has not said yet counts as an error."""
    if not isinstance(judge, PROMPTED):
        return judge_frame(verdicts_table(plan.store, judge), judge, answers["text"])
    assert plan.settings.judge is not None, "an experiment with language judges is not resolved without their model"
    asks = {question.id: question.ask for question in plan.settings.experiment.questions}
    items = [Item(asks[q], text) for q, text in zip(answers["question"], answers["text"], strict=True)]
    found = verdicts_of(language_table(plan.store, judge, plan.settings.judge.identity), items)
    made = [found.get(item, NOT_JUDGED) for item in items]
    return pd.DataFrame(made, columns=list(Verdict._fields), index=answers.index).astype({"value": float})


def rates(verdicts: pd.DataFrame, ratings: Collection[str]) -> pd.DataFrame:
    """Of each 0-or-1 measure, arm and condition at the end of training: flagged answers of the usable and of all answers.

    `ratings` are the judges whose values are numbers of a scale, be they all 0 or 1: they have no rate.
    """
    verdicts = verdicts[(verdicts["checkpoint"] == FINAL) & ~verdicts["judge"].isin(ratings)]
    if not len(verdicts):
        return pd.DataFrame(columns=RATE_COLUMNS)
    grouped = verdicts.groupby(["judge", "arm", "condition"], sort=False)["value"]
    found = grouped.agg(flagged="sum", usable="count", all="size").reset_index()
    found["rate"] = found["flagged"] / found["usable"].where(found["usable"] > 0)
    found["rate_all"] = found["flagged"] / found["all"]
    return found[RATE_COLUMNS]


def judge_records(plan: Plan, completions: pd.DataFrame, judged: VerdictTable, folder: Path) -> dict[str, Any]:
    """Judge → kind, outcomes, flips, calibration (labels in `folder`), and the measured error of what needs no model."""
    if not len(judged.table):
        return {}
    experiment = plan.settings.experiment
    kinds = {name: judge.kind for name, judge in experiment.judges.items()}
    found: dict[str, Any] = {
        str(name): {"kind": kinds.get(str(name), "form"), "statuses": {str(s): int(n) for s, n in counts.items()}}
        for name, counts in ((n, g.value_counts()) for n, g in judged.table.groupby("judge", sort=False)["status"])
    }
    if plan.settings.judge is not None:
        answers = list(zip(completions["question"], completions["text"], strict=True))
        for name, record in records(plan.store, experiment, plan.settings.judge, answers).items():
            found.setdefault(name, {}).update(record)
    for name, judge in experiment.judges.items():
        if isinstance(judge, Classifier) and name in found and (figures := classifier.held_out(judge)):
            found[name]["held_out"] = figures
    found[TEMPLATE_INTRUSION.name]["held_out"] = {arm: limit._asdict() for arm, limit in judged.thresholds.items()}
    for name, calibration in calibrations(folder, experiment.judges, judged.table).items():
        found[name]["calibration"] = calibration
    return found
