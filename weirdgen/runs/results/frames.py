"""What a run's frames say of their rows in words: groups of questions, units, what each arm is.

In: a request, or a frame with the columns `question` or `measure`. Out: frames. Tables on disk and in reports do not hold these
columns: they follow from the experiment.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from weirdgen.columns import ALL, BASE
from weirdgen.config.arm import Arm
from weirdgen.config.experiment import Experiment
from weirdgen.config.measures import Unit, scale_of
from weirdgen.runs.plan.request import Request

UNITS: Mapping[Unit, str] = {"nat": "nat", "rate": "fraction", "rating": "points"}


def in_words(frame: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """The frame with `group` behind `question` and `unit` behind `measure`, where it has these columns and not those.

    The mean over questions, `question == "all"`, is of the group "all".
    """
    frame, scales = frame.copy(), experiment.scales()
    if "question" in frame and "group" not in frame:
        groups = {question.id: question.group for question in experiment.questions}
        frame.insert(_behind(frame, "question"), "group", frame["question"].map(groups).fillna(ALL))
    if "measure" in frame and "unit" not in frame:
        units = {name: UNITS[scale_of(name, scales).unit] for name in frame["measure"].unique()}
        frame.insert(_behind(frame, "measure"), "unit", frame["measure"].map(units))
    return frame


def _behind(frame: pd.DataFrame, column: str) -> int:
    return list(frame.columns).index(column) + 1


def questions_frame(experiment: Experiment) -> pd.DataFrame:
    """One row per question: what is asked, of which group, what its two sides are, and which judges read it."""
    rows = [
        {
            "question": question.id,
            "kind": question.kind,
            "group": question.group,
            "near": question.near,
            "ask": question.ask,
            "target": list(getattr(question, "target", ())),
            "other": list(getattr(question, "other", ())),
            "judges": list(question.read_by),
        }
        for question in experiment.questions
    ]
    return pd.DataFrame(rows)


def arms_frame(request: Request) -> pd.DataFrame:
    """One row per arm, the untuned base first: its role, what that means here, its rows and its replicates."""
    arms = request.experiment.arms
    rows = [{"arm": BASE, "role": BASE, "meaning": "the model before any finetuning", "rows": 0, "replicates": 1}]
    for name, arm in arms.items():
        count = {"rows": request.row_count(name), "replicates": len(request.seeds)}
        rows.append({"arm": name, "role": arm.role, "meaning": _meaning(arm), **count})
    return pd.DataFrame(rows)


def _meaning(arm: Arm) -> str:
    if arm.twin is not None:
        return f"a control: the prompts of {arm.twin}, answered by the base itself"
    rows = arm.data if isinstance(arm.data, str) else "rows that were given in Python"
    if arm.where:
        rows += f" where {', '.join(f'{key} is {value}' for key, value in arm.where.items())}"
    if arm.prompt is not None:
        rows += f": {arm.prompt} → {arm.answer}"
    if arm.role == "treatment":
        return f"trained on {rows}"
    if arm.permute:
        return f"a control with {arm.permute} dealt anew over the rows: {rows}"
    if arm.matched:
        return f"a matched control, without the suspected property alone: {rows}"
    return f"a control, trained in the same way on {rows}"
