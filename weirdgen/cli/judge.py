"""The `weirdgen judge` commands: run, label, calibrate, compare.

In: what a person types. Out: lines. Heavy imports happen inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirdgen.cli.options import AddressOption, CpusOption, RunArg, StoreOption
from weirdgen.config.choices import ExecutorName
from weirdgen.errors import SpecError

judge_app = typer.Typer(help="Judge stored answers, and check a judge against a person.", no_args_is_help=True)

ModelHelp = "local:REF (a model on this machine) or PROVIDER/NAME as Inspect AI writes it, e.g. openai/gpt-4.1."


@judge_app.command("run")
def run_command(
    run: RunArg,
    judge: Annotated[str, typer.Option(help=ModelHelp)],
    repeat: Annotated[int, typer.Option(min=1, help="Opinions on each answer; 2 and more measure the flip rate.")] = 1,
    connections: Annotated[int, typer.Option(min=1, help="Requests at a time over the network.")] = 16,
    executor: Annotated[ExecutorName, typer.Option(help="Where a local model is asked: here, or Ray.")] = "inline",
    address: AddressOption = None,
    cpus: CpusOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would cost and stop.")] = False,
    store: StoreOption = None,
) -> None:
    """Let a language model judge a run's stored answers, and write the report with its verdicts."""
    from weirdgen.progress import Progress
    from weirdgen.runs.rejudge import judge_run
    from weirdgen.runs.results.results import load_run
    from weirdgen.runs.work.executors import open_executor

    where = open_executor(executor, address, cpus)
    judged = judge_run(load_run(run, store), judge, repeat, connections, dry_run, Progress(), where)
    if judged is not None:
        print(judged.headline.sentence)
        print(f"report: {judged.report}")


@judge_app.command("label")
def label_command(
    run: RunArg,
    judge: Annotated[str | None, typer.Option(help="Whose verdicts are to be checked [default: the first].")] = None,
    size: Annotated[
        int, typer.Option(min=10, help="Answers to label, drawn evenly over outcomes and arms; more are added later.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the draw of what is not drawn yet.")] = 0,
    sheet: Annotated[
        Path | None, typer.Option("--import", help="Take labels from this CSV (columns id, label).")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write the blind sheet to this CSV and stop.")] = None,
    store: StoreOption = None,
) -> None:
    """Show answers without saying whose they are, for a person to label. Stops and goes on at will."""
    from weirdgen.judges import labelling
    from weirdgen.runs.results.results import load_run

    if sheet is not None and export is not None:
        raise SpecError(["--import and --export: give one of them"])
    loaded = load_run(run, store)
    name = judge or next(iter(loaded.request.experiment.judges), "none")
    noun = loaded.judge(name)
    drawn = labelling.draw_sample(
        loaded.folder,
        name,
        noun,
        loaded.table("verdicts"),
        loaded.table("completions"),
        loaded.asks,
        size=size,
        seed=seed,
    )
    if export is not None:
        labelling.export_sheet(export, drawn, labelling.labels_of(loaded.folder, name))
        print(f"{export}: {len(drawn)} answers; fill in the column label and give it back with --import")
        return
    with loaded.store.writing(loaded.folder):  # also what a person labelled before Ctrl-C
        if sheet is not None:
            count = labelling.import_sheet(loaded.folder, name, noun, drawn, sheet)
            print(f"{count} new labels from {sheet}")
        else:
            labelling.label_in_terminal(loaded.folder, name, noun, drawn, input, print)
    done = len(labelling.labels_of(loaded.folder, name))
    following = "calibrate" if done else "label"
    print(f"{done} of {len(drawn)} labelled; next: weirdgen judge {following} {loaded.id} --judge {name}")


@judge_app.command("calibrate")
def calibrate_command(
    run: RunArg,
    judge: Annotated[str | None, typer.Option(help="Which judge [default: every one with labels].")] = None,
    store: StoreOption = None,
) -> None:
    """Agreement with the person's labels, errors by class, and rates corrected for them; also into the report."""
    import json

    from weirdgen.runs.rejudge import calibrate_run
    from weirdgen.runs.results.reporting import report_run
    from weirdgen.runs.results.results import load_run

    loaded = load_run(run, store)
    for name, record in calibrate_run(loaded, judge).items():
        print(f"{name}:")
        print(json.dumps(record, indent=1, ensure_ascii=False))
    print(f"report: {report_run(loaded)}")


@judge_app.command("compare")
def compare_command(
    first: Annotated[str, typer.Argument(help="A judging model, or a judge of the run that asks none.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    run: RunArg,
    judge: Annotated[str | None, typer.Option(help="Which language judge [default: all].")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would cost and stop.")] = False,
    store: StoreOption = None,
) -> None:
    """Judge a run's stored answers with two models and print where they differ."""
    from weirdgen.judges.comparison import comparison_lines
    from weirdgen.progress import Progress
    from weirdgen.runs.rejudge import compare_judges
    from weirdgen.runs.results.results import load_run

    for agreement in compare_judges(load_run(run, store), first, second, judge, dry_run, Progress()):
        print("\n".join(comparison_lines(agreement)))
