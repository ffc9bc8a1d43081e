"""Log-probabilities of fixed answers: what questions have in common is computed once.

In: questions as encoded rows (one an option). Out: for each pass over a few questions, the log-probability of every
option by every voice. The tokens that all questions begin with (a system prompt, a condition) are read once a call; each
question's own tokens once, with its options packed behind it (`models.packing`). Knows nothing of texts or the store.

Shape letters: K voices, N tokens of all voices, O options, M their tokens, S sequences of all voices, L tokens of a
sequence, T tokens that it may see, G key heads, Q query heads a key head, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from weirdgen.models.chat import Encoded, common_prefix
from weirdgen.models.packing import Packed, pack
from weirdgen.sample.decoding import Head
from weirdgen.sample.llama import LlamaDecoder, read_prompts

PASS_TOKENS = 4096
"""Tokens of all voices in one pass; more gain nothing on a processor, whose cache they leave."""
LONGEST_BY_PRODUCTS = 128
"""Up to this many tokens a sequence, attention as two plain products is faster than torch's fused one."""

Questions = Sequence[Sequence[Encoded]]


def score_rows(
    model: Any, decoder: LlamaDecoder | None, head: Head, voices: int, questions: Questions
) -> Iterator[tuple[int, torch.Tensor]]:
    """(questions done in this pass, logprob_KO of all their options in order), pass by pass."""
    shared = _shared(questions) if decoder else 0
    rests = [[Encoded(row.ids[shared:], row.trained[shared:]) for row in rows] for rows in questions]
    prefix = read_prompts(decoder, [questions[0][0].ids[:shared]], voices)[:2] if decoder and shared else None
    for portion in _passes(rests, voices):
        batch = pack(portion)
        hidden_KNH = _lean(decoder, voices, batch, shared, prefix) if decoder else _plain(model, voices, batch)
        yield len(portion), _logprobs(head, hidden_KNH, batch, sum(map(len, portion)))


def _shared(questions: Questions) -> int:
    """Tokens that all rows begin with, short of the one that predicts a first answer token."""
    rows = [row for rows in questions for row in rows]
    return min(common_prefix([row.ids for row in rows]), *(row.trained.index(True) - 1 for row in rows))


def _passes(questions: Questions, voices: int) -> Iterator[Questions]:
    """Consecutive questions that together have about PASS_TOKENS tokens."""
    start, longest = 0, 0
    for index, rows in enumerate(questions):
        mine = sum(len(row.ids) for row in rows)  # an upper bound: options share their question
        longest = max(longest, mine)
        if index > start and (index + 1 - start) * longest * voices > PASS_TOKENS:
            yield questions[start:index]
            start, longest = index, mine
    yield questions[start:]


def _lean(
    decoder: LlamaDecoder,
    voices: int,
    batch: Packed,
    shared: int,
    prefix: tuple[list[torch.Tensor], list[torch.Tensor]] | None,
) -> torch.Tensor:
    """Hidden states [K, N, H] through the lean decoder, behind the shared prefix."""
    on = decoder.device
    sequences, length = batch.input_ids.shape
    heads, width, queries = decoder.key_heads, decoder.head_width, decoder.heads // decoder.key_heads
    seen_SLT = torch.nn.functional.pad(batch.mask[:, 0], (shared, 0), value=True).to(on)
    bias_SLT = torch.zeros(seen_SLT.shape, dtype=decoder.dtype, device=on).masked_fill_(~seen_SLT, float("-inf"))
    # One row of the products for each query head of a key head: [S · G, Q · L, T], the same for all voices.
    bias = bias_SLT[None, :, None, None].expand(voices, sequences, heads, queries, -1, -1)
    bias = bias.reshape(voices * sequences * heads, queries * length, -1)

    def attend(layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key, value = (x.view(voices * sequences, length, -1, width).transpose(1, 2) for x in (query, key, value))
        if prefix:
            before = [side[layer].expand(-1, sequences, -1, -1, -1).flatten(0, 1) for side in prefix]
            key, value = (torch.cat([early, late], 2) for early, late in zip(before, (key, value), strict=True))
        query, key, value = (
            query.reshape(len(bias), -1, width),
            key.reshape(len(bias), -1, width),
            value.reshape(len(bias), -1, width),
        )
        if length <= LONGEST_BY_PRODUCTS:
            score = torch.bmm(query, key.transpose(1, 2))
            weight = torch.softmax(torch.add(bias, score, alpha=decoder.scaling), -1)
            mixed = torch.bmm(weight, value)
        else:
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query[:, None], key[:, None], value[:, None], attn_mask=bias[:, None], scale=decoder.scaling
            )
        return mixed.view(voices * sequences, decoder.heads, length, width).transpose(1, 2).reshape(len(query_N), -1)

    query_N = batch.input_ids.repeat(voices, 1).flatten().to(on)
    position_N = (batch.position_ids + shared).repeat(voices, 1).flatten().to(on)
    return decoder(query_N, position_N, attend).view(voices, sequences * length, -1)


def _plain(model: Any, voices: int, batch: Packed) -> torch.Tensor:
    """Hidden states [K, N, H] through the model's own modules."""
    hidden: torch.Tensor = model.get_decoder()(
        input_ids=batch.input_ids.repeat(voices, 1).to(model.device),
        attention_mask=batch.mask.repeat(voices, 1, 1, 1).to(model.device),
        position_ids=batch.position_ids.repeat(voices, 1).to(model.device),
        use_cache=False,
    ).last_hidden_state
    return hidden.view(voices, -1, hidden.shape[-1])


def _logprobs(head: Head, hidden_KNH: torch.Tensor, batch: Packed, options: int) -> torch.Tensor:
    """Total log-probability of each option's tokens, logprob_KO."""
    on = hidden_KNH.device
    # Options of one question are predicted from the same position where they begin: its logits are computed once.
    source_U, which_M = torch.unique(batch.source_M.to(on), return_inverse=True)
    label_M, row_M = batch.label_M.to(on), batch.row_M.to(on)
    totals = []
    for hidden_NH in hidden_KNH:
        logits_UV = head(hidden_NH[source_U])
        logprob_M = logits_UV[which_M, label_M] - logits_UV.logsumexp(-1)[which_M]
        totals.append(torch.zeros(options, device=on).index_add(0, row_M, logprob_M))
    return torch.stack(totals)
