"""From a plan to a finished run: does what is missing, stage by stage, then writes the report.

    distill → dataset → finetune → contrast → sample → judge → estimate → report

In: an experiment and options, or a `Plan`. Out: a `Run`. Each stage's work is in its own module (`runs.stages`); this one only
walks through them. What it leaves behind is in the store, so it can be stopped and started again at any point.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.config.experiment import Experiment
from weirdgen.errors import all_at_once
from weirdgen.models.references import LocalModel
from weirdgen.progress import Progress, clock
from weirdgen.runs.plan.options import RunOptions, default_store, run_options, takes_options
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import UNJUDGED
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.plan.until import decision_line
from weirdgen.runs.preflight import preflight
from weirdgen.runs.preview import plan_lines
from weirdgen.runs.results.before import BEGUN, begun_at, seen_before
from weirdgen.runs.results.reporting import compare_runs, is_reported, report_run
from weirdgen.runs.results.results import Run
from weirdgen.runs.stages.all import STAGES, workload
from weirdgen.runs.stages.stage import Stage
from weirdgen.runs.work.executors import Executor, Inline, open_executor
from weirdgen.runs.work.unit import remember_speed
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import write_whole

if TYPE_CHECKING:
    from weirdgen.report.figures.drawing import Ending
    from weirdgen.stats.sequential import Decision


@takes_options
def run(experiment: str | Path | Experiment, **options: Any) -> Run:
    """Finetune, score, sample, judge, estimate and report; what the store holds is not done again.

    `weirdgen.run("old_bird_names").effects()` is a pandas frame. `experiment` is a shipped name, a path, or an `Experiment`,
    whose arms may hold their rows themselves. Options are those of `weirdgen run` (`RunOptions`), but quiet unless told
    otherwise. Raises `WeirdgenError` on bad input.
    """
    chosen = run_options(**{"quiet": True, **options})
    planned, progress = plan(experiment, **options), Progress(chosen.quiet)
    _require_ready(planned, progress)
    return run_plan(planned, progress, executor_of(chosen), figures_of(chosen))


@takes_options
def plan(experiment: str | Path | Experiment, **options: Any) -> Plan:
    """What `run` with the same arguments would do and what of it the store holds; trains, samples and writes nothing."""
    chosen = run_options(**options)
    return make_plan(resolve(experiment, chosen), Store(chosen.store or default_store()))


def run_all(experiments: Sequence[str], options: RunOptions) -> list[Run]:
    """`weirdgen run` of one experiment or several: all plans first, then run after run, then one page over them.

    Plans are made and shown before anything is run, so that bad input in the last one costs nothing.
    """
    store, progress = Store(options.store or default_store()), Progress(options.quiet and not options.dry_run)
    plans: list[Plan] = all_at_once(partial(_planned, experiment, options, store) for experiment in experiments)
    for plan in plans:
        for line in plan_lines(plan):
            progress.say(line)
        if not options.dry_run and any(work.missing for work in workload(plan)):
            store.require_writable()  # before anything is tried, which takes a while
        _require_ready(plan, progress)
    if len(plans) > 1:
        seconds = sum(work.seconds for plan in plans for work in workload(plan))
        progress.say(f"{len(plans)} experiments: about {clock(seconds)} in all")
    if options.dry_run:
        return []
    finished = []
    for plan in plans:
        done = run_plan(plan, progress, executor_of(options), figures_of(options))
        finished.append(done)
        print(done.headline.sentence)
        if done.specificity:
            print(done.specificity.sentence)
        if seen := seen_before(done.request, done.folder, store):
            print(seen.sentence)
        print(f"report: {done.report}", flush=True)
    if len(finished) > 1:
        print(f"overview: {compare_runs(finished, store.root / 'runs' / 'overview', figures_of(options))}")
    return finished


def _planned(experiment: str, options: RunOptions, store: Store) -> Plan:
    return make_plan(resolve(experiment, options), store)


def _require_ready(plan: Plan, progress: Progress) -> None:
    """Say what was tried before anything is trained. Raises `WeirdgenError` on what would fail later, or measure nothing."""
    for stage in STAGES:
        stage.check(plan)
    for line in preflight(plan):
        progress.say(line)


def executor_of(options: RunOptions) -> Executor:
    """Where the units of work are done."""
    return open_executor(options.executor, options.address, options.cpus)


def figures_of(options: RunOptions) -> tuple[Ending, ...]:
    """Formats of the figures besides SVG and PNG."""
    return (options.figures,) if options.figures else ()


def run_plan(
    plan: Plan,
    progress: Progress,
    executor: Executor | None = None,
    figures: Sequence[Ending] = (),
    afresh: bool = False,
) -> Run:
    """Do a plan's missing work and write its report, unless that is there already and neither other `figures` nor a
    report `afresh` is asked for.

    Work is done in this process unless an `executor` is given.
    """
    finished = measure(plan, progress, executor)
    if afresh or figures or not is_reported(finished):
        progress.say("estimating, writing the report")
        report_run(finished, figures)
    return finished


def measure(plan: Plan, progress: Progress, executor: Executor | None = None) -> Run:
    """Do a plan's missing work, in this process unless an `executor` is given, and write no report."""
    if not (plan.request.distilled and is_reported(Run(plan))):
        plan.store.require_writable()
        for stage in STAGES:
            stage.check(plan)
            stage.prepare(plan)
    with executor or Inline() as ready:
        return _until_decided(plan, progress, ready) if plan.request.until else _measured(plan, progress, ready)


