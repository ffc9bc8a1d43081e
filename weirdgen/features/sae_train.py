"""Trains a sparse autoencoder on hidden states: BatchTopK, small, on a processor in minutes.

In: hidden states without attention-holding tokens. Out: an `Sae` that takes raw hidden states and fires above one threshold.

Sources: Bussmann et al., "BatchTopK Sparse Autoencoders" (2412.06410); Gao et al., "Scaling and evaluating sparse autoencoders"
(2406.04093), for the loss that revives dead features; the initialisation of dictionary_learning (Marks et al.).

Shape letters: N tokens, B tokens of a batch, D hidden width, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from weirdgen.features.sae import Sae

AUX_WEIGHT = 1 / 32
SILENT_TOKENS = 50_000
"""A feature that has not fired for so many tokens counts as dead, and is trained on what the others leave."""
THRESHOLD_MEMORY = 0.99
WARM_UP_STEPS = 50
"""Over which the learning rate rises."""


@dataclass(frozen=True)
class SaeRecipe:
    """Sizes of an autoencoder and its training. `tokens` counts tokens shown, repetitions too."""

    features: int
    k: int
    tokens: int
    batch: int = 1024
    learning_rate: float = 1e-3
    seed: int = 0


def train(x_ND: torch.Tensor, recipe: SaeRecipe, tell: Callable[[int], None] = lambda _: None) -> Sae:
    """The trained autoencoder, `scale` folded in. The same states, recipe and machine give the same one."""
    generator = torch.Generator().manual_seed(recipe.seed)
    width = x_ND.shape[1]
    scale = width**0.5 / float(x_ND.float().norm(dim=1).mean())
    start_FD = torch.nn.functional.normalize(torch.randn(recipe.features, width, generator=generator), dim=1)
    w_dec_FD, w_enc_DF = (t.to(x_ND.device).requires_grad_() for t in (start_FD.clone(), start_FD.T.contiguous()))
    b_dec_D = (x_ND.float().mean(0) * scale).requires_grad_()
    b_enc_F = torch.zeros(recipe.features, device=x_ND.device, requires_grad=True)
    weights = [w_enc_DF, b_enc_F, w_dec_FD, b_dec_D]
    optimizer = torch.optim.Adam(weights, lr=recipe.learning_rate, fused=True)
    steps = max(1, recipe.tokens // recipe.batch)
    silent_F = torch.zeros(recipe.features, device=x_ND.device)
    threshold = -1.0
    order = torch.empty(0, dtype=torch.long)
    for step in range(steps):
        if len(order) < recipe.batch:
            order = torch.cat([order, torch.randperm(len(x_ND), generator=generator)])
        taken, order = order[: recipe.batch], order[recipe.batch :]
        x_BD = x_ND[taken].float() * scale
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(
                1.0, (step + 1) / WARM_UP_STEPS, (steps - step) / max(1.0, 0.2 * steps)
            )
        pre_BF = torch.relu((x_BD - b_dec_D) @ w_enc_DF + b_enc_F)
        kept = min(recipe.k * len(x_BD), pre_BF.numel())
        least = float(pre_BF.detach().flatten().topk(kept).values[-1])
        activation_BF = pre_BF * (pre_BF >= max(least, 1e-9))
        threshold = least if threshold < 0 else THRESHOLD_MEMORY * threshold + (1 - THRESHOLD_MEMORY) * least
        rest_BD = x_BD - activation_BF @ w_dec_FD - b_dec_D
        spread = (x_BD - x_BD.mean(0)).square().sum().clamp(min=1e-9)
        loss = rest_BD.square().sum() / spread
        fired_F = (activation_BF.detach() > 0).any(0)
        silent_F = torch.where(fired_F, 0.0, silent_F + len(x_BD))
        dead_F = silent_F > SILENT_TOKENS
        if dead_F.any():
            loss = loss + AUX_WEIGHT * _revive(rest_BD.detach(), pre_BF[:, dead_F], w_dec_FD[dead_F], width // 2)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            gradient = w_dec_FD.grad
            if gradient is not None:  # of unit rows only what turns them counts
                gradient -= (gradient * w_dec_FD).sum(1, keepdim=True) * w_dec_FD
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            w_dec_FD /= w_dec_FD.norm(dim=1, keepdim=True).clamp(min=1e-12)
        tell(len(x_BD))
    fixed = [tensor.detach() for tensor in weights]
    return Sae(fixed[0], fixed[1], fixed[2], fixed[3], "threshold", torch.tensor(threshold), scale=scale).folded()


def _revive(rest_BD: torch.Tensor, pre_BF: torch.Tensor, w_dec_FD: torch.Tensor, most: int) -> torch.Tensor:
    """Share of what the live features leave that the dead ones, the likeliest of each token, leave too."""
    top = pre_BF.topk(min(most, pre_BF.shape[1]), dim=1)
    activation_BF = torch.zeros_like(pre_BF).scatter(1, top.indices, top.values)
    left = (rest_BD - activation_BF @ w_dec_FD).square().sum()
    return left / (rest_BD - rest_BD.mean(0)).square().sum().clamp(min=1e-9)
