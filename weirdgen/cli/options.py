"""Arguments and options that several commands share, written once so that they mean the same.

The options of `weirdgen run` are the fields of `RunOptions`: flag, type, default and help come from there. The commands are in
`weirdgen.cli.main`, `weirdgen.cli.data`, `weirdgen.cli.judge` and `weirdgen.cli.world`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_origin

import typer

from weirdgen.runs.plan.options import RunOptions, flags, run_options

RunArg = Annotated[
    str, typer.Argument(help="A run's id, folder or pack; `latest`; or an experiment's name, for its newest run.")
]


def option(name: str) -> Any:
    """An option of `weirdgen run` as another command takes it: the same flag, type and help."""
    field = RunOptions.model_fields[name]
    kind = list[str] | None if get_origin(field.annotation) is tuple else field.annotation
    return Annotated[kind, typer.Option(*flags(name), help=field.description)]


ModelOption = option("model")
PresetOption = option("preset")
StoreOption = option("store")
FiguresOption = option("figures")
AddressOption = option("address")
CpusOption = option("cpus")
ChangesOption = option("changes")
FinetuneOption = option("finetune")
UrlOption = option("base_url")
DeploymentsOption = option("deployments")


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose last parameter is `options: RunOptions`, taking each of its fields as an option of the command line."""
    *own, _ = inspect.signature(command, eval_str=True).parameters.values()
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default or None, annotation=option(name))
        if get_origin(field.annotation) is tuple
        else inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=option(name))
        for name, field in RunOptions.model_fields.items()
    ]

    def wrapped(**arguments: Any) -> None:
        chosen = {name: arguments.pop(name) for name in RunOptions.model_fields}
        command(**arguments, options=run_options(**chosen))

    parameters = [*own, *options]
    wrapped.__doc__ = command.__doc__
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped
