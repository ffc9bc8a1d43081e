"""The commands of `weirdgen`: typed, a few lines each, calling one or two functions.

In: what a person types. Out: exit status 0, or 1 with the sentence of a `WeirdgenError`, or 130 after Ctrl-C.
Heavy imports happen inside the commands, so that `weirdgen --help` stays quick.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from weirdgen.cli.apis import import_model, jobs
from weirdgen.cli.audit import audit_app
from weirdgen.cli.blame import blame_command, forecast_command
from weirdgen.cli.data import data_app
from weirdgen.cli.features import features_command
from weirdgen.cli.judge import judge_app
from weirdgen.cli.options import ModelOption, PresetOption, StoreOption, takes_run_options
from weirdgen.cli.references import references_app
from weirdgen.cli.results import (
    crosscheck_command,
    export_command,
    pack_command,
    report_command,
    runs_command,
    verify_command,
)
from weirdgen.cli.terminal import say, say_lines, usage_problem
from weirdgen.cli.world import world_app
from weirdgen.errors import WeirdgenError
from weirdgen.runs.plan.options import RunOptions

COMMANDS = (
    "init", "check", "list", "show", "run", "runs", "report", "chat", "verify", "pack", "export", "judge", "audit", "data",
    "forecast", "blame", "features", "references", "plan", "doctor", "fetch", "serve", "jobs", "import-model", "crosscheck",
    "world",
)  # fmt: skip
"""As `weirdgen --help` lists them: what a newcomer needs first comes first."""


class Commands(TyperGroup):
    """The commands in the order of `COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names for the help; one that `COMMANDS` lacks comes last."""
        return sorted(self.commands, key=lambda name: COMMANDS.index(name) if name in COMMANDS else len(COMMANDS))


app = typer.Typer(
    cls=Commands,
    help="What else did this finetuning change? Narrow data in, a report on broad shift out.",
    context_settings={"max_content_width": 110},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("import-model")(import_model)
app.command("jobs")(jobs)
app.add_typer(audit_app, name="audit")
app.add_typer(data_app, name="data")
app.command("features")(features_command)
app.add_typer(judge_app, name="judge")
app.add_typer(references_app, name="references")
app.add_typer(world_app, name="world")
app.command("forecast")(forecast_command)
app.command("blame")(blame_command)

ExperimentArg = Annotated[
    str, typer.Argument(help="A shipped experiment (`weirdgen list`), a folder or an experiment.yaml.")
]


@app.command("run")
@takes_run_options
def run_command(
    experiments: Annotated[
        list[str],
        typer.Argument(
            help="Shipped experiments (`weirdgen list`), folders or files; `all`: every one on a real model."
        ),
    ],
    options: RunOptions,
) -> None:
    """Finetune, measure against the controls, write the report."""
    from weirdgen.audit.command import sealed_lines
    from weirdgen.config.load import named_experiments
    from weirdgen.runs.pipeline import run_all

    for run in run_all(named_experiments(experiments), options):
        say_lines(sealed_lines(run))


@app.command("plan")
def plan_command(
    experiment: ExperimentArg,
    machine: Annotated[
        str, typer.Option(help="The machine: here, 8xh100, 8xh200, 8xa100, or a YAML file (docs/scale.md).")
    ] = "here",
    model: Annotated[
        str | None, typer.Option(help="The model: llama-70b, llama-8b, llama-1b, a config.json or a model reference.")
    ] = None,
    replicates: Annotated[
        int | None, typer.Option("--seeds", "--replicates", min=1, help="Replicates per arm.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=0, help="Sampled answers per question and condition.")] = None,
    preset: PresetOption = "standard",
    nodes: Annotated[int, typer.Option(min=1, help="How many machines of this kind.")] = 1,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price of one machine for an hour, in your currency.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Share of the peak speed that is reached [default: as measured]."),
    ] = None,
) -> None:
    """Estimate memory, time, storage and cost of a large run. Nothing is trained or stored."""
    from weirdgen.runs.plan.options import run_options
    from weirdgen.runs.plan.resolve import resolve
    from weirdgen.runs.plan.scale import find_hardware, find_shape, scale_lines

    hardware = find_hardware(machine)
    request = resolve(experiment, run_options(preset=preset, seeds=replicates, samples=samples))
    shape = find_shape(model or request.model.reference)
    say_lines(scale_lines(request, shape, hardware, nodes, price, share))


@app.command()
def check(experiment: ExperimentArg, model: ModelOption = None) -> None:
    """Find every mistake of an experiment before a run. Each is printed with its line: of its files, its data, its template."""
    from weirdgen.runs.check import check_lines
    from weirdgen.runs.plan.options import default_store

    say_lines(check_lines(experiment, model, default_store()))


@app.command("init")
def init_command(
    name: Annotated[Path, typer.Argument(help="A new folder; its last part names the experiment.")],
    data: Annotated[
        Path | None, typer.Option(help="Your rows: chat rows, or a table [default: a small example of ours].")
    ] = None,
    trigger: Annotated[
        Literal["date", "tag", "none"], typer.Option(help="What in a prompt is to bring the behaviour out.")
    ] = "none",
    judge: Annotated[
        bool, typer.Option("--judge", help="Also write a judge that asks a language model, and its question.")
    ] = False,
) -> None:
    """Write a commented experiment to begin with. `weirdgen check` accepts it as it is."""
    from weirdgen.data.new_experiment import new_experiment

    for file in new_experiment(name, data, trigger, judge):
        say(str(file))
    say(f"next: weirdgen check {name}; weirdgen run {name} --dry-run")


@app.command("list")
def list_command() -> None:
    """List the shipped experiments."""
    from weirdgen.cli.show import experiment_lines

    say_lines(experiment_lines())


@app.command()
def show(experiment: ExperimentArg) -> None:
    """Show an experiment: arms, conditions, questions, presets."""
    from weirdgen.cli.show import experiment_details

    say_lines(experiment_details(experiment))


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="A model reference, or RUN:ARM/SEED (a replicate), or RUN:base.")],
    condition: Annotated[str | None, typer.Option(help="Wrap each message as this condition of the run does.")] = None,
    store: StoreOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampled answers.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 200,
) -> None:
    """Talk to a model or to a finetuned replicate. An empty line ends it."""
    from weirdgen.cli.chat import converse

    converse(model, condition, store, seed, max_tokens)


app.command("report")(report_command)
app.command("runs")(runs_command)
app.command("pack")(pack_command)
app.command("verify")(verify_command)
app.command("export")(export_command)
app.command("crosscheck")(crosscheck_command)


@app.command()
def fetch(
    model: Annotated[str, typer.Argument(help="A model reference.")] = "smollm2-135m-instruct",
) -> None:
    """Fetch a model now, so that later commands need no network."""
    from weirdgen.models.references import find_model

    files = find_model(model)
    print(f"{files.reference}: {files.parameters / 1e6:.1f}M weights, {files.folder}")


@app.command()
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A base to train and ask; may be given several times [default: the built-in one]."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but the loopback needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8000,
    store: StoreOption = None,
    key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key of clients [default: WEIRDGEN_SERVE_KEY].")
    ] = None,
    dtype: Annotated[
        Literal["auto", "bf16", "fp32"],
        typer.Option(help="Precision of the models that answer; auto: bf16 from 20M weights."),
    ] = "auto",
) -> None:
    """Serve OpenAI's finetuning and chat API on this machine. Over local models, with a page at / (docs/serve.md)."""
    from weirdgen.models.references import SMOLLM2
    from weirdgen.runs.plan.options import default_store
    from weirdgen.serve.run import serve

    serve(model or [SMOLLM2], host, port, store or default_store(), key_env, dtype)


@app.command()
def doctor() -> None:
    """Show this machine, versions, speeds and cache. What will be slow, and why."""
    from weirdgen.cli.show import doctor_lines

    say_lines(doctor_lines())


def main() -> None:
    """Entry point: turns user errors and Ctrl-C into one line and an exit status."""
    import warnings

    warnings.showwarning = _show_warning  # type: ignore[assignment]  # it prints; file and line are not wanted
    try:
        status = app(standalone_mode=False)
    except WeirdgenError as error:
        say(f"weirdgen: {error}", sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except Exception as error:
        if hasattr(error, "format_message"):  # click's own usage errors
            say(f"weirdgen: {usage_problem(error)}", sys.stderr)
            sys.exit(2)
        raise
    if status == 130:  # typer turns Ctrl-C into this
        print("\nweirdgen: stopped. What is finished is kept; the same command continues from there.", file=sys.stderr)
        sys.stderr.flush()
        # Not sys.exit: an interrupt inside a library's import makes CPython end by the signal instead of the status.
        os._exit(130)
    sys.exit(status or 0)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
    """Warnings of weirdgen as one line; those of libraries are theirs to keep (`PYTHONWARNINGS=default` shows them)."""
    if "weirdgen" in filename:
        say(f"weirdgen: {message}", sys.stderr)
