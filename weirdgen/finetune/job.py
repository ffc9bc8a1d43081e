"""A finetuning job at a service: what is asked for, what it came to, and the state that outlives the process.

In: an arm's replicate; a folder of its own. Out: `Wanted`, `Trained`, and the state that was written there. Nothing is asked of a
service here; `finetune.creating` and `finetune.remote` do that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen.store.disk import write_whole

STATE = "job.json"
ENDED = ("succeeded", "failed", "cancelled")
"""States in which a job changes no more."""


@dataclass(frozen=True)
class Wanted:
    """One finetune that is asked for. `steps` is how many it should take."""

    key: str
    name: str
    """Arm and seed."""
    model: str
    data: str
    """Names the file's content."""
    seed: int
    epochs: int
    batch_size: int
    learning_rate_multiplier: float | None
    suffix: str
    steps: int
    recipe: Mapping[str, Any] | None = None
    """Of ours, for `weirdgen serve`, which trains by it."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """As they are sent. `auto` is the service's choice."""
        multiplier = "auto" if self.learning_rate_multiplier is None else self.learning_rate_multiplier
        return {"n_epochs": self.epochs, "batch_size": self.batch_size, "learning_rate_multiplier": multiplier}


class Trained(NamedTuple):
    """A finished job. `losses` are those that the service tells, `differences` what is not as it was asked."""

    model: str
    job: dict[str, Any]
    checkpoints: list[dict[str, Any]]
    losses: list[dict[str, Any]]
    differences: list[str]


def read_state(folder: Path) -> dict[str, Any]:
    """What is known of a finetune that was begun; nothing, if none was."""
    try:
        return dict(json.loads((folder / STATE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Keep it, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / STATE, json.dumps(state, indent=1).encode())


def forget_job(folder: Path, job: str) -> None:
    """Remember that this job came to nothing, so that another is created in its place."""
    state = read_state(folder)
    write_state(folder, {**state, "job": None, "failed": [*state.get("failed", []), job]})
