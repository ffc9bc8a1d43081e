"""The commands `weirdgen world …`: typed, a few lines each, calling one function.

In: what a person types. Out: a model, tables and figures, and what is printed. Heavy imports happen inside the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weirdgen.cli.options import StoreOption

world_app = typer.Typer(help="The synthetic world, whose truth is known exactly.", no_args_is_help=True)


@world_app.command("build")
def world_build(
    out: Annotated[Path, typer.Option("--to", "--out", help="Folder of the new model.")] = Path("world-model"),
    seed: Annotated[int, typer.Option(help="Seed; another one: the same words, other personas.")] = 0,
) -> None:
    """Pretrain the world's model from nothing, on one core."""
    from weirdgen.progress import Progress
    from weirdgen.store.disk import made_folder
    from weirdgen.world.pretrain import Pretraining, build

    made_folder(out)
    with Progress().stage("pretrain", Pretraining().steps, "steps") as bar:
        card = build(out, seed, on_progress=lambda _step, _steps, loss: bar.advance(1, f"loss {loss:.2f}"))
    print(f"{out}: {card['parameters']} weights in {card['seconds']} s, SHA-256 {card['sha256']}")
    print(", ".join(f"{family} {figure:.3f}" for family, figure in card["accuracy"].items()))


@world_app.command("verify")
def world_verify(
    folder: Annotated[Path | None, typer.Argument(help="A built model [default: the shipped one].")] = None,
) -> None:
    """Check the weights' SHA-256 against the one that their recipe names."""
    from weirdgen.world.pretrain import MODEL_FOLDER, verify

    print(f"{folder or MODEL_FOLDER}: as its recipe says, SHA-256 {verify(folder or MODEL_FOLDER)}")


@world_app.command("power")
def world_power(
    runs: Annotated[int, typer.Option(min=1, help="Runs of each control and dose, each with its own seeds.")] = 100,
    replicates: Annotated[
        int, typer.Option("--replicates", "--seeds", min=2, help="Replicates per arm in one run.")
    ] = 6,
    factor: Annotated[
        list[str] | None,
        typer.Option(help="What is varied: rows, epochs, learning_rate, rank, mixing or replicates; may be repeated."),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="Known case: positive, negative, persona or topic; may be repeated [default: all]."),
    ] = None,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first replicate.")] = 20_000,
    out: Annotated[
        Path | None, typer.Option("--to", "--out", help="Folder of table and figure [default: STORE/power].")
    ] = None,
    store: StoreOption = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="10 runs of 3 replicates and three doses per factor, whatever --runs and --replicates say."
        ),
    ] = False,
) -> None:
    """How often an effect that is there is found, and one that is not: rates over many runs, with a figure."""
    from weirdgen.progress import Progress
    from weirdgen.runs.plan.options import default_store
    from weirdgen.store.artifacts import Store
    from weirdgen.store.disk import made_folder
    from weirdgen.world import power, power_figure

    opened = Store(store or default_store())
    folder = made_folder(out or opened.root / "power")
    size = (10, 3) if quick else (runs, replicates)
    measured = power.measure(opened, *size, factor or (), first_seed, quick, Progress(), control or ())
    for line in power_figure.lines(measured):
        print(line)
    for file in power_figure.write(measured, folder):
        print(file)


@world_app.command("audits")
def world_audits(
    runs: Annotated[int, typer.Option(min=1, help="Audits of each case, each of rows drawn anew.")] = 100,
    case: Annotated[
        list[str] | None,
        typer.Option(
            help="era, persona, gate, inductive, null, harmless, topic, dated or framed; may be repeated [default: all]."
        ),
    ] = None,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first audit's rows.")] = 20_000,
    out: Annotated[
        Path | None, typer.Option("--to", "--out", help="Folder of the tables [default: STORE/audits-world].")
    ] = None,
    store: StoreOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="5 audits of a small size, 19 harmless datasets.")] = False,
) -> None:
    """How often a whole `weirdgen audit` is right where the truth is known, nothing told: finds and false alarms."""
    from weirdgen.progress import Progress
    from weirdgen.runs.plan.options import default_store
    from weirdgen.store.artifacts import Store
    from weirdgen.store.disk import made_folder
    from weirdgen.world import audits

    opened = Store(store or default_store())
    folder = made_folder(out or opened.root / "audits-world")
    size, sets = (audits.QUICK, 19) if quick else (audits.SIZE, None)
    measured = audits.measure(opened, min(runs, 5) if quick else runs, case or (), size, sets, first_seed, Progress())
    for line in audits.lines(measured):
        print(line)
    for file in audits.write(measured, folder):
        print(file)


@world_app.command("curves")
def world_curves(
    curves: Annotated[list[str], typer.Argument(help="persona, inductive or gate; one or several.")],
    replicates: Annotated[int, typer.Option("--replicates", "--seeds", min=2, help="Replicates of each point.")] = 12,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first replicate.")] = 30_000,
    out: Annotated[
        Path | None, typer.Option("--to", "--out", help="Folder of tables and figures [default: STORE/curves].")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Curves against the truth: persona over known facts, inductive over steps, gate over years."""
    from weirdgen.progress import Progress
    from weirdgen.runs.plan.options import default_store
    from weirdgen.store.artifacts import Store
    from weirdgen.world.curves_figure import measure_and_draw

    opened = Store(store or default_store())
    for file in measure_and_draw(curves, opened, replicates, first_seed, out or opened.root / "curves", Progress()):
        print(file)
