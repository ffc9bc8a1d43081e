"""Under which conditions of an experiment a task of Inspect asks.

In: an experiment, and the word after `-T condition=`. Out: its wrappers. What they wrap is the task's.
"""

from __future__ import annotations

from weirdgen.config.conditions import Wrapper
from weirdgen.config.experiment import Experiment
from weirdgen.errors import SpecError


def wrappers_named(experiment: Experiment, condition: str) -> list[Wrapper]:
    """Of one condition, of all values of a sweep, or of "all". Raises `SpecError`, which names what there is."""
    chosen = set(experiment.condition_ids(condition))
    if not chosen:
        known = ", ".join(experiment.conditions)
        raise SpecError([f"condition '{condition}': {experiment.name} has {known}, the values of a sweep, and all"])
    return [wrapper for wrapper in experiment.wrappers() if wrapper.id in chosen]
