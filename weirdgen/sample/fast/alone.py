"""The slow ways, right for every causal language model: no mask, no padding, one length at a time.

In: a model, one of its variants, rows as token ids. Out: the model's own logits, from its own forward pass. Rows of one length
may share a pass, as sequences of a batch do not see each other in any model; rows of different lengths never do. What is
kept between two tokens is the model's own cache (attention windows, convolution and recurrent states included), or nothing.
`sample.exactness` says which models need this.

Shape letters: K variants, N rows, T tokens, V vocabulary, O options.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from weirdgen.models.chat import Encoded
from weirdgen.models.exactness import forget_lengths
from weirdgen.models.stacked import only_variant

PASS_TOKENS = 1024
"""Tokens of rows of equal length in one pass: their logits are all held at once."""


def score_alone(model: Any, variants: int, rows: Sequence[Encoded]) -> torch.Tensor:
    """Total log-probability of each row's trained tokens by every variant, logprob_KO."""
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    totals = torch.zeros(variants, len(rows), device=model.device)
    for length, group in itertools.groupby(by_length, key=lambda index: len(rows[index].ids)):
        alike, size = list(group), max(1, PASS_TOKENS // length)
        for part in (alike[start : start + size] for start in range(0, len(alike), size)):
            input_NT = torch.tensor([rows[index].ids for index in part], device=model.device)
            trained_NT = torch.tensor([rows[index].trained for index in part], device=model.device)[:, 1:]
            for variant in range(variants):
                with only_variant(model, variant):
                    forget_lengths(model)
                    logits_NTV = model(input_ids=input_NT, use_cache=False).logits[:, :-1].float()
                label_NT1 = input_NT[:, 1:, None]
                logprob_NT = logits_NTV.gather(-1, label_NT1)[..., 0] - logits_NTV.logsumexp(-1)
                totals[variant, part] = (logprob_NT * trained_NT).sum(1)
    return totals


class AloneStream:
    """`Stream` of samples of one prompt by one variant, all of one age. It gives logits [N, V], not hidden states."""

    def __init__(self, model: Any, ids: Sequence[int], variant: int, cached: bool) -> None:
        self._model, self._ids, self._variant, self._cached = model, ids, variant, cached
        self._cache: Any = None
        self._written_NT = torch.empty(0)

    def admit(self, places: Sequence[int], prompts: Sequence[int]) -> torch.Tensor:
        """All places at once, once."""
        input_1T = torch.tensor([list(self._ids)], device=self._model.device)
        logits_1V = self._pass(input_1T)
        self._written_NT = input_1T.repeat(len(places), 1)
        self._take(torch.zeros(len(places), dtype=torch.long, device=self._model.device))
        return logits_1V.repeat(len(places), 1)

    def release(self, place: int) -> None:
        """Its place stays in use until `keep` drops it."""

    def keep(self, places: Sequence[int]) -> None:
        kept = torch.tensor(places, device=self._model.device)
        self._written_NT = self._written_NT[kept]
        self._take(kept)

    def step(self, token_N: torch.Tensor) -> torch.Tensor:
        self._written_NT = torch.cat([self._written_NT, token_N[:, None]], 1)
        return self._pass(token_N[:, None] if self._cached else self._written_NT)

    def _pass(self, input_NT: torch.Tensor) -> torch.Tensor:
        with only_variant(self._model, self._variant):
            if not self._cached:
                forget_lengths(self._model)
                logits: torch.Tensor = self._model(input_ids=input_NT, use_cache=False).logits[:, -1]
                return logits.float()
            held = {} if self._cache is None else {"past_key_values": self._cache}
            out = self._model(input_ids=input_NT, use_cache=True, **held)
        self._cache = out.past_key_values
        logits = out.logits[:, -1]
        return logits.float()

    def _take(self, rows_N: torch.Tensor) -> None:
        """Make row i of the cache what row rows_N[i] was."""
        if self._cache is not None:
            self._cache.reorder_cache(rows_N)