def _until_decided(plan: Plan, progress: Progress, executor: Executor) -> Run:
    """Measure at each planned look until the interval that is asked for is narrow enough, or cannot become so."""
    until = plan.request.until
    assert until is not None
    for samples in until.looks:
        look = make_plan(replace(plan.request, samples=samples), plan.store)
        finished = _measured(look, progress, executor)
        decided = decision(finished)
        progress.say(decision_line(decided, until))
        if decided.done:
            break
    return finished


def decision(run: Run) -> Decision:
    """Whether this run has samples enough. It must be at one of the looks."""
    from weirdgen.stats.sequential import decide

    request, experiment = run.request, run.request.experiment
    until, headline = request.until, request.headline
    assert until is not None
    meant = headline if headline.measure == until.measure else headline.model_copy(
        update={"measure": until.measure, "groups": ()}
    )  # fmt: skip
    minus = experiment.condition_ids(*headline.minus)
    conditions = {*experiment.condition_ids(*headline.condition), *minus}
    cells = run.table("cells")
    questions = [question.id for question in experiment.questions_of(meant)]
    return decide(
        cells[cells["condition"].isin(conditions) & cells["question"].isin(questions)],
        until.looks, until.half_width, measure=until.measure, treatment=headline.treatment, control=headline.control,
        minus=minus, scales=run.estimated.scales,
    )  # fmt: skip


def _measured(plan: Plan, progress: Progress, executor: Executor) -> Run:
    """Everything but the report."""
    for stage in STAGES:
        if plan.request.distilled:  # before, the run has no name yet: its rows are not all there
            _keep_request(plan)
        if _do(stage, plan, progress, executor):
            plan.store.remove(plan.folder / "results.json")  # a report that is there knows less
        plan = stage.after(plan)
    return Run(plan)


def _do(stage: Stage, plan: Plan, progress: Progress, executor: Executor) -> float:
    """What of a stage is missing; returns how much that was, in the unit of its bar."""
    units, amount, before = stage.batch(plan)
    with progress.stage(stage.name, amount, stage.counts, before) as bar:
        done = executor.run(units, plan.store, bar.advance)
    if stage.speed and executor.here:
        remember_speed(stage.speed, done, plan.request.model.parameters, stage.dtype(plan))
    return amount


def _without_home(path: Path) -> str:
    """A path as it may be handed on with a run: not with the name of whose machine it was."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) and home != Path("/") else str(path)


def _keep_request(plan: Plan) -> None:
    """`run.json`: what was asked, and all that the run can be recognised and read again by."""
    request, begun = plan.request, begun_at(plan.folder) or datetime.now(UTC)
    kept = {
        BEGUN: begun.isoformat(),
        "source": _without_home(request.experiment.source) if request.experiment.source else "",
        "model_folder": _without_home(request.model.folder) if isinstance(request.model, LocalModel) else "",
        "options": request.options.asked,
        "manifest": request.manifest,
        **({UNJUDGED: request.unjudged} if request.unjudged else {}),
    }
    data = json.dumps(kept, indent=1, ensure_ascii=False).encode()
    file = plan.store.run_folder(request.run_id) / "run.json"
    if not file.exists() or file.read_bytes() != data:
        with plan.store.writing(plan.folder):
            write_whole(file, data)
