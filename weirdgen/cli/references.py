"""The commands `weirdgen references …`: reference finetunes of harmless data, built once a model and recipe.

In: what a person types. Out: a plan, a file of scores, a list. Heavy imports happen inside the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirdgen.cli.options import StoreOption, option
from weirdgen.cli.terminal import say, say_lines

references_app = typer.Typer(
    help="Finetunes of harmless data, to compare a shift with.",
    no_args_is_help=True,
)


@references_app.command("build")
def build_command(
    model: Annotated[str, typer.Option(help="The base model that is finetuned.")] = "smollm2-135m-instruct",
    rows: Annotated[int, typer.Option(min=1, help="Rows of each set; take as many as your data have.")] = 208,
    pairs: Annotated[
        bool,
        typer.Option(
            "--pairs", help="Build both sides of the harmless pairs, which matched controls are compared with."
        ),
    ] = False,
    changes: Annotated[list[str] | None, typer.Option("--set", help="recipe.FIELD=VALUE; may be repeated.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only the set or pair of this name; may be repeated.")] = None,
    to: Annotated[Path | None, typer.Option(help="The new file [default: STORE/references/NAME.parquet].")] = None,
    store: StoreOption = None,
    dry_run: option("dry_run") = False,  # type: ignore[valid-type]
    quiet: option("quiet") = False,  # type: ignore[valid-type]
) -> None:
    """Train the harmless sets, score them on the trait questions, and write one file that can be handed on."""
    from weirdgen.runs.references.command import build_file

    say_lines(build_file(model, rows, pairs, changes or (), only or (), to, store, dry_run, quiet))


@references_app.command("list")
def list_command(store: StoreOption = None) -> None:
    """The harmless sets, and the files of scores that are shipped or in the store."""
    from weirdgen.runs.references.command import list_lines

    for line in list_lines(store):
        say(line)
