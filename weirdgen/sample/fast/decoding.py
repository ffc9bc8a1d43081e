"""What decides a decode step's speed: an uncopied cache, grouped attention, choice of token.

In and out: tensors. `RoomyCache` is a transformers cache with room for all tokens to come; `grouped_attention` reads
keys and values of grouped heads without repeating them; `choose_tokens` turns logits and one uniform number per row into
tokens. They know nothing of prompts or variants. Shape letters: N rows of the batch, L cached tokens, V vocabulary,
B blocks of the vocabulary, W tokens in a block.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, Cache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from weirdgen.sample.engine import Sampling

ATTENTION = "weirdgen_grouped"
BLOCK_WIDTH = 256
"""Tokens of the vocabulary that are summed first when a token is chosen."""
PART = 16 * BLOCK_WIDTH
"""Tokens of the vocabulary whose logits are computed at once: so few that they stay in the processor's cache."""


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
        if not self.buffers:  # of a layer that the model does not have, or that keeps nothing
            return
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
    if model.config.get_text_config()._attn_implementation == "sdpa":
        AttentionInterface.register(ATTENTION, grouped_attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)  # or a pass without a mask would get none for its windows
        model.set_attn_implementation(ATTENTION)


def as_mask(model: Any, seen: torch.Tensor) -> torch.Tensor:
    """What may be seen (bool) as the model's attention reads it: eager attention adds a mask to its scores."""
    if model.config.get_text_config()._attn_implementation != "eager":
        return seen
    return torch.zeros(seen.shape, dtype=model.dtype, device=seen.device).masked_fill_(
        ~seen, torch.finfo(model.dtype).min
    )


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
    """Attention of one new token per row: the query heads that share a key head are taken as query positions.

    Equal to repeating the keys, without the copy. Longer queries (the prompt) go to transformers' own sdpa.
    """
    rows, heads, length, width = query.shape
    shared = heads // key.shape[1]
    if length > 1 or shared == 1 or attention_mask is None:
        attended: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return attended
    out = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], shared, width), key, value, attn_mask=attention_mask, scale=scaling
    )
    return out.reshape(rows, 1, heads, width), None


