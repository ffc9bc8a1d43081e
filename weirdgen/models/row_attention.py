"""Attention within rows packed into one sequence, without computing pairs that a mask would hide.

In: a transformers model (`use_row_attention`), the places of its rows (`models.packing`), which every forward pass hands
on as `row_layout`. Each row's queries meet the prefix and the row's own tokens only. The weights are computed again in
the backward pass, so that no layer keeps them. Full causal attention only: sliding windows, caps and sinks are refused
(`finetune.engines` sends such models to trl).

Shape letters as in `models.packing`, and: N tokens of all sequences, H query heads, G key heads, Q query heads per key head,
D head width, T tokens that a row may see (its prefix, then itself), C replicates in a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

from weirdgen.errors import ModelError
from weirdgen.models.packing import RowPlaces

ATTENTION = "weirdgen_rows"
CHUNK_WEIGHTS = {"cpu": 2**20, "cuda": 2**27}
"""Attention weights at once: on a processor what its cache holds, on a GPU what its memory is sure to have."""
REFUSED = ("sliding_window", "softcap", "s_aux")


@dataclass(frozen=True)
class _Segment:
    """Rows that attend alike: the prefixes among themselves, or the rests behind their prefixes."""

    query_KBR: torch.Tensor
    key_KBT: torch.Tensor
    hidden_KBRT: torch.Tensor
    """True where a query may not see a key; B is 1: rows of a replicate have equally long prefixes."""
    padding_KBR: torch.Tensor
    """True where a row has ended: what the query index points to there is not its own."""
    first_slot: int
    """Where the answers of this segment begin among those of all segments."""

    def chunks(self, heads: int) -> Iterator[_Segment]:
        """Parts of some replicates each, whose weights are small enough to be held at once."""
        replicates, rows, queries = self.query_KBR.shape
        weights = rows * heads * queries * self.key_KBT.shape[2]
        size = max(1, CHUNK_WEIGHTS[self.query_KBR.device.type] // weights)
        for start in range(0, replicates, size):
            part = slice(start, start + size)
            first_slot = self.first_slot + start * rows * queries
            yield _Segment(
                self.query_KBR[part], self.key_KBT[part], self.hidden_KBRT[part], self.padding_KBR[part], first_slot
            )

    @property
    def slots(self) -> slice:
        """Its part of the answers."""
        return slice(self.first_slot, self.first_slot + self.query_KBR.numel())


@dataclass(frozen=True)
class RowLayout:
    """What every layer of one forward pass needs. The last slot is padding's, and zero."""

    prefix: _Segment
    rest: _Segment
    slot_N: torch.Tensor
    """Which answer is a token's."""

    @staticmethod
    def of(places: RowPlaces, device: torch.device) -> RowLayout:
        """The layout of packed rows, on the model's device."""
        prefix_KP, rest_KBR = places.prefix_KP, places.rest_KBR
        (replicates, rows, rest), prefix = rest_KBR.shape, prefix_KP.shape[1]
        hidden_KRP = (prefix_KP < 0)[:, None].expand(-1, rest, -1)
        hidden_KRT = torch.cat([hidden_KRP, _future(rest).expand(replicates, -1, -1)], -1)
        key_KBT = torch.cat([prefix_KP[:, None].expand(-1, rows, -1), rest_KBR], -1)
        hidden_KPP = _future(prefix).expand(replicates, -1, -1)

        def segment(query: torch.Tensor, key: torch.Tensor, hidden_KRT: torch.Tensor, first: int) -> _Segment:
            return _Segment(
                query.clamp(min=0).to(device),
                key.clamp(min=0).to(device),
                hidden_KRT[:, None].to(device),
                (query < 0).to(device),
                first,
            )

        token_of_slot = torch.cat([prefix_KP.flatten(), rest_KBR.flatten()])
        filled = (token_of_slot >= 0).nonzero().squeeze(1)
        slot_N = torch.full((places.tokens,), len(token_of_slot))
        slot_N[token_of_slot[filled]] = filled
        return RowLayout(
            segment(prefix_KP[:, None], prefix_KP[:, None], hidden_KPP, 0),
            segment(rest_KBR, key_KBT, hidden_KRT, prefix_KP.numel()),
            slot_N.to(device),
        )

    def chunks(self, heads: int) -> Iterator[_Segment]:
        """All there is to compute."""
        if self.prefix.query_KBR.numel():
            yield from self.prefix.chunks(heads)
        yield from self.rest.chunks(heads)

    def empty(self, like_NHD: torch.Tensor) -> torch.Tensor:
        """A place for each slot's answer."""
        return like_NHD.new_zeros(self.rest.slots.stop + 1, *like_NHD.shape[1:])


def _future(length: int) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def use_row_attention(model: Any) -> None:
    """From now on the model's forward passes want `row_layout`. Raises `ModelError` if its attention cannot be replaced."""
    if not model._supports_attention_backend:
        raise ModelError(
            f"{type(model).__name__} does not let its attention be replaced, so replicates cannot be trained together; "
            "add --set recipe.engine=trl"
        )
    AttentionInterface.register(ATTENTION, row_attention)
    model.set_attn_implementation(ATTENTION)


