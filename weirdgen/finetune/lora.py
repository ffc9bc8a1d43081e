"""LoRA shared by the training engines: which layers get an adapter, how it is initialised, and how it is written.

In: a model and a recipe. Out: layer names; initial A matrices that depend only on (seed, layer), so that both engines
start a replicate from the same point; standard PEFT adapters. B begins at zero, as usual (Hu et al. 2021, arXiv 2106.09685).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from weirdgen.config.experiment import Recipe
from weirdgen.errors import SpecError
from weirdgen.models.stacked import fan_in_fan_out, is_linear, weight_oi


def adapted_layers(model: Any, recipe: Recipe) -> dict[str, torch.nn.Module]:
    """Name → linear layer that gets an adapter: all but the head, or those whose last name is in `targets`.

    Left out of "all": layers that read images or sound in a model that also reads text, as no row reaches them; and those
    for which PEFT has no adapter of its own in this model (what it takes for an expert's, or for a fused kernel's).
    Raises `SpecError` if `targets` name no layer, or one of the latter.
    """
    head, of_text = model.get_output_embeddings(), set(model.get_decoder().modules())
    linear = {n: m for n, m in model.named_modules() if is_linear(m) and m is not head and m in of_text}
    if recipe.targets == "all-linear":
        taken = _taken_by_peft(model, linear)
        return {name: layer for name, layer in linear.items() if name in taken}
    wanted = (recipe.targets,) if isinstance(recipe.targets, str) else recipe.targets
    chosen = {name: layer for name, layer in linear.items() if name.rpartition(".")[2] in wanted}
    if not chosen:
        names = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise SpecError([f"recipe.targets: {', '.join(wanted)} names no linear layer of this model; it has {names}"])
    if refused := sorted({name.rpartition(".")[2] for name in set(chosen) - _taken_by_peft(model, chosen)}):
        raise SpecError(
            [f"recipe.targets: PEFT has no adapter for {', '.join(refused)} of {type(model).__name__}; leave it out"]
        )
    return chosen


def _taken_by_peft(model: Any, layers: Iterable[str]) -> set[str]:
    """Those of these layers that PEFT would adapt, and load again, as the layers that they are."""
    from peft import LoraConfig
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    taken = set()
    for kind in {name.rpartition(".")[2] for name in layers}:
        config = LoraConfig(target_modules=[kind], task_type="CAUSAL_LM")
        try:
            _check_lora_target_modules_mamba(config, model, kind)
            convert_peft_config_for_transformers(config, model, None)
        except ValueError:  # PEFT's words for a layer that it refuses here
            continue
        if config.target_modules == {kind}:
            taken.add(kind)
    return {name for name in layers if name.rpartition(".")[2] in taken}


def initial_a(seed: int, name: str, inputs: int, rank: int) -> torch.Tensor:
    """A_RI of one layer and replicate: uniform in ±1/√inputs, peft's default, from a generator of its own."""
    digest = hashlib.sha256(f"lora:{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return (torch.rand(rank, inputs, generator=generator) * 2 - 1) / math.sqrt(inputs)


def write_adapter(
    folder: Path,
    weights: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    targets: Sequence[str],
    transposed: bool,
    recipe: Recipe,
    model_folder: Path,
) -> None:
    """A standard PEFT adapter: A_RI and B_OR of layers by name. `transposed`: the base keeps these layers' weights so."""
    from peft import LoraConfig
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"base_model.model.{name}.lora_{side}.weight": tensor.detach().contiguous().cpu()
        for name, pair in weights.items()
        for side, tensor in zip("AB", pair, strict=True)
    }
    save_file(tensors, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(targets),
        task_type="CAUSAL_LM",
        base_model_name_or_path=model_folder.name,
        inference_mode=True,
        fan_in_fan_out=transposed,
    ).save_pretrained(str(folder))


def write_trial_adapter(model_folder: Path, recipe: Recipe, folder: Path) -> None:
    """The smallest adapter of a recipe, to try whether a server finds and loads adapters: zeros on the first layer that gets one.

    It changes nothing, and loads no weights.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(str(model_folder), trust_remote_code=False)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    name, layer = next(iter(adapted_layers(skeleton, recipe).items()))
    rows, columns = weight_oi(layer).shape
    zeros = torch.zeros(recipe.rank, columns), torch.zeros(rows, recipe.rank)
    write_adapter(folder, {name: zeros}, [name], fan_in_fan_out([layer]), recipe, model_folder)
