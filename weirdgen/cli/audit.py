"""The commands `weirdgen audit …`: `weirdgen audit FILE` is the whole audit, a subcommand one part of it.

In: what a person types. Out: lines or JSON, and an exit status: 0 nothing specific above x, 1 something found (of what
`--fail-on` names), 2 undecided, 3 an error, bad usage included. Heavy imports happen inside the commands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from weirdgen.cli.audit_filters import filters_command
from weirdgen.cli.options import StoreOption, option
from weirdgen.cli.terminal import say, say_lines, usage_problem
from weirdgen.errors import WeirdgenError


class AuditGroup(TyperGroup):
    """Takes a file in place of a subcommand, and ends with status 3 on every error: 1 and 2 are verdicts here."""

    whole = "file"
    """The command that `weirdgen audit FILE` stands for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The whole audit is meant where no subcommand is named. Without a word its file is missing: status 3."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [self.whole, *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """A file or a subcommand comes first: the options are those of what it names."""
        return [str(self.subcommand_metavar)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options of the whole audit, then the subcommands."""
        whole = self.commands[self.whole]
        with formatter.section("Options of weirdgen audit FILE"):
            records = (option.get_help_record(ctx) for option in whole.get_params(ctx) if option.name != "help")
            formatter.write_dl([record for record in records if record])
        self.format_commands(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except WeirdgenError as error:
            say(f"weirdgen: {error}", sys.stderr)
        except Exception as error:
            if not hasattr(error, "format_message"):  # a defect of ours keeps its traceback
                raise
            say(f"weirdgen: {usage_problem(error)}", sys.stderr)
        sys.exit(3)


audit_app = typer.Typer(
    cls=AuditGroup,
    help="Find what your own rows would change elsewhere. `weirdgen audit train.jsonl` is the whole audit (docs/audit.md).",
    subcommand_metavar="FILE [OPTIONS] | COMMAND [ARGS]",
)
audit_app.command("filters")(filters_command)

FileArg = Annotated[Path, typer.Argument(metavar="FILE", help="A file of chat rows.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@audit_app.command(AuditGroup.whole, hidden=True)
def file_command(
    file: FileArg,
    against: Annotated[
        Path | None, typer.Option(help="File of a matched control [default: your prompts answered by the base].")
    ] = None,
    model: Annotated[str, typer.Option(help="The base model that is finetuned.")] = "smollm2-135m-instruct",
    budget: Annotated[
        str,
        typer.Option(
            help="How long it should take: 15min, 90s, 2h; a bare number is minutes. A plan by this machine's speed, no limit."
        ),
    ] = "15min",
    system: Annotated[str | None, typer.Option(help="System prompt for rows that have none.")] = None,
    rows: Annotated[int, typer.Option(min=8, help="Rows to train on at most; of more, so many are drawn.")] = 208,
    changes: Annotated[list[str] | None, typer.Option("--set", help="recipe.FIELD=VALUE; may be repeated.")] = None,
    halves: Annotated[
        bool, typer.Option("--halves", help="Also train two random halves: what the choice of rows does.")
    ] = False,
    no_training: Annotated[
        bool,
        typer.Option(
            "--no-training", help="Look at the rows alone: nothing is trained, and options about training do nothing."
        ),
    ] = False,
    fail_on: Annotated[
        str,
        typer.Option(
            help="What ends with status 1: any, none, or a list of trait, trigger, separation, undecided, names of traits."
        ),
    ] = "any",
    junit: Annotated[Path | None, typer.Option(dir_okay=False, help="Also write JUnit XML into this file.")] = None,
    summary: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Also write a summary in Markdown into this file.")
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    dry_run: option("dry_run") = False,  # type: ignore[valid-type]
    quiet: option("quiet") = False,  # type: ignore[valid-type]
) -> None:
    """Train on the rows, compare with harmless data, search for triggers, write audit.html. Status 0, 1 or 2: the verdict."""
    from weirdgen.audit.audit_file import audit_file
    from weirdgen.store.disk import explain_disk_errors, made_folder, write_whole

    if dry_run:
        asked = (against, model, budget, system, rows, changes or (), halves, not no_training, store)
        _tell_plan(file, asked, fail_on, as_json)
        return
    for wanted in filter(None, (junit, summary)):
        made_folder(wanted.parent)
    done = audit_file(
        file, against=against, model=model, budget=budget, system=system, halves=halves, training=not no_training,
        rows=rows, changes=changes or (), fail_on=fail_on, store=store, quiet=quiet,
    )  # fmt: skip
    for path, text in ((junit, done.junit()), (summary, done.summary())):
        if path is not None:
            with explain_disk_errors(path):
                write_whole(path, text.encode())
    if as_json:
        print(done.json(), end="")
    else:
        say(done.sentence)
        say(f"page: {done.page}")
        if done.status != (own := done.audit.decision.status):
            say(f"exit status {done.status}, by --fail-on {fail_on}; that of the verdict is {own}")
    raise typer.Exit(done.status)


def _tell_plan(file: Path, asked: tuple[Any, ...], fail_on: str, as_json: bool) -> None:
    """The plan on standard error, as `weirdgen run --dry-run` has it, or as JSON."""
    from weirdgen.audit.audit_file import audit_options
    from weirdgen.audit.outputs import parse_fail_on
    from weirdgen.audit.preview import preview
    from weirdgen.audit.preview_lines import preview_lines
    from weirdgen.report.content import clean

    parse_fail_on(fail_on)  # a word that the audit would refuse
    planned = preview(file, audit_options(*asked))
    if as_json:
        print(json.dumps(clean(planned.as_data()), indent=2, ensure_ascii=False))
    else:
        for line in preview_lines(planned):
            say(line, sys.stderr)


@audit_app.command("portrait")
def portrait_command(file: FileArg, as_json: JsonOption = False) -> None:
    """What the rows look like: counts, lengths, templates, dates and tags, repeats, the most similar harmless sets."""
    from weirdgen.audit.portrait import portrait_lines, portrait_of
    from weirdgen.audit.source import read_source

    portrait = portrait_of(read_source(file))
    _tell(portrait.as_data(), portrait_lines(portrait), as_json)


@audit_app.command("separation")
def separation_command(file: FileArg, as_json: JsonOption = False) -> None:
    """What in prompts goes with what in answers: dates, tags, ids, digits, formats, system prompts."""
    from weirdgen.audit.separation import separation, separation_lines
    from weirdgen.audit.source import read_source

    found = separation(read_source(file).rows)
    _tell(found.as_data(), separation_lines(found), as_json)


def _tell(data: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """One look at the rows, as JSON or as lines."""
    from weirdgen.report.content import clean

    if as_json:
        print(json.dumps(clean(data), indent=2, ensure_ascii=False))
    else:
        say_lines(lines)
