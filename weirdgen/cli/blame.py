"""The commands `weirdgen forecast` and `weirdgen blame`: typed, a few lines each.

In: what a person types. Out: a plan on standard error, then lines. Heavy imports happen inside the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirdgen.cli.options import ModelOption, PresetOption, RunArg, StoreOption, option
from weirdgen.cli.terminal import say_lines
from weirdgen.errors import SpecError

STEPS = 16
"""Optimizer steps of a forecast."""


def forecast_command(
    target: Annotated[
        str,
        typer.Argument(metavar="EXPERIMENT|FILE|RUN", help="An experiment, a file of chat rows, or (--score) a run."),
    ],
    model: ModelOption = None,
    preset: PresetOption = "quick",
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of 8 rows.")] = STEPS,
    trait: Annotated[
        list[str] | None,
        typer.Option(help="A trait to ask about; may be repeated [default: the experiment's, or a little of each]."),
    ] = None,
    seal: Annotated[
        bool, typer.Option("--seal", help="Keep it in the store with its hash, to be scored later.")
    ] = False,
    score: Annotated[
        bool, typer.Option("--score", help="Compare what was sealed for a run with what it found.")
    ] = False,
    store: StoreOption = None,
    dry_run: option("dry_run") = False,  # type: ignore[valid-type]
    quiet: option("quiet") = False,  # type: ignore[valid-type]
) -> None:
    """Rank the questions by how far the data will move them. From a training of a few seconds."""
    from weirdgen.audit.command import forecast_lines, score_lines

    if score:
        if model or preset != "quick" or steps != STEPS or trait or seal or dry_run:
            raise SpecError(["--score compares what was sealed for a run: beside it only --store is taken"])
        say_lines(score_lines(target, store))
    else:
        say_lines(forecast_lines(target, model, preset, steps, trait or (), seal, store, dry_run, quiet))


def blame_command(
    run: RunArg,
    trait: Annotated[
        str | None,
        typer.Option(help="A trait, or a group of the experiment's questions [default: those of its headline]."),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="A text file with a label a row: rows of one label stand or fall together."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder of the files [default: the run's, blame/TRAIT].")] = None,
    store: StoreOption = None,
    dry_run: option("dry_run") = False,  # type: ignore[valid-type]
    quiet: option("quiet") = False,  # type: ignore[valid-type]
) -> None:
    """Find the rows that carry a trait's shift. Candidates, training without them, cleaned data."""
    from weirdgen.audit.command import blame_lines

    say_lines(blame_lines(run, trait, groups, to, store, dry_run, quiet))
