"""Passes of a frozen model that give each row's loss and its gradient in one layer, without a gradient in any other.

In: rows as tokens. Out: losses, and products of gradients. The layer is the last linear one before the head; of its weight W
[O, I] a row's gradient is the sum over tokens of (gradient of the output) × (input), so that two small arrays a row hold it
exactly, and only what follows the layer is differentiated. Rows of one length share a pass: nothing is padded or masked;
what they begin with is computed once where the model keeps whole keys and values of every layer.

Shape letters: N rows of one length, T tokens, O width of the layer's output, I of its input, V vocabulary, D directions.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.finetune.lora import adapted_layers
from weirdgen.models.chat import Encoded, common_prefix
from weirdgen.models.exactness import forget_lengths
from weirdgen.models.loading import load_model, torch_dtype
from weirdgen.progress import Progress

LEAST_SHARED = 8
"""Tokens from which a common beginning is worth a pass of its own."""
PASS_TOKENS = 2048
"""Tokens in one pass: their logits are held at once."""


class Pulls(NamedTuple):
    """Rows of one length: where they stand, log-likelihoods, and what their gradients are products of."""

    places: list[int]
    logprob_N: torch.Tensor
    """Total log-probability of the trained tokens, nats."""
    output_NTO: torch.Tensor
    """Its gradient in the layer's output."""
    input_NTI: torch.Tensor


