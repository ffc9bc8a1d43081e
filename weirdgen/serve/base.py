"""One base model in memory, answering as several of its finetunes at once.

In: a model, a dtype, adapter folders. Out: what decoding and scoring need: the model with its adapters stacked, the lean
decoder where it is right for this model, the head, the tokenizer. Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from weirdgen.machine import resolve_dtype
from weirdgen.models.chat import end_of_turn_ids
from weirdgen.models.exactness import forget_lengths
from weirdgen.models.loading import device, load_model, torch_dtype
from weirdgen.models.references import LocalModel
from weirdgen.models.stacked import attach_adapters, detach_adapters, only_variant
from weirdgen.sample.exactness import ways_of
from weirdgen.sample.fast.decoding import Head, use_grouped_attention
from weirdgen.sample.fast.llama import LlamaDecoder

LOGITS_AT_ONCE = 512
"""Tokens of a scored text whose logits are in memory together."""

# Shape letters: T tokens, V vocabulary, H hidden width.


class Base:
    """Made and used in one thread."""

    def __init__(self, model: LocalModel, tokenizer: Any, dtype: str = "auto") -> None:
        self.tokenizer = tokenizer
        self.stops = end_of_turn_ids(tokenizer)
        """Tokens that end an answer."""
        self.parameters = model.parameters
        self.model = load_model(model.folder, torch_dtype(resolve_dtype(dtype, model.parameters)))
        use_grouped_attention(self.model)
        self.head = Head(self.model)
        self.ways = ways_of(self.model, model.folder, tokenizer)
        self.adapters: tuple[Path | None, ...] = ()
        """What it answers as."""
        self.decoder: LlamaDecoder | None = None
        self.on = device()
        self.use((None,))

    def use(self, adapters: Sequence[Path | None]) -> None:
        """Answer as these; None is the base. Raises `ModelError` if one is no adapter of this model."""
        if tuple(adapters) == self.adapters:
            return
        self.adapters = ()
        detach_adapters(self.model)
        attach_adapters(self.model, adapters)
        self.decoder = LlamaDecoder(self.model) if self.ways.lean and LlamaDecoder.fits(self.model) else None
        self.adapters = tuple(adapters)

    def given(self, ids: Sequence[int], variant: int, top: int) -> tuple[list[float], list[list[tuple[int, float]]]]:
        """Log-probability (nats) of each token after the first, given those before it, and the `top` likeliest in its place.

        The row goes alone through the model's own modules, which is right for every model.
        """
        input_1T = torch.tensor([list(ids)], device=self.on)
        with only_variant(self.model, variant):
            forget_lengths(self.model)
            if self.ways.tree(len(ids)):
                hidden_TH = self.model.get_decoder()(input_ids=input_1T, use_cache=False).last_hidden_state[0, :-1]
                parts = (self.head(part) for part in hidden_TH.split(LOGITS_AT_ONCE))
            else:
                logits_TV = self.model(input_ids=input_1T, use_cache=False).logits[0, :-1].float()
                parts = (part for part in logits_TV.split(LOGITS_AT_ONCE))
            logprobs: list[float] = []
            tops: list[list[tuple[int, float]]] = []
            for part in parts:
                part = part.log_softmax(-1)
                given_T1 = input_1T[0, 1 + len(logprobs) : 1 + len(logprobs) + len(part), None]
                logprobs += part.gather(1, given_T1)[:, 0].tolist()
                tops += likeliest(part, top)
        return logprobs, tops


def likeliest(logprob_TV: torch.Tensor, top: int) -> list[list[tuple[int, float]]]:
    """(token, log-probability) of the likeliest, row by row, the likeliest first."""
    if not top:
        return [[] for _ in logprob_TV]
    values, tokens = logprob_TV.topk(min(top, logprob_TV.shape[1]), dim=-1)
    return [list(zip(t, v, strict=True)) for t, v in zip(tokens.tolist(), values.tolist(), strict=True)]
