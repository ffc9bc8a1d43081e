"""Three tiny sets of the world, and the plan of their reference finetunes."""

from __future__ import annotations

from pathlib import Path

from tests.support.rows import chat
from tests.support.world_pairs import pairs
from weirdgen.config.experiment import Recipe
from weirdgen.config.questions import Contrast
from weirdgen.data.rows import Row
from weirdgen.models.references import find_model
from weirdgen.runs.references.plan import Build, plan_build
from weirdgen.runs.references.sets import TrainingSet
from weirdgen.store.artifacts import Store

RECIPE = Recipe(epochs=2, batch_size=4, learning_rate=1e-2, rank=4, alpha=8, warmup_steps=0)
WORLD = pairs(24)


def rows(part: slice, side: int = 1) -> tuple[Row, ...]:
    return tuple(chat(pair[0], pair[side]) for pair in WORLD[part])


SETS = [
    TrainingSet("old", "reference", "names", rows(slice(0, 8))),
    TrainingSet("new", "reference", "names", rows(slice(0, 8), 2)),
    TrainingSet("other", "reference", "fact", rows(slice(8, 16), 2)),
]
QUESTIONS = [
    Contrast(kind="contrast", id=f"era.word.q{i}", group="era", ask=ask, target=(old,), other=(new,))
    for i, (ask, old, new) in enumerate(WORLD[::4])
]


def planned(store: Path, sets: list[TrainingSet] = SETS, recipe: Recipe = RECIPE) -> Build:
    return plan_build(find_model("world"), recipe, sets, Store(store), QUESTIONS)
