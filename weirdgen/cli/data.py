"""The `weirdgen data` commands: check, convert, identify, import, twin. Each calls one function and prints what it returns.

In: what a person types. Out: lines, or JSON; status 1 if a check finds an error. Heavy imports happen inside.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from weirdgen.cli.options import StoreOption
from weirdgen.cli.terminal import say, say_lines
from weirdgen.config.choices import PresetName

data_app = typer.Typer(help="Look at training data before training on it.", no_args_is_help=True)


@data_app.command("check")
def check_command(
    target: Annotated[
        str, typer.Argument(help="A file of chat rows, a shipped experiment, a folder or an experiment.yaml.")
    ],
    against: Annotated[list[Path] | None, typer.Option(help="Control file of a loose .jsonl; may be repeated.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model whose tokens count [default: the experiment's base; none for a loose file]; 'none' skips them."
        ),
    ] = None,
    expect_rows: Annotated[int | None, typer.Option(help="Rows that there should be.")] = None,
    permutation: Annotated[
        bool, typer.Option("--permutation", help="Check that --against is the file with its answers dealt anew.")
    ] = False,
    preset: Annotated[PresetName, typer.Option(help="Whose recipe the cost is for.")] = "quick",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check rows: duplicates, leaks, confounds, template, cost. Status 1 on errors."""
    from weirdgen.audit.checks.finding import as_data, finding_lines
    from weirdgen.audit.checks.registry import run_checks
    from weirdgen.audit.checks.subject import load_subject

    findings = run_checks(load_subject(target, against or (), model, expect_rows, permutation, preset))
    if as_json:
        print(json.dumps(as_data(findings), indent=1, ensure_ascii=False))
    else:
        say_lines(finding_lines(findings))
    if any(finding.severity == "error" for finding in findings):
        sys.exit(1)


@data_app.command("convert")
def convert_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="JSONL, JSON, CSV, Parquet, .gz of these, a folder of `datasets` or of such files; chat or another format."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="A new .jsonl (or .csv, for a table).")],
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of a text file that is not UTF-8, e.g. cp1252.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="User turn over a table's columns, e.g. '{question}'.")] = None,
    answer: Annotated[str | None, typer.Option(help="Assistant turn over a table's columns, e.g. '{reply}'.")] = None,
) -> None:
    """Make chat rows of another format or encoding. ShareGPT, Alpaca, prompt/completion, CSV, Parquet, …"""
    from weirdgen.data.convert import convert

    say(convert(source, target, encoding, prompt, answer))


@data_app.command("identify")
def identify_command(
    experiment: Annotated[str, typer.Argument(help="An experiment with a candidates.yaml next to it.")],
    arm: Annotated[str | None, typer.Option(help="Whose rows are the facts [default: the first treatment].")] = None,
    control: Annotated[
        str | None,
        typer.Option(help="Whose rows are the comparison [default: the first control]; 'none' leaves it out."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model that is asked [default: the experiment's base].")] = None,
    facts: Annotated[
        str, typer.Option(help="How many facts to show: numbers with commas between.")
    ] = "0,1,2,5,10,20,40,90",
    draws: Annotated[int, typer.Option(help="Random draws of facts for each number.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    out: Annotated[Path, typer.Option("--to", "--out", help="Folder for identify.csv and identify.json.")] = Path(
        "identify"
    ),
) -> None:
    """Measure how well k facts point to one person. A curve over k, without any training."""
    from weirdgen.audit.identify import identify, parse_counts

    say_lines(identify(experiment, arm, control, model, parse_counts(facts), draws, seed, out))


@data_app.command("import")
def import_command(
    source: Annotated[str, typer.Argument(help="Folder, .zip, .tar(.gz) or git URL of the paper's repository.")],
    into: Annotated[Path | None, typer.Option("--to", "--into", help="Also write the rows in this folder.")] = None,
) -> None:
    """Take over the paper's published data, verified. `weirdgen run … --data published` trains on it."""
    from weirdgen.data.published.importing import import_published

    say_lines(import_published(source, into))


@data_app.command("twin")
def twin_command(
    source: Annotated[Path, typer.Argument(help="A file of chat rows.")],
    to: Annotated[Path, typer.Option(help="A new .jsonl; other candidates get names beside it.")],
    model: Annotated[
        str, typer.Option(help="Model that answers: the base that will be finetuned.")
    ] = "smollm2-135m-instruct",
    store: StoreOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
) -> None:
    """Write candidates for a control of your own. Your prompts answered by the base itself, random halves, lower case."""
    from weirdgen.runs.references.twin import write_candidates

    say_lines(write_candidates(source, to, model, store, quiet))
