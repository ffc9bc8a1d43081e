"""From a plan to a finished run: does what is missing, stage by stage.

    distill → dataset → proof → finetune → contrast + sample → judge → estimate → report

In: a `Plan`. Out: a `Run`. Each stage's work is in its own module; this one decides the order, `units.missing`
which missing work makes a unit. What it leaves behind is in the store, so it can be stopped and started again at any point.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from weirdgen import machine
from weirdgen.config.judges import Classifier
from weirdgen.judges.classifier import require_embedder
from weirdgen.progress import Progress
from weirdgen.run.plan.plan import Plan, make_plan
from weirdgen.run.plan.request import DataName, PresetName, Settings, default_store, resolve, server_url
from weirdgen.run.plan.until import decision, decision_line, with_until
from weirdgen.run.results.reporting import is_reported, report_run
from weirdgen.run.results.results import Run
from weirdgen.run.work.executors import Executor, ExecutorName, Inline, open_executor
from weirdgen.run.work.judge_stage import make_verdicts, stored_answers
from weirdgen.run.work.missing import distill_unit, finetune_units, sample_units, score_units, verdict_units
from weirdgen.run.work.unit import Done
from weirdgen.store.artifacts import Store, explain_disk_errors, write_whole

if TYPE_CHECKING:
    from weirdgen.report.figures.drawing import Ending


def run(
    experiment: str,
    *,
    model: str | None = None,
    preset: PresetName = "quick",
    seeds: int | None = None,
    first_seed: int = 0,
    samples: int | None = None,
    changes: Sequence[str] = (),
    data: DataName = "own",
    judge: str | None = None,
    store: str | Path | None = None,
    quiet: bool = True,
    until: str | None = None,
    executor: ExecutorName = "inline",
    address: str | None = None,
    engine: str = "transformers",
) -> Run:
    """Finetune, score, sample, judge, estimate and report; what the store holds is not done again.

    `weirdgen.run("old_bird_names").effects()` is a pandas frame. Arguments are those of `weirdgen run`.
    Raises `WeirdgenError` on bad input.
    """
    settings = resolve(experiment, model, preset, seeds, first_seed, samples, changes, data, engine, judge)
    settings = with_until(settings, until) if until else settings
    plan = make_plan(settings, Store(store or default_store()))
    return run_plan(plan, Progress(quiet), open_executor(executor, address), server_url(engine))


def run_plan(
    plan: Plan,
    progress: Progress,
    executor: Executor | None = None,
    server: str | None = None,
    figures: Sequence[Ending] = (),
    afresh: bool = False,
) -> Run:
    """Do a plan's missing work and write its report, unless that is there already and neither other `figures` nor a
    report `afresh` is asked for.

    Work is done in this process unless an `executor` is given; `server` is the URL of a vLLM server that answers.
    """
    _require_embedder(plan)
    with executor or Inline() as ready:
        if not plan.settings.distilled:
            _distill_missing(plan, progress, ready, server)
            plan = make_plan(plan.settings, plan.store, plan.together)
        measure = _until_decided if plan.settings.until else _measured
        finished = measure(plan, progress, ready, server)
    if afresh or figures or not is_reported(finished):
        progress.say("estimating, writing the report")
        report_run(finished, figures)
    return finished


def _until_decided(plan: Plan, progress: Progress, executor: Executor, server: str | None) -> Run:
    """Measure at each planned look until the interval that is asked for is narrow enough, or cannot become so."""
    until = plan.settings.until
    assert until is not None
    for samples in until.looks:
        look = make_plan(replace(plan.settings, samples=samples), plan.store, plan.together)
        finished = _measured(look, progress, executor, server)
        found = decision(finished)
        progress.say(decision_line(found, until))
        if found.done:
            break
    return finished


def _without_home(path: Path) -> str:
    """A path as it may be handed on with a run: not with the name of whose machine it was."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) and home != Path("/") else str(path)


def _measured(plan: Plan, progress: Progress, executor: Executor, server: str | None) -> Run:
    """Everything but the report."""
    plan.store.refresh(plan.folder)
    with explain_disk_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        request = {
            "source": _without_home(plan.settings.experiment.source),
            "model_folder": _without_home(plan.settings.model.folder),
        }
        text = json.dumps({**request, "manifest": plan.settings.manifest}, indent=1, ensure_ascii=False)
        write_whole(plan.folder / "run.json", text.encode())
    _finetune_missing(plan, progress, executor)
    _measure_missing(plan, progress, executor, server)
    if _judge_by_model(plan, progress, executor):
        plan.store.remove(plan.folder / "results.json")  # a report that is there knows less
    finished = Run(plan)
    _judge_offline(finished, progress, executor)
    return finished


def _judge_by_model(plan: Plan, progress: Progress, executor: Executor) -> int:
    """Verdicts of the language judges that are missing or were errors; returns how many were asked for."""
    settings = plan.settings
    if settings.judge is None:
        return 0
    return make_verdicts(plan.store, settings.experiment, settings.judge, stored_answers(plan), 1, progress, executor)


def _require_embedder(plan: Plan) -> None:
    """Fetch what offline judges read with before anything is trained, unless nothing is left to judge."""
    settings = plan.settings
    judged = settings.samples > 0 and any(isinstance(j, Classifier) for j in settings.experiment.judges.values())
    if judged and not (settings.distilled and is_reported(Run(plan))):
        require_embedder()


def _distill_missing(plan: Plan, progress: Progress, executor: Executor, server: str | None) -> None:
    unit, lacking = distill_unit(plan, server)
    with progress.stage("distill", lacking, "answers") as bar:
        done = executor.run([unit], plan.store, bar.advance)
        _remember("generate", executor, done, plan.settings, plan.settings.dtype)


def _finetune_missing(plan: Plan, progress: Progress, executor: Executor) -> None:
    units, steps = finetune_units(plan)
    with progress.stage("finetune", steps, "steps") as bar:
        done = executor.run(units, plan.store, bar.advance)
        _remember("train", executor, done, plan.settings, plan.settings.recipe.dtype)


def _measure_missing(plan: Plan, progress: Progress, executor: Executor, server: str | None) -> None:
    """The contrast and sample stages; several models answer in one batch."""
    settings, store = plan.settings, plan.store
    questions, lacking = score_units(plan, server)
    with progress.stage("contrast", lacking, "questions") as bar:
        _remember("score", executor, executor.run(questions, store, bar.advance), settings, settings.dtype)
    prompts, lacking = sample_units(plan, server)
    with progress.stage("sample", lacking, "answers") as bar:
        _remember("generate", executor, executor.run(prompts, store, bar.advance), settings, settings.dtype)


def _judge_offline(finished: Run, progress: Progress, executor: Executor) -> None:
    units, lacking = verdict_units(finished)
    with progress.stage("judge", lacking, "answers") as bar:
        executor.run(units, finished.store, bar.advance)


def _remember(kind: str, executor: Executor, done: Sequence[Done], settings: Settings, dtype: str) -> None:
    """Keep the speed of a stage that ran here, for the estimates of later plans."""
    tokens, seconds = sum(one.tokens for one in done), sum(one.seconds for one in done)
    if executor.here and tokens:
        machine.remember_rate(kind, settings.model.parameters, dtype, tokens, seconds)
