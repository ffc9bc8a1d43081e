"""All verdicts on a run's answers as one table, the rates they give, and each judge's record.

In: a plan whose work is done, and its completions. Out: frames for `runs.results.results`, records for the report. Verdicts of
judges that ask no model, and the measures of form, are made here where the store lacks them; a language model is never asked.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from weirdgen.columns import FINAL
from weirdgen.config.judges import Classifier
from weirdgen.judges import classifier
from weirdgen.judges.calibration import calibrations
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.work.judge_stage import records

RATE_COLUMNS = ["judge", "arm", "condition", "flagged", "usable", "all", "rate", "rate_all"]


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
    experiment = plan.request.experiment
    kinds = {name: judge.kind for name, judge in experiment.judges.items()}
    found: dict[str, Any] = {
        str(name): {"kind": kinds.get(str(name), "form"), "statuses": {str(s): int(n) for s, n in counts.items()}}
        for name, counts in ((n, g.value_counts()) for n, g in judged.table.groupby("judge", sort=False)["status"])
    }
    if plan.request.judge is not None:
        answers = list(zip(completions["question"], completions["text"], strict=True))
        for name, record in records(plan.store, experiment, plan.request.judge, answers).items():
            found.setdefault(name, {}).update(record)
    for name, judge in experiment.judges.items():
        if isinstance(judge, Classifier) and name in found and (figures := classifier.held_out(judge)):
            found[name]["held_out"] = figures
    found["template_intrusion"]["held_out"] = {arm: limit._asdict() for arm, limit in judged.thresholds.items()}
    for name, calibration in calibrations(folder, experiment.judges, judged.table).items():
        found[name]["calibration"] = calibration
    return found
