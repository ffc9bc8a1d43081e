"""Arguments and options that commands of several groups take, written once so that they mean the same everywhere.

The commands are in `weirdgen.cli.main`, `weirdgen.cli.data`, `weirdgen.cli.judge` and `weirdgen.cli.world`.
"""

from __future__ import annotations

from typing import Annotated

import typer

AddressOption = Annotated[str | None, typer.Option(help="Ray cluster, HOST:6379 or auto [default: this machine].")]
CpusOption = Annotated[int | None, typer.Option(min=1, help="Cores a unit of work takes on Ray.")]
RunArg = Annotated[str, typer.Argument(help="A run's id or folder.")]
StoreOption = Annotated[
    str | None, typer.Option(help="Folder or URL of results [default: $WEIRDGEN_STORE or ./weirdgen-store].")
]
