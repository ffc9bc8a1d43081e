"""Is it more than what harmless data do? A run's shifts on trait questions among those of reference finetunes.

In: a finished run whose experiment names traits. Out: one row a trait and yardstick, which references were taken, and a verdict
with its sentence. References are those of the same model and questions whose training is nearest to the run's; how near is
said. The statistics are `stats.specificity`; references are trained by `runs.references`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from weirdgen.config.traits import compact_questions, questions_digest
from weirdgen.errors import DataError
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.references.scores import Origin, read_origin, read_scores, score_files
from weirdgen.sample.variant import base_key
from weirdgen.stats.sentences import signed
from weirdgen.stats.specificity import SPECIFICITY_COLUMNS, reference_scores, specificity

LEAST = 19
"""References below which no shift can be called specific at 5%."""
Verdict = Literal["specific", "not_specific", "unknown"]


@dataclass(frozen=True)
class Specificity:
    """`table`: `SPECIFICITY_COLUMNS`. `references`: what the run was compared with, as plain data.

    `scores`: trait, set ("" for the run's own dataset) and its score beyond the others' in nats, for the figure.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    references: dict[str, Any]
    verdict: Verdict
    sentence: str

    def as_data(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "references": self.references,
            "rows": self.table.to_dict("records"),
            "scores": self.scores.to_dict("records"),
        }


def specificity_of(plan: Plan, shifts: pd.DataFrame) -> Specificity | None:
    """Where the headline's treatment lies among reference finetunes; None where no traits are named. `shifts`: trait_shifts."""
    traits = plan.request.experiment.traits
    if not traits:
        return None
    nearest = nearest_references(plan)
    if nearest is None or not len(shifts):
        told = (
            "Whether harmless data do the same was not measured: there are no reference finetunes of this model "
            "(`weirdgen references build` makes them)."
        )
        return Specificity(pd.DataFrame(columns=list(SPECIFICITY_COLUMNS)), pd.DataFrame(), {}, "unknown", told)
    file, made = nearest
    scores, _ = read_scores(file)
    questions = [question for question in compact_questions() if question.group in traits]
    ids = [question.id for question in questions]
    harmless = scores[scores["kind"] == "reference"].pivot(index="set", columns="question", values="shift")[ids]
    own = shifts[shifts["arm"] == plan.request.headline.treatment]
    own_SQ = own.pivot(index="replicate", columns="question", values="shift")[ids]
    base_Q = own.drop_duplicates("question").set_index("question")["base"][ids].to_numpy()
    of_question = [question.group for question in questions]
    null_RQ = harmless.to_numpy()
    table = specificity(
        null_RQ,
        own_SQ.to_numpy(),
        traits=of_question,
        base_Q=base_Q,
        expected=dict.fromkeys(traits, 1),
        # One trait that was named before the run is decided by its own p; of several, any would do, so all count together.
        fixed=traits if len(traits) == 1 else (),
    )
    marks = reference_scores(null_RQ, own_SQ.to_numpy(), traits=of_question, base_Q=base_Q, sets=list(harmless.index))
    facts = {**_facts(plan, made), "references": len(null_RQ)}
    verdict, sentence = _verdict(plan, table, facts)
    return Specificity(table, marks, facts, verdict, sentence)


def nearest_references(plan: Plan) -> tuple[Path, Origin] | None:
    """Scores of this model and these questions whose training has the most similar number of steps and learning rate."""
    if not plan.request.experiment.traits:
        return None
    request = plan.request
    model, questions = base_key(request.model.digest, request.date), questions_digest(compact_questions())
    fitting = []
    for file in score_files(plan.store):
        try:
            made = read_origin(file)
        except DataError:  # somebody else's file in the folder; `weirdgen references list` names it
            continue
        if (made.model, made.questions) == (model, questions) and len(made.sets) >= LEAST:
            fitting.append((_distance(plan, made), str(file), made, file))
    if not fitting:
        return None
    _, _, made, file = min(fitting, key=lambda entry: entry[:2])
    return file, made


def _steps(rows: int, recipe: dict[str, Any]) -> float:
    in_a_step: int = recipe["batch_size"] * recipe.get("grad_accumulation", 1)
    return float(rows * recipe["epochs"] / in_a_step)


def _distance(plan: Plan, made: Origin) -> float:
    recipe = plan.request.recipe
    rows = plan.request.row_count(plan.request.headline.treatment)
    steps = log(_steps(rows, recipe.model_dump()) / _steps(made.rows, dict(made.recipe)))
    return float(abs(steps) + abs(log(recipe.learning_rate / made.recipe["learning_rate"])))


def _facts(plan: Plan, made: Origin) -> dict[str, Any]:
    recipe, rows = plan.request.recipe, plan.request.row_count(plan.request.headline.treatment)
    return {
        "rows": made.rows,
        "epochs": made.recipe["epochs"],
        "learning_rate": made.recipe["learning_rate"],
        "own_rows": rows,
        "own_epochs": recipe.epochs,
        "own_learning_rate": recipe.learning_rate,
        "times_as_much": round(exp(_distance(plan, made)), 3),
    }


def _verdict(plan: Plan, table: pd.DataFrame, facts: dict[str, Any]) -> tuple[Verdict, str]:
    """Over the traits that were named; the sentence says rank and p of the most extreme of them."""
    specific, several = table[table["specific"]], len(table) > 1
    row = table.iloc[int(table["p_family" if several else "p"].to_numpy().argmin())]
    count, p = int(row["references"]), row["p_family" if several else "p"]
    size = row["smallest_found_family" if several else "smallest_found"]
    least = f"{size:.2f}" if np.isfinite(size) else "no size at all"
    among = (
        f"on {int(row['questions'])} questions about {row['trait']}, {plan.request.headline.treatment} moves answers by "
        f"{signed(row['mean'], 2)} nat; of {count} harmless datasets, {int(row['rank']) - 1} move them at least as far "
        f"towards it (p = {p:.3g}{f' over {len(table)} traits' if several else ''})"
    )
    near = "" if facts["times_as_much"] < 1.3 else (
        f" The harmless datasets had {facts['rows']} rows × {facts['epochs']} epochs, this one {facts['own_rows']} × "
        f"{facts['own_epochs']}."
    )  # fmt: skip
    if len(specific):
        return "specific", f"More than harmless data do: {among}.{near}"
    return (
        "not_specific",
        f"Not more than harmless data do: {among}; {least} nat beyond them would have been found in 8 of 10 cases.{near}",
    )
