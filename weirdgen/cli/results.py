"""The commands on runs that are there: `weirdgen report`, `runs`, `pack`, `verify`, `export` and `crosscheck`.

In: what a person types. Out: paths of pages and files, lines, or the sentence of what differs. Heavy imports happen inside the
commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from weirdgen.cli.options import FiguresOption, RunArg, StoreOption
from weirdgen.cli.terminal import say, say_lines


def report_command(
    runs: Annotated[
        list[str], typer.Argument(help="Runs, each named as for `verify`; several give one page that compares them.")
    ],
    store: StoreOption = None,
    figures: FiguresOption = None,
    to: Annotated[Path | None, typer.Option(help="Folder of the comparison [default: STORE/comparisons/…].")] = None,
) -> None:
    """Write a run's report again, or one page over several runs."""
    from weirdgen.runs.results.reporting import compare_runs, comparison_folder, report_run
    from weirdgen.runs.results.results import load_run

    loaded = [load_run(run, store) for run in dict.fromkeys(runs)]
    for run in loaded:
        run.require_finished()
    extra = (figures,) if figures else ()
    if len(loaded) == 1 and to is None:
        print(f"report: {report_run(loaded[0], extra)}")
    else:
        print(f"report: {compare_runs(loaded, to or comparison_folder(loaded), extra)}")


def runs_command(
    experiment: Annotated[
        str | None, typer.Argument(help="Only the runs of this experiment; `audit`: only audits.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """List the runs and audits of a store, newest first. When, on what, what was asked, and the verdict."""
    from weirdgen.audit.listing import listed_audits
    from weirdgen.errors import StoreError, did_you_mean
    from weirdgen.runs.plan.options import default_store
    from weirdgen.runs.results.listing import AUDIT, listed_runs, of_audit, run_lines
    from weirdgen.store.artifacts import Store

    opened = Store(store or default_store())
    runs = [run for run in listed_runs(opened, experiment) if not of_audit(run)]
    if experiment in (None, AUDIT):
        runs = sorted([*runs, *listed_audits(opened)], reverse=True)
    if not runs:
        of = f" of {experiment}" if experiment else ""
        meant = did_you_mean(experiment, (run.experiment for run in listed_runs(opened))) if experiment else ""
        raise StoreError(
            f"no run{of} in {opened.root}; `weirdgen run` makes one, --store or $WEIRDGEN_STORE names another store{meant}"
        )
    say_lines(run_lines(runs))


def pack_command(
    run: RunArg,
    to: Annotated[Path | None, typer.Option(help="The new file [default: RUN.weirdgen.tar here].")] = None,
    no_adapters: Annotated[
        bool, typer.Option("--no-adapters", help="Leave the adapters out: smaller, and nobody can chat with them.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Make one file of a run and all that it rests on. `verify`, `report` and `load_run` open it elsewhere."""
    from weirdgen.runs.results.pack import pack
    from weirdgen.runs.results.results import load_run

    say(str(pack(load_run(run, store), to, adapters=not no_adapters)))


def verify_command(run: RunArg, store: StoreOption = None) -> None:
    """Compute every number of a report again from the store. Status 1, naming what differs, if anything does."""
    from weirdgen.runs.results.verify import require_verified, verify

    print(require_verified(verify(run, store)))


def export_command(
    run: RunArg,
    to: Annotated[Path, typer.Option(help="Folder for the files.")],
    format_: Annotated[
        Literal["csv", "parquet", "inspect"],
        typer.Option("--format", help="Tables as csv or parquet; inspect: answers and verdicts as Inspect AI's logs."),
    ] = "csv",
    store: StoreOption = None,
) -> None:
    """Write a run's tables as files. Completions, contrasts, verdicts, cells, estimates, effects and more."""
    from weirdgen.inspect.logs import write_logs
    from weirdgen.runs.results.export import export
    from weirdgen.runs.results.results import load_run

    opened = load_run(run, store)
    for file in write_logs(opened, to) if format_ == "inspect" else export(opened, to, format_):
        print(file)


def crosscheck_command(
    run: RunArg,
    store: StoreOption = None,
) -> None:
    """Compare a run's rates with a logistic regression. Clustered by replicate: a second opinion on the report's effects."""
    from weirdgen.runs.results.crosscheck import crosscheck_lines
    from weirdgen.runs.results.results import load_run

    opened = load_run(run, store)
    opened.require_finished()
    say_lines(crosscheck_lines(opened))
