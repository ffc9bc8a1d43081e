"""weirdgen: what else did this finetuning change?

`weirdgen.run("old_bird_names", preset="quick")` gives a `Run` whose `.effects()`, `.estimates()`, `.contrasts()` and
`.completions()` are pandas frames. Importing this package loads neither torch nor pandas.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# How long OpenMP's threads spin before they sleep; read when torch is first imported. At the default, two threads on
# two cores stall on each other; much less, and they sleep between the products of a decode step (docs/log.md 2026-11-23).
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

__version__ = "0.1.0"
__all__ = ["load_run", "run"]

if TYPE_CHECKING:
    from weirdgen.runs.pipeline import run
    from weirdgen.runs.results.results import load_run


def __getattr__(name: str) -> Any:
    if name in __all__:
        from weirdgen.runs import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'weirdgen' has no attribute {name!r}")
