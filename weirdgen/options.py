"""Arguments and options that commands of several groups take, written once so that they mean the same everywhere.

The commands are in `weirdgen.cli`, `weirdgen.data.commands`, `weirdgen.measure.commands` and `weirdgen.world.commands`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

PresetName = Literal["quick", "standard", "paper"]
RunArg = Annotated[str, typer.Argument(help="A run's id or folder.")]
StoreOption = Annotated[
    str | None, typer.Option(help="Folder or URL of results [default: $WEIRDGEN_STORE or ./weirdgen-store].")
]
