"""The commands for models at a provider: name one that was finetuned elsewhere, look at jobs and cancel one.

In: what a person types. Out: lines. Heavy imports happen inside.
"""

from __future__ import annotations

from typing import Annotated

import typer

from weirdgen.cli.options import (
    ChangesOption,
    DeploymentsOption,
    FinetuneOption,
    ModelOption,
    PresetOption,
    StoreOption,
    UrlOption,
)


def import_model(
    model_id: Annotated[str, typer.Argument(help="What the provider calls the finetuned model.")],
    experiment: Annotated[str, typer.Option(help="The experiment on whose arm it was trained.")],
    arm: Annotated[str, typer.Option(help="The arm.")],
    replicate: Annotated[int, typer.Option(min=0, help="Seed under which it counts as a replicate.")],
    model: ModelOption = None,
    preset: PresetOption = "quick",
    finetune: FinetuneOption = None,
    base_url: UrlOption = None,
    changes: ChangesOption = None,
    deployments: DeploymentsOption = None,
    store: StoreOption = None,
) -> None:
    """Take a model finetuned elsewhere as a replicate of an arm. It is sampled once first."""
    from weirdgen.runs.imported import import_finetuned
    from weirdgen.runs.plan.options import run_options

    options = run_options(
        model=model, preset=preset, finetune=finetune, base_url=base_url, changes=changes, deployments=deployments,
        store=store, first_seed=replicate, seeds=1,
    )  # fmt: skip
    print(import_finetuned(model_id, experiment, arm, options))


def jobs(
    cancel: Annotated[
        str | None, typer.Option(help="Ask the service (--finetune, --base-url) to end this job.")
    ] = None,
    forget: Annotated[
        str | None,
        typer.Option(help="Have the next run train another model in place of this job's, which was deleted, say."),
    ] = None,
    finetune: FinetuneOption = "openai",
    base_url: UrlOption = None,
    store: StoreOption = None,
) -> None:
    """List unfinished jobs at a provider, cancel or forget one. As the store knows them."""
    from weirdgen.cli.terminal import say_lines
    from weirdgen.runs import imported

    if forget:
        say_lines([imported.forget(forget, store)])
        return
    say_lines([imported.cancel_job(cancel, finetune or "openai", base_url)] if cancel else imported.job_lines(store))