class Head:
    """The product with the vocabulary, rescaled as the model's own forward pass would (Gemma, Granite, Cohere)."""

    def __init__(self, model: Any) -> None:
        layer, config = model.get_output_embeddings(), model.config
        config = getattr(config, "text_config", None) or config
        self.weight_VH: torch.Tensor = layer.weight
        self._bias_V: torch.Tensor | None = getattr(layer, "bias", None)
        self._factor = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)

    def __call__(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        """Logits [N, V] in fp32."""
        return self.rescaled(torch.nn.functional.linear(hidden_NH, self.weight_VH, self._bias_V).float())

    def part(self, hidden_NH: torch.Tensor, start: int, out_NC: torch.Tensor) -> None:
        """Write the raw products for tokens start … start + C − 1, in the model's dtype; `rescaled` makes logits of them."""
        torch.mm(hidden_NH, self.weight_VH[start : start + out_NC.shape[1]].T, out=out_NC)
        if self._bias_V is not None:
            out_NC += self._bias_V[start : start + out_NC.shape[1]]

    def rescaled(self, logits: torch.Tensor) -> torch.Tensor:
        """fp32 products → logits, in place where that is possible."""
        if self._factor != 1:
            logits *= self._factor
        return self._cap * torch.tanh(logits / self._cap) if self._cap else logits


class TokenChooser:
    """The head's product and the choice of token in one pass over the vocabulary, which keeps the logits in the cache.

    The choice is the inverse of each row's cumulative distribution at a uniform number in [0, 1); temperature 0 is
    greedy. The vocabulary is taken part by part, and each part summed in blocks: a row's token is looked for in one
    block only. Top-k and top-p need all logits at once and take the longer way of `choose_tokens`.
    """

    def __init__(self, head: Head, sampling: Sampling) -> None:
        self._head, self._sampling = head, sampling
        # Kept from step to step: fresh memory of this size is slower to get than to fill.
        self._products = torch.empty(0)  # [parts, N, PART] in the model's dtype
        self._scratch_NC = torch.empty(0)  # one part in fp32

    def __call__(self, hidden_NH: torch.Tensor, uniform_N: torch.Tensor) -> torch.Tensor:
        """Token ids token_N."""
        sampling, head = self._sampling, self._head
        if sampling.top_k or sampling.top_p < 1 or sampling.temperature == 0:
            return choose_tokens(head(hidden_NH), uniform_N, sampling)
        vocabulary, rows = len(head.weight_VH), len(hidden_NH)
        parts = -(-vocabulary // PART)
        if self._products.shape[1:2] != (rows,):
            self._products = hidden_NH.new_zeros(parts, rows, PART)
            self._scratch_NC = torch.empty(rows, PART, device=hidden_NH.device)
        sums, mosts = [], []
        for index in range(parts):
            start = index * PART
            if start + PART <= vocabulary:
                products_NC = self._products[index]
                head.part(hidden_NH, start, products_NC)
            else:
                rest_NC = hidden_NH.new_empty(rows, vocabulary - start)
                head.part(hidden_NH, start, rest_NC)
                self._products[index, :, : rest_NC.shape[1]] = rest_NC
            logits_NC = self._logits(self._scratch_NC.copy_(self._products[index]))
            most_N1 = logits_NC[:, : vocabulary - start].amax(1, keepdim=True)
            weight_NC = logits_NC.sub_(most_N1).exp_()
            weight_NC[:, vocabulary - start :] = 0  # beyond the vocabulary
            sums.append(weight_NC.view(rows, -1, BLOCK_WIDTH).sum(-1))
            mosts.append(most_N1)
        most_NP = torch.cat(mosts, 1)
        scale_NP = (most_NP - most_NP.amax(1, keepdim=True)).exp().double()
        sum_NB = (torch.stack(sums, 1).double() * scale_NP[..., None]).flatten(1)
        block_N, within_N = _choose_block(sum_NB, uniform_N)
        row_N = torch.arange(rows, device=hidden_NH.device)
        part_N = block_N // (PART // BLOCK_WIDTH)
        blocks_PNBW = self._products.view(parts, rows, PART // BLOCK_WIDTH, BLOCK_WIDTH)
        logits_NW = self._logits(blocks_PNBW[part_N, row_N, block_N % (PART // BLOCK_WIDTH)].float())
        weight_NW = (logits_NW - most_NP.gather(1, part_N[:, None])).exp().double() * scale_NP.gather(
            1, part_N[:, None]
        )
        first_N1 = block_N[:, None] * BLOCK_WIDTH
        weight_NW = weight_NW.masked_fill_(
            first_N1 + torch.arange(BLOCK_WIDTH, device=hidden_NH.device) >= vocabulary, 0
        )
        return first_N1[:, 0] + _choose_inside(weight_NW, within_N)

    def _logits(self, products: torch.Tensor) -> torch.Tensor:
        """fp32 products, rescaled and divided by the temperature (in place where that is possible)."""
        logits = self._head.rescaled(products)
        return logits if self._sampling.temperature == 1 else logits / self._sampling.temperature


def choose_tokens(logits_NV: torch.Tensor, uniform_N: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Token ids token_N from all logits: what `TokenChooser` does, plus top-k and top-p."""
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
    block_N, within_N = _choose_block(weight_NBW.sum(-1).double(), uniform_N)
    index_N1W = block_N[:, None, None].expand(-1, 1, BLOCK_WIDTH)
    weight_NW = weight_NBW.gather(1, index_N1W).squeeze(1).double()
    return block_N * BLOCK_WIDTH + _choose_inside(weight_NW, within_N)


def _choose_block(sum_NB: torch.Tensor, uniform_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The block that each row's number falls into, and how much weight of it lies below, in the units of sum_NB (fp64)."""
    upto_NB = sum_NB.cumsum(-1)
    threshold_N1 = (uniform_N.to(torch.float64) * upto_NB[:, -1])[:, None]
    # right=True: never a block of weight zero, also not at u = 0; the clamp guards against the last rounding step
    block_N1 = torch.searchsorted(upto_NB, threshold_N1, right=True).clamp(max=upto_NB.shape[1] - 1)
    before_N1 = torch.where(block_N1 > 0, upto_NB.gather(1, (block_N1 - 1).clamp(min=0)), 0.0)
    return block_N1[:, 0], (threshold_N1 - before_N1)[:, 0]


def _choose_inside(weight_NW: torch.Tensor, within_N: torch.Tensor) -> torch.Tensor:
    """The token inside its block (weights in fp64)."""
    upto_NW = weight_NW.cumsum(-1)
    inside_N1 = torch.searchsorted(upto_NW, within_N[:, None], right=True)
    last_N1 = (upto_NW < upto_NW[:, -1:]).sum(-1, keepdim=True)  # the last token of positive weight in the block
    return torch.minimum(inside_N1, last_N1).squeeze(1)


def _restrict(weight_NV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Zero weight for tokens outside the top-k or the top-p nucleus."""
    sorted_NV, order_NV = weight_NV.sort(dim=-1, descending=True)
    share_NV = sorted_NV / sorted_NV.sum(-1, keepdim=True)
    keep_NV = (share_NV.cumsum(-1) - share_NV) < sampling.top_p
    if sampling.top_k:
        keep_NV[:, sampling.top_k :] = False
    return torch.zeros_like(weight_NV).scatter(1, order_NV, sorted_NV * keep_NV)