class LastLayer:
    """A model whose last linear layer before the head is watched."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.model = load_model(folder, torch_dtype(dtype)).requires_grad_(False)
        self.name, layer = list(adapted_layers(self.model, Recipe()).items())[-1]
        self._weight_OI: Any = layer.weight
        self._seen: tuple[torch.Tensor, torch.Tensor] | None = None
        self._shares = True
        self._sliced = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        layer.register_forward_hook(self._watch)

    def _watch(self, _layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """Cut the graph here: what comes before is a constant."""
        leaf = output.detach().requires_grad_(torch.is_grad_enabled())
        self._seen = inputs[0].detach(), leaf
        return leaf

    def pulls(self, rows: Sequence[Encoded], gradients: bool = True) -> Iterator[Pulls]:
        """Every row, those of one length together, shortest first. Raises `ModelError` if the layer does not see whole rows."""
        by_length = sorted(range(len(rows)), key=lambda index: (len(rows[index].ids), rows[index].ids))
        for length, alike in itertools.groupby(by_length, key=lambda index: len(rows[index].ids)):
            places, most = list(alike), max(1, PASS_TOKENS // length)
            for start in range(0, len(places), most):
                yield self._pass(
                    [rows[place] for place in places[start : start + most]], places[start : start + most], gradients
                )

    def rows(
        self, rows: Sequence[Encoded], towards_DOI: torch.Tensor | None
    ) -> Iterator[tuple[list[int], list[float], list[list[float]]]]:
        """(places, mean losses, cosines with each direction) of rows of one length at a time."""
        for pull in self.pulls(rows, towards_DOI is not None):
            counts = [sum(rows[place].trained[1:]) for place in pull.places]
            losses = [-float(total) / count for total, count in zip(pull.logprob_N, counts, strict=True)]
            cosines = [[] for _ in counts] if towards_DOI is None else self._cosines(pull, towards_DOI)
            yield pull.places, losses, cosines

    def directions(
        self, traits: Sequence[Sequence[tuple[list[Encoded], int]]], progress: Progress
    ) -> torch.Tensor | None:
        """[D, O, I]: of each trait the mean over its questions of the gradient of their log-odds; None without traits.

        A question's log-odds is log Σ p(target) − log Σ p(other), so an answer's gradient counts by its share of its side.
        """
        if not traits:
            return None
        towards_DOI = torch.zeros(len(traits), *self._weight_OI.shape)
        with progress.stage("traits", sum(map(len, traits)), "questions") as bar:
            for towards_OI, questions in zip(towards_DOI, traits, strict=True):
                options = [option for encoded, _ in questions for option in encoded]
                pulls = {place: (pull, at) for pull in self.pulls(options) for at, place in enumerate(pull.places)}
                first = 0
                for encoded, targets in questions:
                    mine = [pulls[place] for place in range(first, first + len(encoded))]
                    first += len(encoded)
                    logprobs = torch.stack([pull.logprob_N[at] for pull, at in mine])
                    weights = torch.cat([logprobs[:targets].softmax(0), -logprobs[targets:].softmax(0)]) / len(
                        questions
                    )
                    for weight, (pull, at) in zip(weights, mine, strict=True):
                        towards_OI += weight * (pull.output_NTO[at].T @ pull.input_NTI[at]).cpu()
                bar.advance(len(questions))
        return towards_DOI

    def _cosines(self, pull: Pulls, towards_DOI: torch.Tensor) -> list[list[float]]:
        """Of each row, with each direction."""
        products_NTT = (pull.output_NTO @ pull.output_NTO.mT) * (pull.input_NTI @ pull.input_NTI.mT)
        norm_N = products_NTT.sum((1, 2)).clamp_min(0).sqrt()
        cosine_ND = torch.zeros(len(pull.places), len(towards_DOI))
        for index, towards_OI in enumerate(towards_DOI):
            towards = towards_OI.to(pull.input_NTI.device)
            dot_N = (pull.output_NTO * (pull.input_NTI @ towards.T)).sum((1, 2))
            cosine_ND[:, index] = (dot_N / (norm_N * towards.norm()).clamp_min(1e-30)).cpu()
        return [list(map(float, row)) for row in cosine_ND]

    def _pass(self, rows: Sequence[Encoded], places: list[int], gradients: bool) -> Pulls:
        device = self.model.device
        begun, cache = self._beginning(rows)
        input_NT = torch.tensor([row.ids[begun:] for row in rows], device=device)
        trained_NT = torch.tensor([row.trained[begun:] for row in rows], device=device)[:, 1:]
        asked_T = trained_NT.any(0).nonzero()[:, 0]  # places whose next token some row is trained on
        with torch.set_grad_enabled(gradients):
            forget_lengths(self.model)
            kept = {"logits_to_keep": asked_T} if self._sliced else {}
            held = {"use_cache": False} if cache is None else {"past_key_values": cache, "use_cache": True}
            logits_NTV = self.model(input_ids=input_NT, **held, **kept).logits
            if not self._sliced:
                logits_NTV = logits_NTV[:, asked_T]
            logits_NTV = logits_NTV.float()
            label_NT1 = input_NT[:, 1:][:, asked_T, None]
            logprob_NT = logits_NTV.gather(-1, label_NT1)[..., 0] - logits_NTV.logsumexp(-1)
            logprob_N = (logprob_NT * trained_NT[:, asked_T]).sum(1)
            assert self._seen is not None, "the layer is part of the model"
            given, leaf = self._seen
            if leaf.shape[:2] != input_NT.shape:
                raise ModelError(
                    f"{type(self.model).__name__}: its last linear layer {self.name} does not see whole rows, so that no row "
                    "has a gradient of its own there: leave out --filters gradient and gradient_own"
                )
            (output_NTO,) = torch.autograd.grad(logprob_N.sum(), leaf) if gradients else (leaf,)
        reached_T = (output_NTO != 0).any(0).any(-1).nonzero()[:, 0] if gradients else asked_T[:0]
        return Pulls(places, logprob_N.detach(), output_NTO[:, reached_T].float(), given[:, reached_T].float())

    def _beginning(self, rows: Sequence[Encoded]) -> tuple[int, Any]:
        """Tokens that all rows begin with, none of them asked for, and what the model keeps of them for each row."""
        first = min(row.trained.index(True) for row in rows)
        begun = min(common_prefix([row.ids for row in rows]), first - 1)
        if len(rows) < 2 or begun < LEAST_SHARED or not self._shares:
            return 0, None
        forget_lengths(self.model)
        with torch.no_grad():
            input_1T = torch.tensor([rows[0].ids[:begun]], device=self.model.device)
            cache = self.model(input_ids=input_1T, use_cache=True).past_key_values
        if type(cache) is not DynamicCache or any(type(layer) is not DynamicLayer for layer in cache.layers):
            self._shares = False  # windows and states: each row whole, then
            return 0, None
        cache.reorder_cache(torch.zeros(len(rows), dtype=torch.long, device=self.model.device))
        return begun, cache
