"""Log-probabilities of fixed answers, computing once what questions and options share.

In: questions as encoded rows (one per option). Out: for each pass over a few questions, the log-probability of every
option by every variant. The tokens that all questions begin with (a system prompt, a condition) are read once per call. A
question's own tokens and its options form a tree, in which what several options begin with ("It is 18…") stands once; a
token sees the way back to the root. Knows nothing of texts or the store.

Shape letters: K variants, N tokens of all variants, O options, M their tokens, S questions in a pass, L tokens of a tree,
T tokens that it may see, G key heads, Q query heads per key head, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from weirdgen.models.chat import Encoded, common_prefix
from weirdgen.models.packing import Packed
from weirdgen.sample.fast.decoding import Head, as_mask
from weirdgen.sample.fast.llama import LlamaDecoder, read_prompts

PASS_TOKENS = 4096
"""Tokens of all variants in one pass; more gain nothing on a processor, whose cache they leave."""
LONGEST_BY_PRODUCTS = 128
"""Up to this many tokens a sequence, attention as two plain products is faster than torch's fused one."""

Questions = Sequence[Sequence[Encoded]]


@dataclass(frozen=True)
class Trees(Packed):
    """One sequence per question."""

    mask: torch.Tensor
    """[S, 1, L, L], true where a token (third axis) may see another (fourth)."""


def score_rows(
    model: Any, decoder: LlamaDecoder | None, head: Head, variants: int, questions: Questions
) -> Iterator[tuple[int, torch.Tensor]]:
    """(questions done in this pass, logprob_KO of all their options in order), pass by pass."""
    shared = _shared(questions) if decoder else 0
    rests = [[Encoded(row.ids[shared:], row.trained[shared:]) for row in rows] for rows in questions]
    prefix = read_prompts(decoder, [questions[0][0].ids[:shared]], variants)[:2] if decoder and shared else None
    for portion in _passes(rests, variants):
        batch = trees(portion)
        hidden_KNH = _lean(decoder, variants, batch, shared, prefix) if decoder else _plain(model, variants, batch)
        yield len(portion), _logprobs(head, hidden_KNH, batch, sum(map(len, portion)))


def _shared(questions: Questions) -> int:
    """Tokens that all rows begin with, short of the one that predicts a first answer token."""
    rows = [row for rows in questions for row in rows]
    return min(common_prefix([row.ids for row in rows]), *(row.trained.index(True) - 1 for row in rows))


def trees(questions: Questions) -> Trees:
    """One sequence per question: the tree of its options' tokens, each option's last one left out, as nothing follows it.

    Rows of one question are numbered through, question by question, as in `Packed`.
    """
    ids: list[list[int]] = [[] for _ in questions]
    parents: list[list[int]] = [[] for _ in questions]  # the place before each token; −1 at the root
    source: list[tuple[int, int]] = []
    label: list[int] = []
    row_M: list[int] = []
    for question, rows in enumerate(questions):
        places: dict[tuple[int, int], int] = {}  # (place before, token) → place
        first = row_M[-1] + 1 if row_M else 0
        for number, row in enumerate(rows):
            at = -1
            for index, token in enumerate(row.ids):
                if row.trained[index]:
                    source.append((question, at))
                    label.append(token)
                    row_M.append(first + number)
                if index == len(row.ids) - 1:
                    break
                place = places.setdefault((at, token), len(places))
                if place == len(ids[question]):
                    ids[question].append(token)
                    parents[question].append(at)
                at = place
    longest = max(map(len, ids))
    input_ids = torch.zeros(len(ids), longest, dtype=torch.long)
    position_ids = torch.zeros_like(input_ids)
    mask = torch.eye(longest, dtype=torch.bool).repeat(len(ids), 1, 1)  # padding sees itself: no empty softmax
    for question, before in enumerate(parents):
        input_ids[question, : len(before)] = torch.tensor(ids[question])
        for place, parent in enumerate(before):
            if parent >= 0:
                mask[question, place] |= mask[question, parent]
                position_ids[question, place] = position_ids[question, parent] + 1
    return Trees(
        input_ids,
        position_ids,
        torch.tensor([question * longest + at for question, at in source]),
        torch.tensor(label),
        torch.tensor(row_M),
        mask[:, None],
    )


def _passes(questions: Questions, variants: int) -> Iterator[Questions]:
    """Consecutive questions that together have about PASS_TOKENS tokens."""
    start, longest = 0, 0
    for index, rows in enumerate(questions):
        mine = common_prefix([row.ids for row in rows])
        mine += sum(len(row.ids) - mine for row in rows)  # an upper bound: options may share more
        longest = max(longest, mine)
        if index > start and (index + 1 - start) * longest * variants > PASS_TOKENS:
            yield questions[start:index]
            start, longest = index, mine
    yield questions[start:]


def _lean(
    decoder: LlamaDecoder,
    variants: int,
    batch: Trees,
    shared: int,
    prefix: tuple[list[torch.Tensor], list[torch.Tensor]] | None,
) -> torch.Tensor:
    """Hidden states [K, N, H] through the lean decoder, behind the shared prefix."""
    on = decoder.device
    sequences, length = batch.input_ids.shape
    heads, width, queries = decoder.key_heads, decoder.head_width, decoder.heads // decoder.key_heads
    seen_SLT = torch.nn.functional.pad(batch.mask[:, 0], (shared, 0), value=True).to(on)
    bias_SLT = torch.zeros(seen_SLT.shape, dtype=decoder.dtype, device=on).masked_fill_(~seen_SLT, float("-inf"))
    # One row of the products for each query head of a key head: [S · G, Q · L, T], the same for all variants.
    bias = bias_SLT[None, :, None, None].expand(variants, sequences, heads, queries, -1, -1)
    bias = bias.reshape(variants * sequences * heads, queries * length, -1)

    def attend(layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            x.view(variants * sequences, length, -1, width).transpose(1, 2) for x in (query, key, value)
        )
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
        return mixed.view(variants * sequences, decoder.heads, length, width).transpose(1, 2).reshape(len(query_N), -1)

    query_N = batch.input_ids.repeat(variants, 1).flatten().to(on)
    position_N = (batch.position_ids + shared).repeat(variants, 1).flatten().to(on)
    return decoder(query_N, position_N, attend).view(variants, sequences * length, -1)


def _plain(model: Any, variants: int, batch: Trees) -> torch.Tensor:
    """Hidden states [K, N, H] through the model's own modules."""
    hidden: torch.Tensor = model.get_decoder()(
        input_ids=batch.input_ids.repeat(variants, 1).to(model.device),
        attention_mask=as_mask(model, batch.mask.repeat(variants, 1, 1, 1).to(model.device)),
        position_ids=batch.position_ids.repeat(variants, 1).to(model.device),
        use_cache=False,
    ).last_hidden_state
    return hidden.view(variants, -1, hidden.shape[-1])


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
