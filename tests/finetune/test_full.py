"""Full finetuning: every weight moves, a replicate is a model of its own, and a run measures it as it measures adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import weirdgen
from weirdgen.config.experiment import Recipe
from weirdgen.errors import SpecError
from weirdgen.finetune.engines import choose_engine
from weirdgen.finetune.trl import finetune
from weirdgen.models.chat import Encoded
from weirdgen.models.loading import load_model
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.resolve import resolve
from weirdgen.sample.transformers import TransformersEngine
from weirdgen.sample.variant import adapters_on_disk

FULL = Recipe(targets="full", epochs=2, batch_size=2, learning_rate=1e-3, dtype="fp32", warmup_steps=0)
ROWS = [Encoded((7, 8, 9, 10 + i, 3), (False, False, False, True, True)) for i in range(4)]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_weight_is_trained_and_kept_in_the_recipes_dtype(tiny_model: Path, tmp_path: Path, dtype: str) -> None:
    recipe = FULL.model_copy(update={"dtype": dtype})
    assert choose_engine(tiny_model, recipe, 0).engine == "trl"
    finetune(tiny_model, ROWS, recipe, 0, tmp_path)
    base = dict(load_model(tiny_model, torch.float32).named_parameters())
    kept = torch.bfloat16 if dtype == "bf16" else torch.float32
    tuned = dict(load_model(tmp_path / "step-00004", kept).named_parameters())
    assert tuned.keys() == base.keys() and all(weight.dtype == kept for weight in tuned.values())
    assert [name for name, weight in base.items() if torch.equal(weight, tuned[name].float())] == []


@pytest.mark.slow
def test_a_run_measures_whole_models(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    run = weirdgen.run(
        str(write_experiment()), store=tmp_path / "store", changes=["recipe.targets=full", "recipe.learning_rate=2e-3"]
    )
    assert run.headline.replicates == 2 and "is the base with every weight" in run.report.read_text()
    assert not list((tmp_path / "store").rglob("adapter_model.safetensors"))
    tuned = next(variant for variant in run.plan.variants if variant.arm == "old")
    (adapter,) = adapters_on_disk(run.store, [tuned])
    question = run.plan.scorables[0][2]
    engine = TransformersEngine(run.request.model.folder, run.request.dtype)
    asked = {}
    for name, folder in (("tuned", adapter), ("base", None)):
        engine.use([folder])
        asked[name] = [scored.logprob for _, scored in engine.score([question])]
    contrasts = run.contrasts().set_index(["arm", "replicate", "question"])["logit"]
    first = run.plan.scorables[0][1]
    assert contrasts["old", tuned.replicate, first] == pytest.approx(asked["tuned"][0] - asked["tuned"][1], abs=1e-3)
    assert contrasts["base"].iloc[0] == pytest.approx(asked["base"][0] - asked["base"][1], abs=1e-3)  # and back again
    with pytest.raises(ValueError, match="must be used alone"):
        engine.use([adapter, None])


def test_what_full_finetuning_cannot_do_is_said(write_experiment: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="takes adapters only"):
        resolve(str(write_experiment()), run_options(changes=["recipe.targets=full"], engine="vllm:http://localhost:1"))
