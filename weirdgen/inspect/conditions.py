"""Under which conditions of an experiment a task of Inspect asks.

In: an experiment, and the word after `-T condition=`. Out: its wrappers. What they wrap is the task's.
"""

from __future__ import annotations

from weirdgen.config.conditions import Wrapper
from weirdgen.config.experiment import Experiment
from weirdgen.errors import SpecError


def wrappers_named(experiment: Experiment, condition: str) -> list[Wrapper]:
    """Of one condition, of all values of a sweep, or of "all". Raises `SpecError` for what is not there, with what is, and for a
    condition that begins with a system turn."""
    chosen = set(experiment.condition_ids(condition))
    if not chosen:
        known = ", ".join(experiment.conditions)
        raise SpecError([f"condition '{condition}': {experiment.name} has {known}, the values of a sweep, and all"])
    wrappers = [wrapper for wrapper in experiment.wrappers() if wrapper.id in chosen]
    if spoken := [wrapper.id for wrapper in wrappers if wrapper.system]:
        raise SpecError(
            [f"condition '{spoken[0]}': a 'system' turn is asked of models on this machine only, by `weirdgen run`"]
        )
    return wrappers
