"""`weirdgen run` of one experiment or several: all plans first, then run after run, then one page over them.

In: requests, a store. Out: a report each, printed as soon as it is there, and an overview where there are several. All plans
are made before anything is run, so that bad input in the last one costs nothing. What a run does is `weirdgen.runs.pipeline`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weirdgen.cli.show import plan_lines
from weirdgen.progress import Progress, clock
from weirdgen.runs.pipeline import run_plan
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import Settings
from weirdgen.runs.plan.workload import workload
from weirdgen.runs.results.reporting import compare_runs
from weirdgen.runs.work.executors import Executor
from weirdgen.store.artifacts import Store

if TYPE_CHECKING:
    from weirdgen.report.figures.drawing import Ending


def make_plans(requests: Sequence[Settings], store: Store, together: int | None, progress: Progress) -> list[Plan]:
    """A plan for each request, shown; `together`: most replicates in one training pass."""
    plans = [make_plan(request, store, together) for request in requests]
    for plan in plans:
        for line in plan_lines(plan):
            progress.say(line)
    if len(plans) > 1:
        seconds = sum(work.seconds for plan in plans for work in workload(plan))
        progress.say(f"{len(plans)} experiments: about {clock(seconds)} in all")
    return plans


def run_plans(
    plans: Sequence[Plan], progress: Progress, executor: Executor, server: str | None, figures: Sequence[Ending] = ()
) -> None:
    """Run each plan and print what it found and where its report is; `figures`: further formats of its figures."""
    finished = []
    for plan in plans:
        run = run_plan(plan, progress, executor, server, figures)
        finished.append(run)
        print(run.headline["sentence"])
        print(f"report: {run.report}", flush=True)
    if len(finished) > 1:
        print(f"overview: {compare_runs(finished, plans[0].store.root / 'runs' / 'overview', figures)}")
