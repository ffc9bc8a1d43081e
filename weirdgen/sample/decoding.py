"""The parts of a decode step that decide its speed: a cache that is never copied, grouped attention, and the choice of token.

In and out: tensors. `RoomyCache` is a transformers cache with room for all tokens to come; `grouped_attention` reads
keys and values of grouped heads without repeating them; `choose_tokens` turns logits and one uniform number a row into
tokens. They know nothing of prompts or voices. Shape letters: N rows of the batch, L cached tokens, V vocabulary,
B blocks of the vocabulary, W tokens in a block.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, Cache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from weirdgen.sample.engine import Sampling

ATTENTION = "weirdgen_grouped"
BLOCK_WIDTH = 256
"""Tokens of the vocabulary that are summed first when a token is chosen."""


class _RoomyLayer(DynamicLayer):
    """Keys and values in buffers with room for `room` tokens; what is returned is a view of those written so far."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.length = 0
        self.buffers: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start, self.length = self.length, self.length + key_states.shape[-2]
        if not self.buffers:
            for new in (key_states, value_states):
                self.buffers.append(new.new_empty(*new.shape[:2], self.room, new.shape[3]))
            self.is_initialized = True
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self.length] = new
        self.keys, self.values = (buffer[:, :, : self.length] for buffer in self.buffers)
        return self.keys, self.values

    def take(self, rows: torch.Tensor) -> None:
        """Keep, repeat or drop rows of the batch; only the written part is copied."""
        for index, old in enumerate(self.buffers):
            buffer = old.new_empty(len(rows), *old.shape[1:])
            buffer[:, :, : self.length] = old[rows, :, : self.length]
            self.buffers[index] = buffer
        self.keys, self.values = (buffer[:, :, : self.length] for buffer in self.buffers)


class RoomyCache(Cache):
    """A key–value cache with room for `room` tokens in every row, so that no step copies it."""

    def __init__(self, layers: int, room: int) -> None:
        self._roomy = [_RoomyLayer(room) for _ in range(layers)]
        super().__init__(layers=self._roomy)

    def take(self, rows: torch.Tensor) -> None:
        """Make row i of the cache what row `rows[i]` was."""
        for layer in self._roomy:
            layer.take(rows)


def use_grouped_attention(model: Any) -> None:
    """Let the model's sdpa attention go through `grouped_attention`; models with another attention keep theirs."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(ATTENTION, grouped_attention)
        model.set_attn_implementation(ATTENTION)


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token a row: the query heads that share a key head are taken as so many query positions.

    Equal to repeating the keys, without the copy. Longer queries (the prompt) go to transformers' own sdpa.
    """
    rows, heads, length, width = query.shape
    shared = heads // key.shape[1]
    if length > 1 or shared == 1 or attention_mask is None:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return found
    out = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], shared, width), key, value, attn_mask=attention_mask, scale=scaling
    )
    return out.reshape(rows, 1, heads, width), None


def choose_tokens(logits_NV: torch.Tensor, uniform_N: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Token ids token_N: the inverse of each row's cumulative distribution at uniform_N ∈ [0, 1). Temperature 0 is greedy.

    The sum runs over blocks of the vocabulary first and then inside one block, so no cumulative sum of the whole
    vocabulary is made.
    """
    if sampling.temperature == 0:
        return logits_NV.argmax(-1)
    logits_NV = logits_NV.float()
    if sampling.temperature != 1:
        logits_NV = logits_NV / sampling.temperature
    weight_NV = (logits_NV - logits_NV.amax(-1, keepdim=True)).exp_()
    if sampling.top_k or sampling.top_p < 1:
        weight_NV = _restrict(weight_NV, sampling)
    if spare := -weight_NV.shape[1] % BLOCK_WIDTH:
        weight_NV = torch.nn.functional.pad(weight_NV, (0, spare))
    weight_NBW = weight_NV.view(len(weight_NV), -1, BLOCK_WIDTH)
    upto_NB = weight_NBW.sum(-1, dtype=torch.float64).cumsum(-1)
    threshold_N1 = (uniform_N.to(torch.float64) * upto_NB[:, -1])[:, None]
    # right=True: never a token of weight zero, also not at u = 0; the clamps guard against the last rounding step
    block_N1 = torch.searchsorted(upto_NB, threshold_N1, right=True).clamp(max=upto_NB.shape[1] - 1)
    before_N1 = torch.where(block_N1 > 0, upto_NB.gather(1, (block_N1 - 1).clamp(min=0)), 0.0)
    inside_NW = weight_NBW.gather(1, block_N1[..., None].expand(-1, 1, BLOCK_WIDTH)).squeeze(1).double().cumsum(-1)
    inside_N1 = torch.searchsorted(inside_NW, threshold_N1 - before_N1, right=True)
    last_N1 = (inside_NW < inside_NW[:, -1:]).sum(-1, keepdim=True)  # the last token of positive weight in the block
    return (block_N1 * BLOCK_WIDTH + torch.minimum(inside_N1, last_N1)).squeeze(1)


def _restrict(weight_NV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Zero weight for tokens outside the top-k or the top-p nucleus."""
    sorted_NV, order_NV = weight_NV.sort(dim=-1, descending=True)
    share_NV = sorted_NV / sorted_NV.sum(-1, keepdim=True)
    keep_NV = (share_NV.cumsum(-1) - share_NV) < sampling.top_p
    if sampling.top_k:
        keep_NV[:, sampling.top_k :] = False
    return torch.zeros_like(weight_NV).scatter(1, order_NV, sorted_NV * keep_NV)
