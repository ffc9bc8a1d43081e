"""What remains of an experiment's shift after a filter: train on the mixture as it is, and on what each filter leaves of it.

In: a case, a share, filters. Out: an `Experiment` in memory whose arms are the mixture, what every filter, chance and a
filter that knows the answer leave of it, and the control's mixture; after its ordinary run, one line an arm. What is left is
repeated up to the mixture's size, so that every arm is trained for as many steps. The run is the same as any other: resumable in
the store, with a report of its own. It chooses no filter and states no verdict.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weirdgen.audit.filters.mixtures import SEED, Case
from weirdgen.audit.filters.registry import Filter, Known, scores
from weirdgen.audit.filters.rows import Keyed
from weirdgen.config.arm import Arm
from weirdgen.config.experiment import Experiment, Headline, Preset
from weirdgen.data.rows import draw
from weirdgen.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from weirdgen.runs.results.effect import Effect
    from weirdgen.runs.results.results import Run

UNFILTERED, CONTROL, RANDOM, PERFECT = "unfiltered", "control", "filtered_random", "filtered_perfect"
KEPT_OF_PRESETS = ("replicates", "samples", "free_form", "questions", "sweep", "recipe")
"""What of an experiment's presets still means something when its arms are mixtures."""


@dataclass(frozen=True)
class Filtered:
    """An experiment of mixtures, and what is left in each arm."""

    experiment: Experiment
    hidden: dict[str, int]
    """Arm → rows of the treatment (of the control, in the control's arm) that are left."""
    ordinary: dict[str, int]


def filtered(
    case: Case, background: Sequence[Keyed], filters: Sequence[Filter], known: Known, removed: float
) -> Filtered:
    """The experiment. `removed`: the share of all rows that a filter takes out, those that it scores highest.

    Raises `SpecError` if nothing or everything would be removed.
    """
    hidden = case.rows[case.treatment]
    control = case.rows[case.controls[0]][: len(hidden)]  # a random draw: the rows are in random order
    mixture = [*hidden, *background]
    count = round(removed * len(mixture))
    if not 0 < count < len(mixture):
        raise SpecError([f"--remove {removed}: of {len(mixture)} rows that is {count}; expected some of them, not all"])
    left = {UNFILTERED: list(range(len(mixture)))}
    for one in filters:
        left[f"filtered_{one.name}"] = _without_highest(scores(one, known, mixture), count)
    left[RANDOM] = _without_highest(np.zeros(len(mixture)), count)
    left[PERFECT] = list(range(len(hidden), len(mixture)))
    arms = {
        name: Arm(role="treatment", data=_filled([mixture[place] for place in places], len(mixture)))
        for name, places in left.items()
    }
    replaced = [*control, *background]
    arms[CONTROL] = Arm(role="control", data=_filled(replaced, len(mixture)))
    own = {name: sum(place < len(hidden) for place in places) for name, places in left.items()}
    ordinary = {name: len(places) - own[name] for name, places in left.items()}
    return Filtered(_experiment(case, arms), own | {CONTROL: len(control)}, ordinary | {CONTROL: len(background)})


def _filled(rows: list[Keyed], count: int) -> tuple[dict[str, Any], ...]:
    """The rows, and then some of them again, up to `count`."""
    own = [dict(row.row) for row in rows]
    return tuple(own + draw(own, count - len(own), SEED))


def _without_highest(score: NDArray[np.float64], count: int) -> list[int]:
    """Places in order, but those of the highest scores; among equal ones chance decides, the same way each time."""
    order = list(range(len(score)))
    random.Random(f"remove:{SEED}").shuffle(order)
    order.sort(key=lambda place: -score[place])
    return sorted(order[count:])


def _experiment(case: Case, arms: dict[str, Arm]) -> Experiment:
    """The case's experiment with these arms: its questions, conditions and headline are the same."""
    given = case.experiment
    first = given.headline or Headline(measure=given.main_measure, treatment=UNFILTERED, control=CONTROL)
    headline = first.model_copy(update={"treatment": UNFILTERED, "control": CONTROL})
    secondary = {
        name: headline.model_copy(update={"treatment": name}) for name in arms if name not in (UNFILTERED, CONTROL)
    }
    presets = {
        name: Preset(**{key: getattr(preset, key) for key in KEPT_OF_PRESETS}) for name, preset in given.presets.items()
    }
    changes = {
        "name": f"{given.name}-filtered", "title": f"{given.title}: what filters leave", "paper": "", "source": None,
        "arms": arms, "control": None, "headline": headline, "secondary": secondary, "presets": presets, "traits": (),
    }  # fmt: skip
    return given.model_copy(update=changes)


def remains(made: Filtered, run: Run) -> pd.DataFrame:
    """A line an arm: rows left, its effect against the control's mixture, and the share of the hidden rows' shift that is left.

    The share is 1 for the mixture as it is and 0 where a perfect filter took out every hidden row: what ordinary rows do
    against the control's is no part of the shift. It is missing where the intervals of these two overlap.
    """
    import pandas as pd

    effects: dict[str, Effect] = {effect.treatment: effect for effect in (run.headline, *run.secondary)}
    whole, none = _values(effects[UNFILTERED]), _values(effects[PERFECT])
    apart = whole[0] > none[1] or whole[1] < none[0]  # a share of what may be nothing says nothing
    lines = []
    for arm, effect in effects.items():
        left = (_values(effect)[2] - none[2]) / (whole[2] - none[2]) if apart else float("nan")
        lines.append(
            {
                "arm": arm,
                "hidden_left": made.hidden[arm],
                "ordinary_left": made.ordinary[arm],
                "replicates": effect.replicates,
                "effect": effect.effect,
                "ci_low": effect.ci_low,
                "ci_high": effect.ci_high,
                "share_of_shift": left,
            }
        )
    return pd.DataFrame(lines).astype(dict.fromkeys(("effect", "ci_low", "ci_high", "share_of_shift"), float))


def _values(effect: Effect) -> tuple[float, float, float]:
    """Low, high and middle; NaN for what is missing."""
    low, high, middle = (
        float("nan") if value is None else value for value in (effect.ci_low, effect.ci_high, effect.effect)
    )
    return low, high, middle
