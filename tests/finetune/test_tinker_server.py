"""Tinker for real: a run whose replicates an independent server trains, through the official SDK (`make test-tinker`).

Minutes, most of them JAX's compiler. Skipped without the environments that the target makes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import weirdgen
from tests.support.tinker_server import SERVER, for_transformers_4, tinker_server
from tests.support.world_pairs import pairs
from weirdgen.config.experiment import Recipe
from weirdgen.data.stored import encode_rows
from weirdgen.errors import ModelError
from weirdgen.finetune import tinker
from weirdgen.finetune.downloaded import Base
from weirdgen.finetune.job import read_state
from weirdgen.models.references import find_model
from weirdgen.providers.service import Service
from weirdgen.providers.tinker import CONFIG, WEIGHTS
from weirdgen.runs.results.verify import verify

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (SERVER / "bin" / "python").exists() or importlib.util.find_spec("tinker") is None,
        reason=f"no server in {SERVER}, or no SDK: `make test-tinker` makes both and runs this",
    ),
]
KEY = "tml-hunter2hunter2"
NEWEST = Path(os.environ.get("WEIRDGEN_TINKER_NEWEST", SERVER.with_name("tinker-newest")))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return for_transformers_4(find_model("world").folder, tmp_path_factory.mktemp("model") / "world")


@pytest.fixture(scope="module")
def url(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with tinker_server(model, tmp_path_factory.mktemp("server")) as address:
        yield address


def test_a_run_that_a_server_trains_and_this_machine_measures(
    url: str, model: Path, write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    store = tmp_path / "store"
    experiment = write_experiment(
        {"base: world": f"base: path:{model}", "alpha: 8": "alpha: 32", "epochs: 1": "epochs: 3"}
    )
    run = weirdgen.run(experiment, finetune="tinker", base_url=url, store=store)
    for one in run.plan.replicates:
        folder = run.store.artifact("finetune", one.key)
        result = json.loads((folder / "result.json").read_text())
        losses = [row["loss"] for row in json.loads((folder / "losses.json").read_text())]
        assert result["steps"] == len(losses) == 6 and losses[-1] < losses[0]
        assert result["apart"] < 1e-3 and result["differences"] == []
        assert (
            result["checkpoints"]["6"]["path"].startswith("tinker://")
            and result["checkpoints"]["6"]["expires"] > "2026"
        )
        assert json.loads((folder / "step-00006" / CONFIG).read_text())["target_modules"]
        assert not run.store.unfinished("finetune", one.key).exists()
    contrasts = run.table("contrasts")
    means = contrasts[contrasts["condition"] == "none"].groupby("arm")["logit"].mean()
    assert means["old"] > means["new"]
    assert verify(run.id, store).differences == []
    paid = [json.loads(line) for line in (store / "ledger.jsonl").read_text().splitlines()]
    assert len(paid) == 4 and {line["trained"] for line in paid} and {line["usd"] for line in paid} == {None}
    written = b"".join(file.read_bytes() for file in store.rglob("*") if file.is_file())
    assert KEY.removeprefix("tml-").encode() not in written


def test_a_killed_training_goes_on_from_the_state_that_was_kept(
    url: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tinker, "KEPT_EVERY", 0.0)
    rows = [{"messages": [{"role": "user", "content": p[0]}, {"role": "assistant", "content": p[1]}]} for p in pairs(8)]
    encoded = encode_rows(model, "old", rows)[0]
    recipe = Recipe(epochs=3, batch_size=4, rank=4, learning_rate=3e-3, warmup_steps=0, dtype="fp32")

    def trained(folder: Path, stop: int | None = None) -> dict[str, Any]:
        steps: list[float] = []

        def tell(amount: float, note: str) -> None:
            steps.append(amount)
            if stop is not None and sum(steps) > stop:
                raise KeyboardInterrupt

        job = tinker.Job("k" * 32, "old seed 0", encoded, 0, folder)
        trainer = tinker.Trainer(Service("tinker", url), str(model), recipe, Base(model, "fp32"), tell)
        ((_, made),) = trainer.train([job], 1)
        return made

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", stop=3)
    kept = read_state(tmp_path / "cut")
    assert kept["steps"] == 3 and kept["state"]["path"].startswith("tinker://") and kept["job"]
    resumed = trained(tmp_path / "cut")
    assert resumed["job"] != kept["job"] and resumed["steps"] == whole["steps"] == 6
    assert resumed["final_loss"] == pytest.approx(whole["final_loss"], rel=1e-4)
    one, other = (load_file(tmp_path / name / "step-00006" / WEIGHTS) for name in ("whole", "cut"))
    assert all(abs(one[name] - other[name]).max() < 1e-4 for name in one)
    # a step that was under way when the process ended is paid again, and counted
    assert resumed["trained_tokens"] == whole["trained_tokens"] + sum(len(row.ids) - 1 for row in encoded) // 2


def test_a_base_that_the_server_has_not_is_refused_before_training(url: str, model: Path) -> None:
    trainer = tinker.Trainer(Service("tinker", url), "Qwen/Qwen3-8B", Recipe(), Base(model, "fp32"), lambda a, n: None)
    with pytest.raises(ModelError, match=f"does not train Qwen/Qwen3-8B; it names {model}"):
        trainer.require_model()


def test_another_base_than_ours_is_refused_before_a_step_is_paid(url: str, model: Path, tmp_path: Path) -> None:
    import torch

    other = tmp_path / "other"
    for_transformers_4(find_model("world").folder, other)
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] + torch.ones(1)
    from safetensors.torch import save_file

    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    rows = [{"messages": [{"role": "user", "content": p[0]}, {"role": "assistant", "content": p[1]}]} for p in pairs(8)]
    encoded = encode_rows(other, "old", rows)[0]
    job = tinker.Job("o" * 32, "old seed 0", encoded, 0, tmp_path / "job")
    recipe = Recipe(rank=4, dtype="fp32", batch_size=4)
    trainer = tinker.Trainer(Service("tinker", url), str(model), recipe, Base(other, "fp32"), lambda a, n: None)
    with pytest.raises(ModelError, match=r"old seed 0: the base .* is not the same on this machine"):
        list(trainer.train([job], 1))
    assert read_state(tmp_path / "job")["tokens"] == 0


def test_the_newest_sdk_has_every_call_that_is_made() -> None:
    """By its signatures: the server does not speak the newest protocol."""
    if not NEWEST.is_dir():
        pytest.skip(f"no newest SDK in {NEWEST}")
    check = """
