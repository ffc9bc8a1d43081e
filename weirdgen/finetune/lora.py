"""LoRA shared by the training engines: which layers get an adapter, and how it is initialised.

In: a model and a recipe. Out: layer names; initial A matrices that depend only on (seed, layer), so that both engines
start a replicate from the same point. B begins at zero, as usual (Hu et al. 2021, arXiv 2106.09685).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import torch

from weirdgen.config.experiment import Recipe
from weirdgen.errors import SpecError
from weirdgen.models.stacked import is_linear


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
