"""One replicate over two processes equals one process, whatever the rows; what fails there is said; devices decide no key.

On gloo and the CPU, through accelerate's own code. Not covered: GPUs (NCCL), more than two processes, several machines.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

import weirdgen
from tests.finetune.test_replicas import RECIPE, rows
from weirdgen import machine
from weirdgen.config.experiment import Recipe
from weirdgen.errors import SpecError
from weirdgen.finetune.engines import choose_engine
from weirdgen.finetune.schedule import data_order
from weirdgen.finetune.sharded import ShardingError, finetune_sharded
from weirdgen.finetune.trl import _Batches, finetune
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.preview import plan_lines
from weirdgen.runs.stages.finetune import Finetune, groups
from weirdgen.store.artifacts import Store

GIB = 2**30
TRL = Recipe(engine="trl", dtype="bf16")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpu_memory", lambda: [10 * GIB, 10 * GIB])


@pytest.fixture(scope="session")
def untied_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_model`, with a head of its own: accelerate shards it otherwise."""
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("untied_model")
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(tiny_model)
    config.tie_word_embeddings = False
    LlamaForCausalLM(config).save_pretrained(str(folder))
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("tiny_model", {}),
        ("untied_model", {"grad_accumulation": 2, "schedule": "cosine"}),
        ("tiny_model", {"batch_size": 1, "epochs": 1, "targets": ("q_proj", "down_proj")}),
        ("tiny_model", {"targets": "full"}),
        ("untied_model", {"targets": "full", "grad_accumulation": 2}),
    ],
    ids=["LoRA", "own head, accumulation", "idle process", "every weight", "every weight, own head, accumulation"],
)
def test_two_processes_equal_one(
    request: pytest.FixtureRequest, tmp_path: Path, model: str, changes: dict[str, object]
) -> None:
    """11 rows in batches of 4: the last one, of 3, is dealt out unevenly."""
    folder, recipe, data = request.getfixturevalue(model), RECIPE.model_copy(update=changes), rows(shared=True)
    alone, both = tmp_path / "alone", tmp_path / "both"
    alone.mkdir()
    both.mkdir()
    told: dict[str, list[tuple[int, int]]] = {"alone": [], "both": []}
    finetune(folder, data, recipe, 3, alone, lambda step, of, _: told["alone"].append((step, of)))
    finetune_sharded(folder, data, recipe, 3, both, lambda step, of, _: told["both"].append((step, of)), 2)
    assert told["both"] == told["alone"]
    ours, theirs = (json.loads((made / "losses.json").read_text()) for made in (both, alone))
    for left, right in zip(ours, theirs, strict=True):
        assert left == pytest.approx(right, rel=1e-5)
    assert sorted(p.name for p in both.glob("step-*")) == sorted(p.name for p in alone.glob("step-*"))
    for file in alone.glob("step-*/*"):
        assert (both / file.relative_to(alone)).is_file()
        if file.suffix == ".safetensors":
            left, right = load_file(both / file.relative_to(alone)), load_file(file)
            assert left.keys() == right.keys()
            for name, weight in right.items():
                assert (left[name] - weight).norm() <= 1e-5 * weight.norm(), name


@pytest.mark.slow
def test_a_killed_worker_ends_the_training_and_leaves_nothing_running(tiny_model: Path, tmp_path: Path) -> None:
    killed: list[psutil.Process] = []

    def kill(*_: object) -> None:
        if not killed:
            launcher = next(p for p in psutil.Process().children() if "torch.distributed.run" in p.cmdline())
            killed.extend([launcher, *launcher.children(recursive=True)])
            os.kill(killed[-1].pid, signal.SIGKILL)

    with pytest.raises(ShardingError, match=r"(?s)over 2 processes failed.*SIGKILL"):
        finetune_sharded(tiny_model, rows(shared=True), RECIPE.model_copy(update={"epochs": 500}), 0, tmp_path, kill, 2)
    assert len(killed) == 3 and not any(process.is_running() for process in killed)


