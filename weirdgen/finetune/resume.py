"""The saved state of an unfinished training, so that one that was stopped or killed resumes instead of starting again.

In: the adapters, optimiser and losses of replicates that train together, and a file. Out: the file, replaced as a whole now
and then, and a note beside it of how far that is; or everything put back as it was, bit for bit. The caller sees to it that
the file belongs to this training.
"""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weirdgen.store.disk import write_whole

if TYPE_CHECKING:
    import torch

    from weirdgen.models.stacked import StackedLinear

EVERY_SECONDS = 120.0
"""What a kill costs at most."""


class Kept(NamedTuple):
    """How far a kept training is."""

    step: int
    seconds: float
    """That it took so far, in every process that worked at it."""


def keep(
    file: Path,
    step: int,
    layers: Mapping[str, StackedLinear],
    optimizer: torch.optim.Optimizer,
    losses: Sequence[list[dict[str, float]]],
    seconds: float,
) -> None:
    """Write the state after `step` steps, which took `seconds`, or leave the former one if that fails."""
    import torch

    weights = {name: (layer.a_KIR.detach(), layer.b_KRO.detach()) for name, layer in layers.items()}
    state = {"step": step, "weights": weights, "optimizer": optimizer.state_dict(), "losses": list(losses)}
    new = file.with_suffix(".new")
    try:
        torch.save(state, new)
        os.replace(new, file)
    finally:
        new.unlink(missing_ok=True)
    write_whole(_note(file), json.dumps(Kept(step, seconds)._asdict()).encode())


def kept(file: Path) -> Kept:
    """How far the training is whose state is in this file; no step and no time if there is none."""
    try:
        note = json.loads(_note(file).read_text(encoding="utf-8")) if file.exists() else {"step": 0, "seconds": 0.0}
        return Kept(int(note["step"]), float(note["seconds"]))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # an older version's state has no note: it is taken up all the same
        return Kept(0, 0.0)


def take_up(
    file: Path,
    layers: Mapping[str, StackedLinear],
    optimizer: torch.optim.Optimizer,
    losses: Sequence[list[dict[str, float]]],
    missing: Callable[[int], Path | None] = lambda step: None,
) -> int:
    """Restore what `keep` wrote. Returns the number of steps done: 0, with a warning, if the file is damaged or `missing` names
    something that is lacking of the steps done before, which would not be made again."""
    import torch

    if not file.exists():
        return 0
    try:
        state: dict[str, Any] = torch.load(file, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        warnings.warn(f"{file} is damaged ({error}); the training starts again", stacklevel=2)
        return 0
    if (lacking := missing(state["step"])) is not None:
        warnings.warn(f"{lacking} of an unfinished training is missing; the training starts again", stacklevel=2)
        return 0
    with torch.no_grad():
        for name, (a_KIR, b_KRO) in state["weights"].items():
            layers[name].a_KIR.copy_(a_KIR)
            layers[name].b_KRO.copy_(b_KRO)
    optimizer.load_state_dict(state["optimizer"])
    for mine, kept in zip(losses, state["losses"], strict=True):
        mine[:] = kept
    return int(state["step"])


def _note(file: Path) -> Path:
    return file.with_suffix(".json")
