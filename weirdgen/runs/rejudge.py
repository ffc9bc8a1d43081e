"""What can be done with stored answers after a run: judge them, calibrate a judge, compare two.

In: a `Run` that is in the store. Out: a new `Run` with the judging model's verdicts, calibrations, comparisons.
Nothing is trained or sampled. How a verdict is made and what labels say about it is left to `weirdgen.judges`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import warnings

from weirdgen.config.experiment import Experiment
from weirdgen.config.judges import Verdict, offline, prompted
from weirdgen.config.llm_judges import with_language_judges
from weirdgen.errors import DataError, ModelError, SpecError, choices
from weirdgen.judges import calibration, labelling
from weirdgen.judges.comparison import Agreement, compare
from weirdgen.judges.language import Item, verdicts_of
from weirdgen.judges.model import NamedJudge, is_local, named_judge
from weirdgen.judges.offline import judge_all, verdicts_table
from weirdgen.judges.tasks import require_judging_model, tasks
from weirdgen.progress import Progress
from weirdgen.runs.pipeline import run_plan
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.preflight import judge_lines
from weirdgen.runs.preview import work_line
from weirdgen.runs.results.results import Run
from weirdgen.runs.stages.all import workload
from weirdgen.runs.stages.judge import language_units
from weirdgen.runs.stages.stage import Batch
from weirdgen.runs.work.executors import Executor, Inline
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import write_whole


def judge_run(
    run: Run, judge: str, repeats: int, connections: int, dry_run: bool, progress: Progress,
    executor: Executor | None = None,
) -> Run | None:  # fmt: skip
    """The run with language judges on this model; None after a dry run. Raises `SpecError`, `ModelError`, `StoreError`."""
    experiment = with_language_judges(run.request.experiment, more_questions=False)
    require_judging_model(experiment, judge)
    named = named_judge(judge)
    plan = _judging_plan(run, experiment, named, progress)
    if dry_run:
        return None
    run.require_finished()
    answers = _answers(run)
    if is_local(judge):  # many small models are no judges, and hours of verdicts would say so one by one
        for line in judge_lines(plan):
            progress.say(line)
    with executor or Inline() as ready:
        units = language_units(run.store, experiment, named, answers, run.id, repeats=repeats, connections=connections)
        _ask(run.store, units, progress, ready)
        return run_plan(plan, progress, ready, afresh=True)


def calibrate_run(run: Run, judge: str | None) -> dict[str, dict[str, object]]:
    """A record for each judge that a person has labelled answers of, or for one. Raises `DataError` where labels are too few.

    Of several judges those with too few are only warned of. The report makes the same records from the same labels.
    """
    names = (
        [judge] if judge else [name for name in run.request.experiment.judges if labelling.labels_of(run.folder, name)]
    )
    if not names:
        raise DataError(f"run {run.id} has no labels yet: weirdgen judge label {run.id}")
    records, verdicts, lacking = {}, run.table("verdicts"), []
    for name in names:
        noun, drawn = run.judge(name), labelling.sample_of(run.folder, name)
        try:
            records[name] = calibration.calibrate(noun, name, drawn, labelling.labels_of(run.folder, name), verdicts)
        except calibration.TooFewLabelsError as error:
            lacking.append(error)
    if lacking and not records:
        raise lacking[0]
    for reason in lacking:
        warnings.warn(str(reason), stacklevel=1)
    return records


def compare_judges(
    run: Run, first: str, second: str, judge: str | None, dry_run: bool, progress: Progress
) -> list[Agreement]:
    """Both judges' verdicts on every stored answer, for each language judge (or the one that is named).

    Says first what is missing and what it would cost; a dry run ends there, with nothing compared.
    """
    experiment = with_language_judges(run.request.experiment, more_questions=False)
    plain, asking = set(offline(experiment.judges)), prompted(experiment.judges)
    if first == second:
        raise SpecError([f"'{first}' is named twice; name two judges to compare"])
    if {first, second} <= plain:
        raise SpecError([f"'{first}' and '{second}' ask no model; compare one of them with a judging model"])
    if judge is not None and judge not in asking:
        raise SpecError([f"--judge {judge}: no language judge of that name; there are: {choices(asking, judge)}"])
    if ({first, second} & plain) and judge is None:
        raise SpecError([f"name the language judge to compare with: --judge {' or '.join(asking)}"])
    beside = {first, second} & plain
    if beside and judge is not None and experiment.judges[judge].scale is not None:
        raise SpecError(
            [f"--judge {judge} rates on a scale, {beside.pop()} says yes or no: compare it with a label judge"]
        )
    narrowed = _only(experiment, judge, beside)
    named = {side: _named(side, plain) for side in (first, second) if side not in plain}
    for model in named.values():
        require_judging_model(narrowed, model.reference)
        _judging_plan(run, narrowed, model, progress)
    if dry_run:
        return []
    answers = _answers(run)
    agreements = []
    sides = [
        _verdicts(run, narrowed, named[side], answers, progress)
        if side in named
        else _plain_verdicts(run, narrowed, side, answers)
        for side in (first, second)
    ]
    for name, noun in prompted(narrowed.judges).items():
        left, right = (side.get(name, side.get("", {})) for side in sides)
        both = sorted(set(left) & set(right))
        if not both:  # a preset may leave a judge nothing to read
            continue
        agreements.append(
            compare(name, noun, first, second, [(left[item], right[item]) for item in both], bool(beside))
        )
    if not agreements:
        raise DataError(f"'{first}' and '{second}' have judged no answer in common")
    name = re.sub(r"[^\w.-]+", "_", f"{first}--{second}")
    text = json.dumps([agreement.as_data() for agreement in agreements], indent=1, ensure_ascii=False)
    with run.store.writing(run.folder):
        write_whole(run.folder / f"compare-{name}.json", text.encode())
    return agreements


def _ask(store: Store, batch: Batch, progress: Progress, executor: Executor) -> None:
    with progress.stage("judge", batch.amount, "verdicts") as bar:
        executor.run(batch.units, store, bar.advance)


def _judging_plan(run: Run, experiment: Experiment, judge: NamedJudge, progress: Progress) -> Plan:
    """The run with its answers judged by a model; says how many verdicts are missing and what they would cost."""
    plan = make_plan(dataclasses.replace(run.request, experiment=experiment, judge=judge, unjudged=None), run.store)
    for work in workload(plan):
        if work.stage == "judge":
            progress.say(work_line(work))
    return plan


def _named(side: str, plain: set[str]) -> NamedJudge:
    """The judging model that one side of a comparison names. Raises `ModelError` with what else could stand there."""
    try:
        return named_judge(side)
    except ModelError as error:
        raise ModelError(
            f"{error}; or a judge of the run that asks no model: {', '.join(sorted(plain)) or 'none'}"
        ) from None


def _verdicts(
    run: Run, experiment: Experiment, judge: NamedJudge, answers: list[tuple[str, str]], progress: Progress
) -> dict[str, dict[Item, Verdict]]:
    """Language judge → its verdicts on this model, those that are missing made first."""
    with Inline() as here:
        _ask(run.store, language_units(run.store, experiment, judge, answers, run.id), progress, here)
    return {task.name: verdicts_of(task.table, task.items) for task in tasks(run.store, experiment, judge, answers)}


def _plain_verdicts(
    run: Run, experiment: Experiment, name: str, answers: list[tuple[str, str]]
) -> dict[str, dict[Item, Verdict]]:
    """The verdicts of a judge that asks no model, under "": they can be compared with any language judge."""
    questions = {question.id: question for question in experiment.questions}
    items = {Item(questions[id_].ask, text) for id_, text in answers if name in questions[id_].read_by}
    noun = offline(experiment.judges)[name]
    made = judge_all(verdicts_table(run.store, noun), noun, [item.answer for item in items])
    return {"": {item: made[item.answer] for item in items}}


def _only(experiment: Experiment, judge: str | None, also: set[str]) -> Experiment:
    """The experiment with one language judge, so that only its verdicts are asked for."""
    if judge is None:
        return experiment
    return experiment.model_copy(
        update={"judges": {name: noun for name, noun in experiment.judges.items() if name == judge or name in also}}
    )


def _answers(run: Run) -> list[tuple[str, str]]:
    completions = run.table("completions")
    return sorted(set(zip(completions["question"], completions["text"], strict=True)))
