"""weirdgen: what else did this finetuning change?

`weirdgen.run("old_bird_names", preset="quick")` gives a `Run` whose `.effects()`, `.estimates()`, `.contrasts()` and
`.completions()` are pandas frames. `weirdgen.run(Experiment(...))` needs no file. `weirdgen.audit_file("train.jsonl")` says what
a file of rows would change. Importing this package loads neither torch nor pandas.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# How long OpenMP's threads spin before they sleep; read when torch is first imported. At the default, two threads on
# two cores stall on each other; much less, and they sleep between the products of a decode step (docs/log.md 2026-11-23).
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from weirdgen.audit.audit_file import audit_file as audit_file
    from weirdgen.config.arm import Arm as Arm
    from weirdgen.config.experiment import Experiment as Experiment
    from weirdgen.config.experiment import Recipe as Recipe
    from weirdgen.config.load import load_experiment as load_experiment
    from weirdgen.errors import WeirdgenError as WeirdgenError
    from weirdgen.runs.pipeline import plan as plan
    from weirdgen.runs.pipeline import run as run
    from weirdgen.runs.results.results import Run as Run
    from weirdgen.runs.results.results import load_run as load_run

_HOMES = {
    "Arm": "config.arm",
    "Experiment": "config.experiment",
    "Recipe": "config.experiment",
    "Run": "runs.results.results",
    "WeirdgenError": "errors",
    "audit_file": "audit.audit_file",
    "load_experiment": "config.load",
    "load_run": "runs.results.results",
    "plan": "runs.pipeline",
    "run": "runs.pipeline",
}
"""Public name → the module that has it, imported when it is first asked for."""
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"weirdgen.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'weirdgen' has no attribute {name!r}; public names: {', '.join(_HOMES)}")


def __dir__() -> list[str]:
    return list(_HOMES)
