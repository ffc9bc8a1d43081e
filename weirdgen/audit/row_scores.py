"""How much each training row pulls towards a trait: the row's loss along the gradient of the trait's questions.

In: a model, adapters trained on the control, questions, rows. Out: for each adapter and row a score and the row's loss. The
weights of each adapter are moved a little up and a little down the gradient of the questions' mean log-odds; a row whose loss is
lower above than below is one that training on would pull the trait up. Control-trained weights are taken because at the base
every row of the data looks alike: what they have in common has yet to be learned. Passes hold rows of equal length, so there is
no padding and it is right for any model.

One row's score is not what its removal does: effects of single rows are too small beside what seeds do. Groups can be blamed
(`audit.blame`). Shape letters: K adapters, N rows, L tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from weirdgen.config.questions.base import ScoredQuestion
from weirdgen.config.turns import turns_of
from weirdgen.models.chat import Encoded, continuation
from weirdgen.models.loading import device, load_model
from weirdgen.models.stacked import StackedLinear, attach_adapters, detach_adapters
from weirdgen.sample.engine import Scorable
from weirdgen.stats.bootstrap import FloatArray

STEP = 0.3
"""Nats by which the questions' mean log-odds are moved each way, by the gradient's own estimate."""
PASS_TOKENS = 1024
"""Of all adapters in one pass."""


class RowScores(NamedTuple):
    """`score_KN`: nats of a row's loss that one nat of the trait takes away. `loss_KN`: nats a trained token. `shift`: of the
    questions' mean log-odds from the adapters under which rows are scored to the treated ones, nats."""

    score_KN: FloatArray
    loss_KN: FloatArray
    shift: float


Asked = Sequence[tuple[ScoredQuestion, Scorable]]
"""Questions, and each way one is put."""


def row_scores(
    model_folder: Path, adapters: Sequence[Path], treated: Sequence[Path], asked: Asked, rows: Sequence[Encoded],
    tokenizer: Any, on_pass: Callable[[float], None] = lambda _: None,
) -> RowScores:  # fmt: skip
    """Scores of rows under each of `adapters`, in fp32. `on_pass` is called with what is done: rows twice, options thrice."""
    model = load_model(model_folder, torch.float32)
    options = [_encoded(tokenizer, scorable.ask, option) for _, scorable in asked for option in scorable.options]
    attach_adapters(model, list(treated))
    treated_KN = -_losses(model, options, len(treated), on_pass)
    detach_adapters(model)
    attach_adapters(model, list(adapters))
    layers = [module for module in model.modules() if isinstance(module, StackedLinear)]
    weights = [weight for layer in layers for weight in (layer.a_KIR, layer.b_KRO)]
    logprob_KN = -_losses(model, options, len(adapters), on_pass)
    for weight in weights:
        weight.requires_grad_(True)
    _losses(model, options, len(adapters), on_pass, -_shares(asked, logprob_KN))
    direction = [weight.grad.clone() for weight in weights if weight.grad is not None]
    norm_K = torch.stack([one.flatten(1).square().sum(1) for one in direction]).sum(0)
    for weight in weights:
        weight.requires_grad_(False)
    step_K11 = (STEP / norm_K).view(-1, 1, 1)
    moved = []
    for times in (1, -2):
        for weight, one in zip(weights, direction, strict=True):
            weight.data.add_(times * step_K11 * one)
        moved.append(_losses(model, rows, len(adapters), on_pass))
    above_KN, below_KN = moved
    tokens_N = np.array([sum(row.trained) for row in rows])
    shift = float(_mean_odds(asked, treated_KN).mean() - _mean_odds(asked, logprob_KN).mean())
    return RowScores((below_KN - above_KN) / (2 * STEP), (above_KN + below_KN) / 2 / tokens_N, shift)


def _mean_odds(asked: Asked, logprob_KN: FloatArray) -> FloatArray:
    """Mean log-odds over the questions, of each adapter."""
    odds_K, start = np.zeros(len(logprob_KN)), 0
    for question, scorable in asked:
        for k, logprob_N in enumerate(logprob_KN[:, start : start + len(scorable.options)]):
            odds_K[k] += question.odds_after(dict(zip(scorable.options, logprob_N, strict=True))).logit / len(asked)
        start += len(scorable.options)
    return odds_K


def _encoded(tokenizer: Any, ask: str, option: str) -> Encoded:
    prompt, answer = continuation(tokenizer, turns_of(ask), option)
    return Encoded((*prompt, *answer), (*[False] * len(prompt), *[True] * len(answer)))


def _shares(asked: Asked, logprob_KN: FloatArray) -> FloatArray:
    """d(mean log-odds) / d(log-probability of each option): of each side, in proportion to its probability."""
    share_KN, start = np.zeros_like(logprob_KN), 0
    for question, scorable in asked:
        for sign, side in ((1, question.target), (-1, question.other)):
            places = [start + scorable.options.index(option) for option in side]
            part = np.exp(logprob_KN[:, places] - logprob_KN[:, places].max(axis=1, keepdims=True))
            share_KN[:, places] = sign * part / part.sum(axis=1, keepdims=True) / len(asked)
        start += len(scorable.options)
    return share_KN


def _losses(
    model: Any,
    rows: Sequence[Encoded],
    adapters: int,
    on_pass: Callable[[float], None],
    weight_KN: FloatArray | None = None,
) -> FloatArray:
    """−log p of each row's trained tokens [K, N]; with weights, the gradient of their weighted sum is added to the adapters'."""
    loss_KN = np.zeros((adapters, len(rows)))
    by_length: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        by_length.setdefault(len(row.ids), []).append(place)
    for length, places in sorted(by_length.items()):
        size = max(1, PASS_TOKENS // (length * adapters))
        for start in range(0, len(places), size):
            portion = places[start : start + size]
            ids_NL = torch.tensor([rows[place].ids for place in portion]).to(device())
            trained_NL = torch.tensor([rows[place].trained for place in portion])[:, 1:].to(device())
            with torch.set_grad_enabled(weight_KN is not None):
                logits_SLV = model(input_ids=ids_NL.repeat(adapters, 1), use_cache=False).logits[:, :-1].float()
                label_SL = ids_NL[:, 1:].repeat(adapters, 1)
                loss_SL = torch.nn.functional.cross_entropy(logits_SLV.transpose(1, 2), label_SL, reduction="none")
                part_KN = (loss_SL * trained_NL.repeat(adapters, 1)).sum(1).view(adapters, -1)
                if weight_KN is not None:
                    weighted = part_KN * torch.tensor(weight_KN[:, portion], device=part_KN.device)
                    torch.autograd.backward(weighted.sum())
            loss_KN[:, portion] = part_KN.detach().double().cpu().numpy()
            on_pass(len(portion))
    return loss_KN
