"""`weirdgen check`: everything that can be known before a run costs anything: files, data, template, mask, questions.

In: an experiment and, if wanted, another model. Out: lines of text. The proofs are those of `weirdgen run` itself, on every row
and at the largest size; raises the same errors. A model that cannot be fetched now is said, and only what needs it is left out.
"""

from __future__ import annotations

from pathlib import Path

from weirdgen.data.arms import load_arms
from weirdgen.data.proof import RowError
from weirdgen.data.rows import place_of
from weirdgen.data.stored import encode_rows, trainable_rows
from weirdgen.errors import DataError, SpecError, UnreachableError
from weirdgen.finetune.schedule import require_trainable
from weirdgen.models.references import find_model
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.request import resolve
from weirdgen.runs.stages.all import STAGES
from weirdgen.store.artifacts import Store


def check_lines(reference: str, model: str | None, store: str) -> list[str]:
    """What was checked. Raises one `SpecError` with every problem of the files, the data and their proof; `ModelError`."""
    experiment, rows = load_arms(reference)
    arms = ", ".join(f"{arm} {len(own)}" for arm, own in rows.items())
    counts = f"{len(experiment.questions)} questions, {len(experiment.wrappers())} conditions"
    fine = f"{experiment.name}: fine. Rows: {arms}. {counts}."
    try:
        local = find_model(model or experiment.base)
    except UnreachableError as error:
        return [fine, f"not checked: template, mask and questions, for want of the model ({error})"]
    request = resolve(reference, run_options(model=model, preset="paper"))
    problems = []
    for arm, own in rows.items():
        try:
            trained = trainable_rows(local.folder, own, request.date)
            require_trainable(len(trained), request.recipe, arm)
            encode_rows(local.folder, arm, trained, request.date)
        except RowError as error:
            place = place_of(error.row, experiment.arms[arm], experiment.folder or Path())
            problems.append(f"{experiment.source}: arms.{arm}: {error.at(place or error.place, arm)}")
        except DataError as error:
            problems.append(f"{experiment.source}: arms.{arm}: {error}")
    if problems:
        raise SpecError(problems)
    plan = make_plan(request, Store(store))
    for stage in STAGES:
        stage.check(plan)
    told = f"; the template is told that it is {request.date}" if request.date else ""
    return [fine, f"template, mask and questions hold with {local.reference}{told}"]
