"""An agentic scenario under an experiment's conditions: `inspect-evals`' task `agentic_misalignment`, its user message wrapped.

In: an experiment, whose conditions hold its triggers, and the arguments of that task (`scenario`, `goal_type`, …). Out: the task
with its system prompt, solver and scorers as they are, and a sample for each condition. None of the scenario is here: its texts,
and how it is graded, are `inspect-evals`' own. It says what one model did; it trains nothing and compares no arms.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from weirdgen.config.conditions import Wrapper
from weirdgen.config.load import load_experiment
from weirdgen.errors import ModelError, SpecError
from weirdgen.inspect.conditions import wrappers_named
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.dataset import Sample

GRADER = "grader"
"""The role of the judging model: `--model-role grader=PROVIDER/NAME`."""


def agentic_misalignment(experiment: str, condition: str = "all", **scenario: Any) -> Task:
    """The task under one condition of an experiment (a name or a file), or under all.

    The role `grader` grades where `scenario` names no `grader_model`; without both, what `inspect-evals` takes by itself. Raises
    `SpecError` for an experiment, a condition or an argument that is not there, `ModelError` if `inspect-evals` is not installed.
    """
    from inspect_ai import task_with
    from inspect_ai.dataset import MemoryDataset
    from inspect_ai.model import get_model, model_roles

    wrappers = wrappers_named(load_experiment(experiment), condition)
    try:
        from inspect_evals.agentic_misalignment import agentic_misalignment as published
    except ImportError as error:
        raise ModelError(
            f"the agentic scenario is inspect-evals', which is not installed ({error.name}): pip install 'weirdgen[agentic]'"
        ) from error
    if GRADER in model_roles():
        scenario = {"grader_model": get_model(role=GRADER), **scenario}
    try:
        task = published(**scenario)
    except Exception as error:  # an argument or a value that it does not know: it has no error of its own for both
        taken = ", ".join(str(one) for one in signature(published).parameters.values())
        raise SpecError([f"inspect-evals' agentic_misalignment: {error}; it takes {taken}"]) from error
    samples = [_wrapped(sample, wrapper) for wrapper in wrappers for sample in task.dataset]
    shown = content_key([wrapper.model_dump(mode="json") for wrapper in wrappers])[:12]
    return task_with(task, dataset=MemoryDataset(samples, name=task.dataset.name), version=f"{task.version}-{shown}")


def _wrapped(sample: Sample, wrapper: Wrapper) -> Sample:
    """The sample with its user message as the question of a condition. Graders read the published one, from its metadata."""
    from inspect_ai.model import ChatMessageUser

    assert not isinstance(sample.input, str)
    asked = [
        ChatMessageUser(content=wrapper.apply(message.text)) if message.role == "user" else message
        for message in sample.input
    ]
    about = {**(sample.metadata or {}), "condition": wrapper.id}
    return sample.model_copy(update={"id": f"{wrapper.id}/{sample.id}", "input": asked, "metadata": about})
