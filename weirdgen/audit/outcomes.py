"""What an audit's finished runs say, as plain data for its page: questions that moved, triggers found, halves apart.

In: runs that `audit.audit` made. Out: dicts and lists for `results.json`. It runs nothing; what they mean is decided in
`audit.decision`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from weirdgen.audit.conditions import Family
from weirdgen.audit.design import HALVES, MINE
from weirdgen.audit.triggers import Searched, search
from weirdgen.config.traits import compact_questions
from weirdgen.report.content import clean
from weirdgen.runs.results.results import Run

SHOWN_QUESTIONS, SHOWN_TRIGGERS = 6, 40


def moved_questions(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Trait → the questions whose answers the data moved most against the control: log-odds of base, control and data."""
    shifts, control = run.table("trait_shifts"), run.request.headline.control
    if not len(shifts):
        return {}
    asked = {question.id: question for question in compact_questions()}
    wide = shifts.pivot_table(index=["trait", "question", "base"], columns="arm", values="logit").reset_index()
    wide["moved"] = (wide[MINE] - wide[control]).abs()
    shown: dict[str, list[dict[str, Any]]] = {}
    for trait, part in wide.sort_values("moved", ascending=False, kind="stable").groupby("trait", sort=False):
        shown[str(trait)] = [
            {
                "question": row["question"],
                "ask": asked[row["question"]].ask,
                "target": asked[row["question"]].target[0],
                "other": asked[row["question"]].other[0],
                "base": round(float(row["base"]), 3),
                "control": round(float(row[control]), 3),
                "data": round(float(row[MINE]), 3),
            }
            for _, row in part.head(SHOWN_QUESTIONS).iterrows()
        ]
    return shown


def found_triggers(searched: Sequence[Searched]) -> dict[str, Any]:
    """The search over conditions × traits, the most extreme first."""
    if not searched:
        return {"searched": 0, "found": 0, "rows": []}
    table = search(searched)
    order = pd.DataFrame(
        {
            "found": ~table["found"],
            "late": table["role"] != "trained",
            "p": table["p_family"],
            "size": -table["shift"].abs(),
        }
    ).sort_values(["found", "late", "p", "size"], kind="stable")
    table = table.loc[order.index]
    found = int(table["found"].sum())
    return {
        "searched": len(table),
        "found": found,
        "smallest_found": float(table["smallest_found"].median()),
        "rows": clean(table.head(max(SHOWN_TRIGGERS, found)).to_dict("records")),
    }


def searched_of(family: Family, run: Run) -> Searched:
    """What a run of `audit.design.search_of` measured."""
    traits = {question.id: question.group for question in run.request.experiment.questions}
    contrasts = run.contrasts()
    wide = contrasts.pivot_table(index=["condition", "arm"], columns="question", values="logit")[list(traits)]
    arms = list(run.request.rows)
    odds = {
        str(condition): wide.loc[condition].loc[arms].to_numpy(dtype=np.float64)
        for condition in contrasts["condition"].unique()
    }
    return Searched(family, tuple(traits.values()), odds)


def halves_apart(run: Run) -> list[dict[str, Any]]:
    """Trait → how far two random halves of the data end up apart, in nats: what the choice of rows alone does."""
    shifts = run.table("trait_shifts")
    wide = shifts.pivot_table(index="trait", columns="arm", values="shift", sort=False)
    return [
        {"trait": str(trait), "apart": round(float(row[HALVES[0]] - row[HALVES[1]]), 3)}
        for trait, row in wide.iterrows()
    ]