@pytest.mark.slow
def test_devices_change_no_key(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    experiment, changes = str(write_experiment()), ["recipe.engine=trl", "recipe.devices=2"]
    run = weirdgen.run(experiment, seeds=1, samples=0, changes=changes, store=tmp_path / "store")
    assert "sharded over 2 devices" in "\n".join(plan_lines(run.plan))
    facts = json.loads(next((tmp_path / "store").rglob("result.json")).read_text())
    assert facts["devices"] == 2
    again = make_plan(
        resolve(experiment, run_options(seeds=1, samples=0, changes=changes[:1])), Store(tmp_path / "store")
    )
    assert again.folder == run.plan.folder and groups(again) == []


class _Unreadable:
    """Fails where a worker reads its job, long before it has imported trl."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return int, ("no seed",)


@pytest.mark.slow
def test_what_a_worker_says_last_is_in_the_error(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardingError, match=r"(?s)over 2 processes failed.*ValueError: invalid literal .* 'no seed'"):
        finetune_sharded(tiny_model, rows(shared=True), RECIPE, _Unreadable(), tmp_path / "made", None, 2)  # type: ignore[arg-type]
    assert not (tmp_path / "made").exists()


def test_rows_of_a_batch_are_dealt_out_once_and_an_idle_process_trains_on_none() -> None:
    order = data_order(5, Recipe(epochs=2, batch_size=4), 0)
    first, second = _Batches(order, 0, 2, idle=5), _Batches(order, 1, 2, idle=5)
    for epoch in order:
        for left, right, (whole,) in zip(first, second, epoch, strict=True):
            assert sorted(left + right) == sorted(whole if len(whole) > 1 else [*whole, 5])


def test_several_devices_are_taken_where_one_cannot_hold_the_weights(tiny_model: Path, two_gpus: None) -> None:
    small, large = 4 * GIB, 5 * GIB  # 8 and 10 GiB in bf16
    assert choose_engine(tiny_model, TRL, small).devices == 1
    chosen = choose_engine(tiny_model, TRL, large)
    assert chosen.devices == 2 and "10.0 GiB of weights are too many for one GPU of 10.0 GiB" in chosen.reason
    assert choose_engine(tiny_model, TRL.model_copy(update={"devices": 1}), large).devices == 1
    assert choose_engine(tiny_model, TRL.model_copy(update={"targets": "full"}), GIB).devices == 2


def test_auto_resolves_to_trl_where_replicas_would_not_fit(
    write_experiment: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, two_gpus: None
) -> None:
    experiment = str(write_experiment())
    assert resolve(experiment).recipe.engine == "auto"
    monkeypatch.setattr(machine, "gpu_memory", lambda: [2**16, 2**16])
    assert resolve(experiment).recipe.engine == "trl"
    assert resolve(experiment, run_options(changes=["recipe.devices=1"])).recipe.engine == "auto"


def test_a_cluster_is_asked_for_as_many_gpus(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    request = resolve(str(write_experiment()), run_options(changes=["recipe.engine=trl", "recipe.devices=2"]))
    units, *_ = Finetune().batch(make_plan(request, Store(tmp_path / "store")))
    assert [unit.needs().gpus for unit in units] == [2] * 4


def test_what_several_devices_cannot_do_is_said(tiny_model: Path, two_gpus: None, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"recipe\.devices: 2: replicas .* recipe\.engine=trl"):
        choose_engine(tiny_model, Recipe(devices=2), 0)
    with pytest.raises(SpecError, match=r"recipe\.dropout: 0\.1"):
        choose_engine(tiny_model, Recipe(devices=2, dropout=0.1), 0)
    with pytest.raises(ShardingError, match=r"this machine has 2 GPUs; --set recipe\.devices=2"):
        finetune_sharded(tiny_model, rows(shared=True), RECIPE, 0, tmp_path, None, 4)


def test_devices_are_kept_through_changes_and_in_no_dump() -> None:
    recipe = Recipe(devices=2).with_changes({"epochs": 1})
    assert recipe.devices == 2 and recipe.model_dump(mode="json") == Recipe(epochs=1).model_dump(mode="json")
