"""The rates that a run's verdicts give, and each judge's record.

In: a plan, its completions and verdicts. Out: a frame of rates, records for the report. Verdicts are made in `stages.judge` and
read in `stages.verdicts`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from weirdgen.columns import FINAL
from weirdgen.config.experiment import Experiment
from weirdgen.config.judges import offline
from weirdgen.config.measures import TEMPLATE_INTRUSION
from weirdgen.judges import language
from weirdgen.judges.calibration import calibrations
from weirdgen.judges.model import NamedJudge
from weirdgen.judges.tasks import tasks, without_reasons
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.stages.verdicts import VerdictTable
from weirdgen.store.artifacts import Store

RATE_COLUMNS = ["judge", "arm", "condition", "flagged", "usable", "all", "rate", "rate_all"]


def rates(verdicts: pd.DataFrame, ratings: Collection[str]) -> pd.DataFrame:
    """Of each 0-or-1 measure, arm and condition at the end of training: flagged answers of the usable and of all answers.

    `ratings` are the judges whose values are numbers on a scale, even if they all are 0 or 1: they have no rate.
    """
    verdicts = verdicts[(verdicts["checkpoint"] == FINAL) & ~verdicts["judge"].isin(ratings)]
    if not len(verdicts):
        return pd.DataFrame(columns=RATE_COLUMNS)
    grouped = verdicts.groupby(["judge", "arm", "condition"], sort=False)["value"]
    table = grouped.agg(flagged="sum", usable="count", all="size").reset_index()
    table["rate"] = table["flagged"] / table["usable"].where(table["usable"] > 0)
    table["rate_all"] = table["flagged"] / table["all"]
    return table[RATE_COLUMNS]


def judge_records(plan: Plan, completions: pd.DataFrame, judged: VerdictTable, folder: Path) -> dict[str, Any]:
    """Judge → kind, outcomes, flips, calibration (labels in `folder`), and the measured error of what needs no model."""
    if not len(judged.table):
        return {}
    experiment = plan.request.experiment
    kinds = {name: judge.kind for name, judge in experiment.judges.items()}
    records: dict[str, Any] = {
        str(name): {"kind": kinds.get(str(name), "form"), "statuses": {str(s): int(n) for s, n in counts.items()}}
        for name, counts in ((n, g.value_counts()) for n, g in judged.table.groupby("judge", sort=False)["status"])
    }
    if plan.request.judge is not None:
        answers = list(zip(completions["question"], completions["text"], strict=True))
        for name, record in _records_of_models(plan.store, experiment, plan.request.judge, answers).items():
            records.setdefault(name, {}).update(record)
    for name, judge in offline(experiment.judges).items():
        if name in records and (figures := judge.held_out()):
            records[name]["held_out"] = figures
    records[TEMPLATE_INTRUSION.name]["held_out"] = {arm: limit._asdict() for arm, limit in judged.thresholds.items()}
    for name, calibration in calibrations(folder, experiment.judges, judged.table).items():
        records[name]["calibration"] = calibration
    return records


def _records_of_models(
    store: Store, experiment: Experiment, judge: NamedJudge, answers: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Each judge's record for the report: kind, model, flips, the probability mass on admissible replies.

    `made` counts the verdicts behind it, repeats and attempts that failed included.
    """
    records: dict[str, Any] = {}
    for task in tasks(store, experiment, judge, answers):
        everything = task.table.read()
        everything = everything[everything["answer_key"].isin({item.key for item in task.items})]
        record: dict[str, Any] = {
            "kind": task.judge.kind,
            "model": judge.reference,
            "prompt": task.judge.prompt,
        }
        if without_reasons(judge.reference, task.judge):
            record["reasons"] = "asked for, but not written: a local model chooses its answer at once"
        record["made"] = len(everything)
        if len(everything):
            frame = language.last_attempts(everything)
            mass = frame["mass"].dropna()
            record["asked_twice"] = flips = language.flips(task.judge, frame)
            if flips:
                record["flip_rate"] = flips["flip_rate"]
            if len(mass):
                record["median_mass"] = float(mass.median())
            record["tokens"] = {"read": int(frame["input_tokens"].sum()), "written": int(frame["output_tokens"].sum())}
        records[task.name] = record
    return records
