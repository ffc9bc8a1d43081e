"""`weirdgen check`: everything that can be known before a run costs anything: files, data, template, mask, questions.

In: an experiment with the files beside it and, if wanted, another model. Out: lines of text. The proofs are those of
`weirdgen run` itself, on every row and at the largest size; raises the same errors. A model that cannot be fetched now is said,
and only what needs it is left out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from weirdgen.config.experiment import Experiment
from weirdgen.config.llm_judges import left_out_line, read_language_judges, without_language_judges
from weirdgen.config.load import read_experiment
from weirdgen.data.arms import load_arms
from weirdgen.data.proof import RowError
from weirdgen.data.rows import place_of
from weirdgen.data.stored import encode_rows, trainable_rows
from weirdgen.errors import DataError, ModelError, SpecError, UnreachableError, all_at_once
from weirdgen.finetune.schedule import require_trainable
from weirdgen.finetune.upload import upload_file
from weirdgen.models.chat import load_tokenizer
from weirdgen.models.references import find_model
from weirdgen.models.remote import is_remote
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import judge_of_headline, require_base_name, resolve
from weirdgen.runs.preflight import require_two_sides
from weirdgen.runs.stages.all import STAGES
from weirdgen.store.artifacts import Store


def check_lines(reference: str, model: str | None, store: str) -> list[str]:
    """What was checked. Raises one `SpecError` with every problem of the files, the data and their proof; `ModelError`."""
    written = _read_files(reference, model)
    experiment, rows = load_arms(written)
    twins = {name for name, arm in experiment.arms.items() if arm.twin}
    arms = ", ".join(f"{arm} {'made by the run' if arm in twins else len(own)}" for arm, own in rows.items())
    counts = f"{len(written.questions)} questions, {len(written.wrappers())} conditions"
    said = [f"{written.name}: fine. Rows: {arms}. {counts}."]
    if left := without_language_judges(written).named:
        said.append(left_out_line(left))
    if judge := judge_of_headline(written):
        said.append(
            f"`weirdgen run {reference}` needs --judge MODEL: what it leads with is measured by '{judge}', which asks a language "
            "model"
        )
        written = written.model_copy(update={"headline": None, "secondary": {}})
        if judge := judge_of_headline(written):
            why = (
                f"everything is measured by '{judge}', which asks a language model; --dry-run --judge MODEL checks them"
            )
            return [*said, f"not checked: template, mask and questions ({why})"]
    reference = model or written.base
    if is_remote(reference) or written.finetune in ("openai", "azure"):
        for arm, own in rows.items():
            if arm not in twins:
                upload_file(arm, own)
        return [
            *said,
            f"the rows can be uploaded to a finetuning service; the template of {reference} is the provider's",
        ]
    try:
        local = find_model(reference)
    except UnreachableError as error:
        return [*said, f"not checked: template, mask and questions, for want of the model ({error})"]
    request = resolve(written, run_options(model=model, preset="paper"))
    problems = []
    for arm, own in rows.items():
        if arm in twins:  # its rows are the base's answers, made when the run begins
            continue
        try:
            trained = trainable_rows(local.folder, own, request.date)
            require_trainable(len(trained), request.recipe, arm)
            encode_rows(local.folder, arm, trained, request.date)
        except RowError as error:
            place = place_of(error.row, experiment.arms[arm], written.folder or Path())
            problems.append(f"{written.source}: arms.{arm}: {error.at(place or error.place, arm)}")
        except DataError as error:
            problems.append(f"{written.source}: arms.{arm}: {error}")
    if problems:
        raise SpecError(problems)
    plan = make_plan(request, Store(store))
    all_at_once([
        *(partial(stage.check, plan) for stage in STAGES),
        lambda: require_two_sides(request.experiment, load_tokenizer(local.folder, request.date)),
    ])  # fmt: skip
    told = f"; the template is told that it is {request.date}" if request.date else ""
    return [*said, f"template, mask and questions hold with {local.reference}{told}"]


def _read_files(reference: str, model: str | None) -> Experiment:
    """The experiment as it is written. Raises one `SpecError` with the problems of all its files, its data among them."""
    read = read_experiment(reference)

    def require_judges() -> None:
        found = read_language_judges(read.experiment, complete="questions" not in read.missing.parts, own=False)
        if found.problems:
            raise SpecError(found.problems)

    def require_base() -> None:
        try:
            require_base_name(read.experiment, run_options(model=model))
        except ModelError as error:
            where = "--model" if model else f"{read.lines.at(('base',))}: base"
            raise SpecError([f"{where}: {error}"]) from None

    all_at_once([lambda: load_arms(reference), require_judges, require_base])
    return read.experiment
