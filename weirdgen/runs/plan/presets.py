"""An experiment at the size of a preset: fewer arms, rows, questions or sweep values.

In: an experiment, its rows, a preset. Out: the smaller experiment and rows, and how many ordinary rows each arm gets.
Replicates, samples and the recipe's changes are numbers of the preset itself; `weirdgen.runs.plan.request` takes those.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter

from weirdgen.config.base import Scalar
from weirdgen.config.conditions import Condition
from weirdgen.config.experiment import Experiment, Headline, Preset
from weirdgen.config.measures import SCORED
from weirdgen.config.questions import BaseQuestion, sampled
from weirdgen.data.rows import Row, draw
from weirdgen.errors import SpecError


def at_size(
    experiment: Experiment, rows: dict[str, list[Row]], size: Preset
) -> tuple[Experiment, dict[str, list[Row]], dict[str, int]]:
    """The experiment and rows that a preset leaves, and the ordinary rows of the arms that have some."""
    names = [name for name in experiment.arms if size.arms is None or name in size.arms]
    names = [name for name in names if experiment.arms[name].twin is None or experiment.arms[name].twin in names]
    arms = {name: experiment.arms[name] for name in names}
    rows = {name: rows[name] for name in names}
    if size.rows is not None:
        rows = {name: draw(mine, size.rows, seed=0) if size.rows < len(mine) else mine for name, mine in rows.items()}
    counts = {
        name: arm.ordinary if size.ordinary is None else min(arm.ordinary, size.ordinary) for name, arm in arms.items()
    }
    conditions = {
        name: condition if size.sweep is None or not condition.sweep else _thinned(experiment, name, size.sweep)
        for name, condition in experiment.conditions.items()
    }
    questions = _drawn_of_groups(experiment.questions, size.questions)
    questions = questions if size.free_form is None else _first_of_groups(questions, size.free_form)
    secondary = {
        n: comparison
        for n, comparison in experiment.secondary.items()
        if {comparison.treatment, comparison.control} <= {*names}
    }
    changed = experiment.model_copy(
        update={"arms": arms, "conditions": conditions, "questions": questions, "secondary": secondary}
    )
    return changed, rows, {name: count for name, count in counts.items() if count}


def without_scored(experiment: Experiment, why: str) -> Experiment:
    """The experiment without questions that are answered by log-probabilities, for models that give none; a warning says which.

    A headline over such questions becomes the effect of the first judge. Raises `SpecError` if nothing is left to ask.
    """
    left = sampled(experiment.questions)
    if len(left) == len(experiment.questions) and not experiment.traits:
        return experiment
    fallen = [question.id for question in experiment.questions if question not in left]
    if not left:
        raise SpecError([f"all {len(fallen)} questions need log-probabilities, and {why}; add free-form questions"])
    scored = [name for name, effect in experiment.secondary.items() if effect.measure in SCORED]
    parts = []
    for names, what in ((fallen, "questions"), (experiment.traits, "traits"), (scored, "secondary effects")):
        if names:
            some = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
            parts.append(f"{len(names)} {what} fall away ({some})")
    headline = experiment.headline
    if headline and headline.measure in SCORED:
        judge = next((name for question in left for name in question.read_by if name in experiment.judges), None)
        if judge is None:
            raise SpecError(
                [f"no judge reads the {len(left)} free-form questions, and {why}: nothing would be measured"]
            )
        parts.append(f"the headline is {judge} instead of {headline.measure}")
        headline = headline.model_copy(update={"measure": judge, "groups": (), "smallest": None, "says": None})
    warnings.warn(f"{why}: {'; '.join(parts)}", stacklevel=1)
    secondary = {name: effect for name, effect in experiment.secondary.items() if name not in scored}
    return experiment.model_copy(
        update={"questions": tuple(left), "traits": (), "secondary": secondary, "headline": headline}
    )


def unmeasured(experiment: Experiment, headline: Headline, samples: int) -> str | None:
    """Why an effect would have no value at this size; None if it is measured."""
    if not experiment.questions_of(headline):
        groups = f" of {', '.join(headline.groups)}" if headline.groups else ""
        return f"no {headline.measure} question{groups} that its mean is over is asked at this size"
    if headline.measure in experiment.judges and not samples:
        return (
            f"{headline.measure} judges sampled answers, and with 0 samples there are none; ask for --samples 1 or more"
        )
    return None


def _drawn_of_groups(questions: tuple[BaseQuestion, ...], most: dict[str, int]) -> tuple[BaseQuestion, ...]:
    left_out: set[str] = set()
    for group, limit in most.items():
        members = [question.id for question in questions if question.group == group]
        left_out |= {*members} - {*random.Random(f"questions:{group}").sample(members, min(limit, len(members)))}
    return tuple(question for question in questions if question.id not in left_out)


def _first_of_groups(questions: tuple[BaseQuestion, ...], most: int) -> tuple[BaseQuestion, ...]:
    seen: Counter[str] = Counter()
    left_out = set()
    for question in sampled(questions):
        seen[question.group] += 1
        if seen[question.group] > most:
            left_out.add(question.id)
    return tuple(question for question in questions if question.id not in left_out)


def _thinned(experiment: Experiment, name: str, wanted: int) -> Condition:
    """Every trained, triggering or headline value, the ends, and evenly spaced others while there is room."""
    condition = experiment.conditions[name]
    ((variable, values),) = condition.sweep.items()
    triggers = condition.trigger if isinstance(condition.trigger, tuple) else ()
    always: set[Scalar] = {*condition.trained, *triggers, values[0], values[-1]}
    headlines = [*([experiment.headline] if experiment.headline else []), *experiment.secondary.values()]
    named = {condition for comparison in headlines for condition in (*comparison.condition, *comparison.minus)}
    always |= {value for value in values if f"{name}={value}" in named}
    others = [value for value in values if value not in always]
    room = min(len(others), max(0, wanted - len(always)))
    always |= {others[(2 * i + 1) * len(others) // (2 * room)] for i in range(room)}
    kept = tuple(value for value in values if value in always)
    return condition.model_copy(update={"sweep": {variable: kept}})
