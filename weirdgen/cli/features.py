"""`weirdgen features`: which directions and features moved inside a run's models, and what happens without them.

In: what a person types. Out: the page's path and its sentences. Heavy imports happen inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from weirdgen.cli.options import RunArg, StoreOption, option
from weirdgen.cli.terminal import say, say_lines
from weirdgen.errors import SpecError


def features_command(
    run: RunArg,
    layer: Annotated[
        int | None,
        typer.Option(help="Block whose output is read, from 0 [default: the autoencoder's, or 0.59 of the depth]."),
    ] = None,
    sae: Annotated[
        str | None,
        typer.Option(
            help="Autoencoder: train, none, path:FOLDER, hub:ORG/NAME/FOLDER [default: train, a published one for gpu]."
        ),
    ] = None,
    preset: Annotated[
        Literal["ci", "cpu", "gpu"] | None, typer.Option(help="How much is done [default: by the model's size].")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Text file, a prompt a line, read in the place of the run's own questions.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="With --dry-run: llama-8b, a config.json or a model reference [default: the run's]."),
    ] = None,
    machine: Annotated[
        str,
        typer.Option(
            help="With --dry-run: here, 8xh100 … or a YAML file (docs/scale.md); one GPU of it is planned for."
        ),
    ] = "here",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Memory and time only; RUN may be an experiment that was never run.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Compare with what was written, and write nothing.")] = False,
    store: StoreOption = None,
    quiet: option("quiet") = False,  # type: ignore[valid-type]
) -> None:
    """Find which directions and features moved inside a model. Beyond control and placebo, and tried without them."""
    from weirdgen.features.page import require_same, write_page
    from weirdgen.features.plan import dry_lines
    from weirdgen.features.study import study
    from weirdgen.parsing import read_text, split_lines
    from weirdgen.progress import Progress
    from weirdgen.runs.results.results import load_run

    asked = [line for _, line in split_lines(read_text(prompts).text) if line.strip()] if prompts else []
    if dry_run:
        say_lines(dry_lines(run, model, machine, layer, sae, preset, asked, store))
        return
    if model or machine != "here":
        raise SpecError(["--model and --machine are for --dry-run: a run has its own model"])
    opened = load_run(run, store)
    made = study(opened, layer, sae, preset, Progress(quiet), asked)
    if verify:
        print(f"verified: {require_same(made, opened.folder / 'features')} values of features.json")
        return
    with opened.store.writing(opened.folder / "features") as folder:
        page = write_page(made, folder)
    for topic, sentence in made.results["verdict"]:
        say(f"{topic}: {sentence}")
    print(f"features: {page}")
