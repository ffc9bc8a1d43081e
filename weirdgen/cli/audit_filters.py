"""The command `weirdgen audit filters`: what row filters find of an experiment's rows among ordinary ones.

In: what a person types. Out: lines, tables and figures. Heavy imports happen inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirdgen.cli.options import PresetOption, StoreOption, option
from weirdgen.cli.terminal import say
from weirdgen.errors import SpecError

SIZE = 400
"""Rows of a dataset in which others are hidden."""


def filters_command(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Shipped experiments, folders or files [default: all on a real model].")
    ] = None,
    shares: Annotated[str, typer.Option(help="Shares of a dataset that the hidden rows make up.")] = "1,0.1,0.01",
    filters: Annotated[list[str] | None, typer.Option(help="Only the filter of this name; may be repeated.")] = None,
    rows: Annotated[int, typer.Option(min=2, help="Rows of an arm, at most.")] = 100,
    size: Annotated[
        int, typer.Option(min=20, help="Rows of a dataset that they are hidden in; not with --train.")
    ] = SIZE,
    ordinary: Annotated[Path | None, typer.Option(help="File of ordinary chat rows of your own.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model whose losses and gradients are taken [default: the experiments' base]; 'none' leaves them out."
        ),
    ] = None,
    judge: Annotated[str | None, typer.Option(help="A judging model that rates each row (docs/judges.md).")] = None,
    to: Annotated[Path, typer.Option(help="Folder for the tables and figures.")] = Path("filters"),
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Of one experiment at one share: train on what each filter leaves (--preset, --seeds, --samples).",
        ),
    ] = False,
    remove: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --train: share of all rows that a filter removes [default: the share]."),
    ] = None,
    preset: PresetOption = "quick",
    seeds: option("seeds") = None,  # type: ignore[valid-type]
    samples: option("samples") = 0,  # type: ignore[valid-type]
    dry_run: option("dry_run") = False,  # type: ignore[valid-type]
    store: StoreOption = None,
    quiet: option("quiet") = False,  # type: ignore[valid-type]
) -> None:
    """Hide each experiment's rows among ordinary ones: what do row filters find of them, and of the control's?"""
    from weirdgen.audit.filters.command import audit_filters, one_of, parse_shares, train_filtered
    from weirdgen.runs.plan.options import run_options

    parts = parse_shares(shares)
    if not train and (remove is not None or seeds is not None or samples or dry_run or preset != "quick"):
        raise SpecError(["--remove, --preset, --seeds, --samples and --dry-run are for --train"])
    if train and size != SIZE:
        raise SpecError(
            ["--size is for datasets that are not trained on; with --train, --rows and --shares say how many"]
        )
    if train:
        experiment, part = one_of(experiments or (), parts)
        options = run_options(
            model=model, preset=preset, seeds=seeds, samples=samples, dry_run=dry_run, store=store, quiet=quiet
        )
        lines = train_filtered(experiment, part, filters or (), rows, remove, ordinary, judge, options, to)
    else:
        lines = audit_filters(
            experiments or (), parts, filters or (), rows, size, ordinary, model, judge, to, store, quiet
        )
    for line in lines:
        say(line)
