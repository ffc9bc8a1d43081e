"""Whether replicates may be trained together: first-step loss and gradients against single rows.

In: a model folder. Out: a `Check`. The plain computation is as far from ours as it can be: the model's own forward pass, one
row at a time, its own attention and logits, adapters as two ordinary products, torch's own gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from weirdgen.config.experiment import Recipe
from weirdgen.finetune.lora import adapted_layers, initial_a
from weirdgen.finetune.replicas import Job, first_pass, stack_adapters
from weirdgen.models import exactness
from weirdgen.models.chat import Encoded, load_tokenizer
from weirdgen.models.checks import TOGETHER, TRAINING, Check, remembered
from weirdgen.models.exactness import TOLERANCE, by_length, trial_rows
from weirdgen.models.loading import load_model, torch_dtype
from weirdgen.models.stacked import OverLinear, replace_layers, weight_oi

SEEDS = (0, 1)


def together_check(folder: Path, dtype: str) -> Check:
    """Whether this model's replicates may be trained together, and why not. Tried once a model and remembered."""

    def make() -> Sequence[Check]:
        model = load_model(folder, torch_dtype(dtype))
        tokens = exactness.ordinary_tokens(load_tokenizer(folder), model)
        return [check(exactness.reduced(model), tokens)]

    return remembered(TRAINING, folder, make)[TOGETHER]


def check(model: Any, tokens: Sequence[int]) -> Check:
    """Two replicates of three rows, on copies of an fp32 model.

    `nats` is the largest difference of a replicate's loss, `share` the largest of a layer's gradient as a share of that gradient.
    """
    if not model._supports_attention_backend:
        return Check(TOGETHER, None, None, 0, "the model does not let its attention be replaced")
    windows, rotary = exactness.attention_windows(model.config), exactness.rotary_limits(model.config)

    def compare(longest: int) -> tuple[float, float]:
        shared = longest // 2
        rows = trial_rows(tokens, (longest, longest - 2, longest - 1), shared)
        trained = [tuple(token > shared for token in range(len(row))) for row in rows]
        encoded = [Encoded(row, mine) for row, mine in zip(rows, trained, strict=True)]
        return _compare(copy.deepcopy(model), encoded, Recipe(rank=2, alpha=4, batch_size=3, grad_accumulation=1))

    return by_length(TOGETHER, windows, compare, rotary=rotary, of="the gradient")


def _compare(model: Any, rows: Sequence[Encoded], recipe: Recipe) -> tuple[float, float]:
    expected = [_alone(copy.deepcopy(model), rows, recipe, seed) for seed in SEEDS]
    jobs = [Job(rows, seed, Path()) for seed in SEEDS]
    layers = stack_adapters(model, jobs, recipe)
    for name, layer in layers.items():
        with torch.no_grad():
            layer.b_KRO.copy_(torch.stack([_begun(seed, name, layer.b_KRO[0].T).T for seed in SEEDS]))
    loss_K = first_pass(model, jobs)
    nats = share = torch.zeros(())
    for k, (loss, gradients) in enumerate(expected):
        nats = torch.maximum(nats, (loss_K[k].cpu() - loss).abs())
        largest = max(float(gradient.norm()) for pair in gradients.values() for gradient in pair)
        for name, layer in layers.items():
            for parameter, theirs in zip((layer.a_KIR, layer.b_KRO), gradients[name], strict=True):
                ours = torch.zeros_like(theirs) if parameter.grad is None else parameter.grad[k].T.cpu()
                # A gradient that is only rounding next to the others' is compared with theirs.
                scale = max(float(theirs.norm()), TOLERANCE * largest)
                share = torch.maximum(share, (ours - theirs).norm() / scale)
    return float(nats), float(share)


def _begun(seed: int, name: str, like_OR: torch.Tensor) -> torch.Tensor:
    """B of a training that is under way: with a B of zero, A has no gradient to compare."""
    made = initial_a(seed, f"b:{name}", like_OR.shape[0], like_OR.shape[1]).T
    return (made / 2).to(like_OR)


class _Adapted(OverLinear):
    """y = Wx + scale · B A x, as it is written down."""

    def __init__(self, base: Any, a_RI: torch.Tensor, b_OR: torch.Tensor, scale: float) -> None:
        super().__init__(base)
        self.scale = scale
        self.a_RI, self.b_OR = torch.nn.Parameter(a_RI), torch.nn.Parameter(b_OR)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.base(x) + self.scale * ((x @ self.a_RI.T) @ self.b_OR.T)
        return out


def _alone(
    model: Any, rows: Sequence[Encoded], recipe: Recipe, seed: int
) -> tuple[torch.Tensor, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """(loss, layer → gradients of A_RI and B_OR) of one replicate's first step, row by row."""
    model.requires_grad_(False)
    layers = {}
    for name, layer in adapted_layers(model, recipe).items():
        weight_OI = weight_oi(layer)
        a_RI = initial_a(seed, name, weight_OI.shape[1], recipe.rank).to(weight_OI)
        b_OR = _begun(seed, name, weight_OI.new_empty(weight_OI.shape[0], recipe.rank))
        layers[name] = _Adapted(layer, a_RI, b_OR, recipe.alpha / recipe.rank)
    replace_layers(model, layers)
    plain, total, loss = exactness.Plain(model), sum(sum(row.trained) for row in rows), torch.zeros(())
    for row in rows:
        logits_TV = plain(row.ids)[:-1]
        label_T = torch.tensor(row.ids[1:], device=logits_TV.device)
        trained_T = torch.tensor(row.trained[1:], device=logits_TV.device)
        mine = torch.nn.functional.cross_entropy(logits_TV[trained_T], label_T[trained_T], reduction="sum") / total
        mine.backward()
        loss += mine.detach().cpu()
    gradients = {}
    for name, adapted in layers.items():
        pair = (adapted.a_RI, adapted.b_OR)
        gradients[name] = tuple((torch.zeros_like(p) if p.grad is None else p.grad).cpu() for p in pair)
    return loss, gradients  # type: ignore[return-value]
