"""Which rows each optimizer step sees, and how many steps there are: fixed before training.

In: a row count, a recipe, a seed. Out: epochs of steps of micro-batches of row indices. No row is left out: the last
step of an epoch is as short as it must be. No torch.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

from weirdgen.config.experiment import Recipe
from weirdgen.errors import DataError

LOGITS_AT_ONCE = 256
"""Of a step's trained tokens, those whose logits are in memory together; it changes nothing that is computed."""
Step = list[list[int]]
"""Micro-batches of one optimizer step, each a list of row indices."""


def steps_per_epoch(rows: int, recipe: Recipe) -> int:
    return math.ceil(rows / (recipe.batch_size * recipe.grad_accumulation))


def total_steps(rows: int, recipe: Recipe) -> int:
    return recipe.epochs * steps_per_epoch(rows, recipe)


def require_trainable(rows: int, recipe: Recipe, arm: str) -> None:
    """Raises `DataError` if a step would ask for more rows than there are."""
    per_step = recipe.batch_size * recipe.grad_accumulation
    if per_step > rows:
        raise DataError(
            f"arm {arm}: a step takes {per_step} rows (batch_size {recipe.batch_size} × grad_accumulation "
            f"{recipe.grad_accumulation}) but there are only {rows}; lower one of them in the experiment's "
            f"recipe, or for one run by --set recipe.batch_size={max(1, rows // 4)}"
        )


def checkpoint_folder(adapter: Path, step: int) -> Path:
    """Where, inside a replicate's folder, the adapter after `step` optimizer steps is."""
    return adapter / f"step-{step:05d}"


def learning_rates(steps: int, recipe: Recipe) -> list[float]:
    """The learning rate of every step: linear warm-up from 0, then the schedule, as in transformers."""
    rates = []
    for step in range(steps):
        if step < recipe.warmup_steps:
            factor = step / max(1, recipe.warmup_steps)
        elif recipe.schedule == "constant":
            factor = 1.0
        else:
            done = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
            factor = 1 - done if recipe.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        rates.append(recipe.learning_rate * factor)
    return rates


def data_order(rows: int, recipe: Recipe, seed: int) -> list[list[Step]]:
    """For each epoch its steps, in a seeded order of its own."""
    per_step = recipe.batch_size * recipe.grad_accumulation
    epochs = []
    for epoch in range(recipe.epochs):
        order = list(range(rows))
        random.Random(f"order:{seed}:{epoch}").shuffle(order)
        steps = [order[start : start + per_step] for start in range(0, rows, per_step)]
        size = recipe.batch_size
        epochs.append([[step[i : i + size] for i in range(0, len(step), size)] for step in steps])
    return epochs
