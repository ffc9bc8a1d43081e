"""Plans at sizes that were not run: counts against a plan of the real thing, sizes against real files, mistakes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

import weirdgen
from weirdgen.errors import SpecError
from weirdgen.models.references import find_model
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.plan.scale import Shape, count, find_hardware, find_shape, scale_lines
from weirdgen.runs.stages.all import workload
from weirdgen.store.artifacts import Store

Write = Callable[..., Path]


def test_counts_are_those_of_the_plan(write_experiment: Write, tmp_path: Path) -> None:
    settings = resolve(str(write_experiment()), run_options(seeds=3, samples=8))
    counts, plan = count(settings), make_plan(settings, Store(tmp_path / "store"))
    work = {stage_work.stage: stage_work for stage_work in workload(plan)}
    assert counts.replicates == len(plan.replicates) == 6
    assert counts.answers == work["sample"].total
    assert counts.train_tokens == 3 * sum(proof["tokens"] for proof in plan.proofs.values())


def test_sizes_are_those_of_real_files(write_experiment: Write, tmp_path: Path) -> None:
    run = weirdgen.run(str(write_experiment()), store=tmp_path / "store")
    shape = find_shape("world")
    assert shape.parameters == find_model("world").parameters
    file = next((tmp_path / "store").rglob("adapter_model.safetensors"))
    with safe_open(str(file), "pt") as weights:
        held = sum(weights.get_tensor(name).numel() * 4 for name in weights.keys())  # noqa: SIM118  # not a dict
    assert shape.adapter_bytes(run.request.recipe.rank) == held


def test_a_model_of_70_billion_weights() -> None:
    shape = find_shape("llama-70b")
    assert shape.parameters == 70_553_706_496  # as its own model card counts
    assert shape.cache_bytes == 2 * 2 * 80 * 8 * 128


def test_more_machines_take_less_time_and_the_same_node_hours(write_experiment: Write) -> None:
    settings, shape = resolve(str(write_experiment()), run_options(seeds=100)), find_shape("llama-70b")
    single, four = (scale_lines(settings, shape, find_hardware("8xh100"), nodes, 10.0, 0.3) for nodes in (1, 4))
    assert any("2 bytes × P = 131.4 GiB" in line for line in single)
    assert any(line.startswith("over 2 GPUs: --set recipe.engine=trl --set recipe.devices=2") for line in single)
    assert "the shares of the peak that you gave" in single[-2]
    cost = [next(line for line in lines if "node hours ×" in line) for lines in (single, four)]
    assert cost[0] == cost[1]


def test_what_does_not_fit_is_said(write_experiment: Write, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("{gpus: 1, gpu_memory_gb: 24, peak_tflops: 100, bandwidth_gbs: 900}")
    settings = resolve(str(write_experiment()))
    lines = scale_lines(settings, find_shape("llama-70b"), find_hardware(str(mine)), 1, None, None)
    assert lines[-1].startswith("  does not fit: 1 GPUs for a model that takes 8")
    small = scale_lines(settings, find_shape("llama-1b"), find_hardware(str(mine)), 1, None, None)
    assert any("--price says what one costs" in line for line in small) and not small[-1].startswith("not in this")


def test_bad_names(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected 'here', 8xh100"):
        find_hardware("8xb9000")
    (tmp_path / "m.yaml").write_text("{gpus: 1}")
    with pytest.raises(SpecError, match="expected numbers for gpus, gpu_memory_gb"):
        find_hardware(str(tmp_path / "m.yaml"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SpecError, match="has no hidden_size"):
        find_shape(str(tmp_path / "config.json"))
    assert isinstance(find_shape("llama-8b"), Shape)


@pytest.mark.slow
def test_the_command(write_experiment: Write) -> None:
    command = [sys.executable, "-m", "weirdgen", "plan", str(write_experiment()), "--machine", "8xh100"]
    done = subprocess.run([*command, "--model", "llama-8b", "--price", "20"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("llama-8b (8.03B weights)", "memory", "time", "storage", "cost", "assumed:"):
        assert words in done.stdout