def row_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    row_layout: RowLayout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Answers [K, L, H, D] to query [K, H, L, D] from key and value [K, G, L, D], as transformers asks for them."""
    refused = [name for name in REFUSED if kwargs.get(name) is not None]
    if refused:
        raise ValueError(f"attention with {', '.join(refused)} cannot be computed by rows")
    if row_layout is None:
        raise ValueError("its layers do not tell their attention which row a token belongs to")
    if value.shape[-1] != key.shape[-1]:
        raise ValueError("attention whose values differ in width from its keys cannot be computed by rows")
    query_NHD, key_NGD, value_NGD = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    out_NHD: torch.Tensor = _RowAttention.apply(query_NHD, key_NGD, value_NGD, row_layout, scaling)  # type: ignore[no-untyped-call]
    return out_NHD.view(len(query), -1, *out_NHD.shape[1:]), None


class _RowAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query_NHD: torch.Tensor,
        key_NGD: torch.Tensor,
        value_NGD: torch.Tensor,
        layout: RowLayout,
        scaling: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(query_NHD, key_NGD, value_NGD)
        ctx.layout, ctx.scaling = layout, scaling
        answers = layout.empty(query_NHD)
        for part in layout.chunks(query_NHD.shape[1]):
            query, key, value = _read(part, query_NHD, key_NGD, value_NGD)
            mixed = torch.bmm(_weights(part, query, key, scaling), value)
            answers[part.slots] = _by_slot(mixed, part.query_KBR, key_NGD.shape[1])
        return answers[layout.slot_N]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None]:
        query_NHD, key_NGD, value_NGD = ctx.saved_tensors
        layout: RowLayout = ctx.layout
        groups = key_NGD.shape[1]
        d_query, d_key, d_value = (layout.empty(x) for x in (query_NHD, key_NGD, value_NGD))
        for part in layout.chunks(query_NHD.shape[1]):
            query, key, value = _read(part, query_NHD, key_NGD, value_NGD)
            weights = _weights(part, query, key, ctx.scaling)
            d_mixed = _rows(gradients[0], part.query_KBR, groups)
            by_row = d_mixed.view(*part.padding_KBR.shape[:2], -1, part.padding_KBR.shape[2], d_mixed.shape[2])
            by_row.masked_fill_(part.padding_KBR[:, :, None, :, None], 0)
            d_weights = torch.bmm(d_mixed, value.transpose(1, 2))
            d_score = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype).mul_(ctx.scaling)
            d_query[part.slots] = _by_slot(torch.bmm(d_score, key), part.query_KBR, groups)
            for total, of_rows in (
                (d_key, torch.bmm(d_score.transpose(1, 2), query)),
                (d_value, torch.bmm(weights.transpose(1, 2), d_mixed)),
            ):
                partial = _by_slot(of_rows, part.key_KBT, groups).view(*part.key_KBT.shape, groups, -1)
                shared = partial.shape[2] - part.query_KBR.shape[2]
                total[part.slots] = partial[:, :, shared:].flatten(0, 2)
                if shared:
                    first = (part.first_slot - layout.rest.first_slot) // part.query_KBR[0].numel() * shared
                    total[first : first + len(partial) * shared] += partial[:, :, :shared].sum(1).flatten(0, 1)
        return d_query[layout.slot_N], d_key[layout.slot_N], d_value[layout.slot_N], None, None


def _read(part: _Segment, *qkv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """query [C·B·G, Q·R, D], key and value [C·B·G, T, D] of a chunk's rows."""
    query_NHD, key_NGD, value_NGD = qkv
    groups = key_NGD.shape[1]
    return (
        _rows(query_NHD, part.query_KBR, groups),
        _rows(key_NGD, part.key_KBT, groups),
        _rows(value_NGD, part.key_KBT, groups),
    )


def _rows(x_NHD: torch.Tensor, token_CBR: torch.Tensor, groups: int) -> torch.Tensor:
    """[C·B·G, Q·R, D]: the tokens of rows, head by head."""
    rows = x_NHD.index_select(0, token_CBR.flatten())
    rows = rows.view(-1, token_CBR.shape[2], groups, rows.shape[1] // groups, rows.shape[2])
    return rows.permute(0, 2, 3, 1, 4).reshape(len(rows) * groups, -1, rows.shape[4])


def _by_slot(x: torch.Tensor, token_CBR: torch.Tensor, groups: int) -> torch.Tensor:
    """[C·B·R, H, D]: what `_rows` did, undone."""
    queries = token_CBR.shape[2]
    x = x.view(len(x) // groups, groups, -1, queries, x.shape[2])
    return x.permute(0, 3, 1, 2, 4).reshape(len(x) * queries, -1, x.shape[4])


def _weights(part: _Segment, query: torch.Tensor, key: torch.Tensor, scaling: float) -> torch.Tensor:
    """Attention weights [C·B·G, Q·R, T] in the dtype of the queries."""
    chunk, rows, queries = part.query_KBR.shape
    score = torch.bmm(query, key.transpose(1, 2)).mul_(scaling)
    by_row = score.view(chunk, rows, -1, queries, score.shape[2])
    by_row.masked_fill_(part.hidden_KBRT[:, :, None], float("-inf"))
    return torch.softmax(score, -1)