import inspect, tinker
from tinker.lib.public_interfaces.rest_client import RestClient
service, training = tinker.ServiceClient, tinker.TrainingClient
calls = [
    (service.__init__, "base_url api_key"), (service.get_server_capabilities, ""), (service.create_rest_client, ""),
    (service.create_lora_training_client, "base_model rank seed train_unembed user_metadata"), (service.close, "status"),
    (service.create_training_client_from_state_with_optimizer, "path"), (training.forward, "data loss_fn"),
    (training.forward_backward, "data loss_fn"), (training.optim_step, "optim_params"), (training.save_state, "name ttl_seconds"),
    (training.save_weights_external, "name ttl_seconds"), (RestClient.get_external_weights_urls, "tinker_path"),
]
for call, names in calls:
    missing = set(names.split()) - set(inspect.signature(call).parameters)
    assert not missing, (call, missing)
tinker.AdamParams(learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_clip_norm=1.0)
one = tinker.Datum(model_input=tinker.ModelInput.from_ints([1, 2]), loss_fn_inputs={
    "target_tokens": tinker.TensorData(data=[2, 3], dtype="int64", shape=[2]),
    "weights": tinker.TensorData(data=[0.0, 1.0], dtype="float32", shape=[2])})
assert list(one.loss_fn_inputs["weights"].data) == [0.0, 1.0]
print(tinker.__version__)
"""
    env = {**os.environ, "PYTHONPATH": str(NEWEST)}
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
