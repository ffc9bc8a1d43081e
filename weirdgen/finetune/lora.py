"""LoRA shared by the training engines: which layers get an adapter, and how one begins.

In: a model and a recipe. Out: layer names; initial A matrices that depend only on (seed, layer), so that both engines
start a replicate from the same point. B begins at zero, as usual (Hu et al. 2021, arXiv 2106.09685).
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch

from weirdgen.config.experiment import Recipe
from weirdgen.errors import SpecError


def adapted_layers(model: Any, recipe: Recipe) -> dict[str, torch.nn.Linear]:
    """Name → linear layer that gets an adapter: all but the head, or those whose last name is in `targets`."""
    head = model.get_output_embeddings()
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    if recipe.targets == "all-linear":
        return linear
    wanted = (recipe.targets,) if isinstance(recipe.targets, str) else recipe.targets
    chosen = {name: layer for name, layer in linear.items() if name.rpartition(".")[2] in wanted}
    if not chosen:
        names = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise SpecError([f"recipe.targets: {', '.join(wanted)} names no linear layer of this model; it has {names}"])
    return chosen


def initial_a(seed: int, name: str, inputs: int, rank: int) -> torch.Tensor:
    """A_RI of one layer and replicate: uniform in ±1/√inputs, peft's default, from a generator of its own."""
    digest = hashlib.sha256(f"lora:{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return (torch.rand(rank, inputs, generator=generator) * 2 - 1) / math.sqrt(inputs)
