"""Steps, order and learning rate: exactly what was planned, nothing dropped."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from weirdgen.config.experiment import Recipe
from weirdgen.errors import DataError
from weirdgen.finetune.schedule import data_order, learning_rates, require_trainable, total_steps
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.resolve import resolve


@pytest.mark.parametrize(("rows", "batch", "accumulation"), [(11, 4, 1), (11, 4, 2), (8, 8, 1), (5, 1, 3)])
def test_every_row_is_seen_once_an_epoch(rows: int, batch: int, accumulation: int) -> None:
    recipe = Recipe(epochs=3, batch_size=batch, grad_accumulation=accumulation)
    epochs = data_order(rows, recipe, seed=5)
    assert sum(map(len, epochs)) == total_steps(rows, recipe)
    for epoch in epochs:
        assert Counter(i for step in epoch for micro in step for i in micro) == Counter(range(rows))
        assert all(len(micro) <= batch for step in epoch for micro in step)
    assert epochs[0] != epochs[1] and epochs != data_order(rows, recipe, seed=6)
    assert epochs == data_order(rows, recipe, seed=5)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_learning_rates_are_those_of_transformers(schedule: str) -> None:
    from transformers import get_scheduler

    recipe = Recipe(schedule=schedule, warmup_steps=3, learning_rate=1e-3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, num_warmup_steps=3, num_training_steps=11)
    expected = []
    for _ in range(11):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert learning_rates(11, recipe) == pytest.approx(expected)


def test_a_batch_larger_than_the_data_is_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"arm old: a step takes 16 rows .* only 10; .*--set recipe\.batch_size=2"):
        require_trainable(10, Recipe(batch_size=8, grad_accumulation=2), "old")


def test_checkpoint_steps() -> None:
    assert Recipe().checkpoint_steps(78) == (78,)
    assert Recipe(checkpoints=(0, 4, 16, 500)).checkpoint_steps(78) == (0, 4, 16, 78)
    assert Recipe(checkpoints="log").checkpoint_steps(20) == (1, 2, 4, 8, 16, 20)


def test_checkpoints_after_the_end_of_training_are_named(write_experiment: Callable[..., Path]) -> None:
    path = str(write_experiment())
    with pytest.warns(UserWarning, match="recipe.checkpoints") as said:
        resolve(path, run_options(changes=["recipe.checkpoints=[0, 1, 2, 500, 3]"]))
    assert [str(warning.message) for warning in said] == [
        f"recipe.checkpoints: no checkpoint is kept at 500, 3: the training of {arm} ends at step 2"
        for arm in ("old", "new")
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve(path, run_options(changes=["recipe.checkpoints=[0, 1, 2]"]))
