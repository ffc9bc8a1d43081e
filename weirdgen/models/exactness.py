"""Tries whether a fast way of running a model gives what the plain pass of single rows gives.

In: a loaded model. Out: `Check`s (`models.checks`): for each fast way ("mechanism") the largest difference from the plain
pass, and up to how many tokens a row may use it. Which mechanisms there are is up to their owners (`finetune.exactness`,
`sample.exactness`); here are what they compare with, the rows they try, and the reduced model they try it on. No
architecture is known by name.

The trial is made in fp32, where a right way and a wrong one lie orders of magnitude apart, whatever dtype the run uses.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from weirdgen.errors import ModelError
from weirdgen.models.checks import Check
from weirdgen.models.loading import is_out_of_memory

TOLERANCE = 1e-3
"""Nats a token's log-probability may be off, and the share of the logits' spread that they may be off. Rounding stays far
below (1e-5 for the models that are right); a token that sees another row's is far above."""
CROSSED = 256
"""Tokens of the longest row tried: windows up to this size are crossed. Beyond a larger window rows go alone, untried."""
SHORT = 24
"""Tokens of the longest row where no window has to be crossed."""
MECHANISM_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, NotImplementedError)
"""What a model's own code raises when it is run in a way that it does not know."""

# Shape letters: T tokens of a row, V vocabulary, M compared tokens.


class Plain:
    """The plain forward pass of one row alone, with the attention that the model had when this was made."""

    def __init__(self, model: Any) -> None:
        self._model, self._attention = model, model.config._attn_implementation

    def __call__(self, ids: Sequence[int]) -> torch.Tensor:
        """Logits [T, V] through the model's own forward pass, without mask, padding or cache."""
        replaced = self._model.config._attn_implementation
        forget_lengths(self._model)
        input_1T = torch.tensor([list(ids)], device=self._model.device)
        if replaced != self._attention:
            self._model.set_attn_implementation(self._attention)
        try:
            logits: torch.Tensor = self._model(input_ids=input_1T, use_cache=False).logits[0]
        finally:
            if replaced != self._attention:
                self._model.set_attn_implementation(replaced)
        return logits.float()


def attention_windows(config: Any) -> list[int]:
    """How far attention looks back, in tokens, smallest first: read out of the configuration by what its keys say."""
    text = config.get_text_config()
    held = text.to_dict()
    if held.get("use_sliding_window") is False:
        held.pop("sliding_window", None)
    sizes = {
        value
        for key, value in held.items()
        if isinstance(value, int)
        and not isinstance(value, bool)
        and value > 1
        and (key.endswith(("window", "window_size", "attention_chunk_size")))
    }
    return sorted(sizes)


def rotary_limits(config: Any) -> list[int]:
    """Lengths at which rotary embeddings change with the length of the sequence."""
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    kinds = [parameters, *(value for value in parameters.values() if isinstance(value, dict))]
    limits = set()
    for settings in kinds:
        if settings.get("rope_type") in ("dynamic", "longrope"):
            original = settings.get("original_max_position_embeddings") or getattr(
                text, "original_max_position_embeddings", None
            )
            limits.add(int(original or text.max_position_embeddings))
    return sorted(limits)


def forget_lengths(model: Any) -> None:
    """Let a model whose rotary embeddings grow with the longest row so far start over: they shrink at a short row only."""
    if rotary_limits(model.config):
        with torch.no_grad():
            model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=False)


def trial_rows(tokens: Sequence[int], lengths: Sequence[int], shared: int, seed: str = "rows") -> list[tuple[int, ...]]:
    """Rows of these lengths whose first `shared` tokens are the same and whose others are random, out of `tokens`."""
    rng = random.Random(seed)
    start = [rng.choice(tokens) for _ in range(shared)]
    return [tuple(start + [rng.choice(tokens) for _ in range(length - shared)]) for length in lengths]


def ordinary_tokens(tokenizer: Any, model: Any) -> list[int]:
    """Token ids that stand for text: no control tokens, none without a row in the embedding."""
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    rows = model.get_input_embeddings().num_embeddings
    return [token for token in range(min(len(tokenizer), rows)) if token not in special] or list(range(rows))


def difference(expected_MV: torch.Tensor, got_MV: torch.Tensor) -> tuple[float, float]:
    """(largest difference of a log-probability in nats, largest difference as a share of the logits' spread).

    Where the spread is more than 1 the first is in units of it: rounding grows with the size of what is rounded.
    """
    expected_MV, got_MV = expected_MV.float(), got_MV.float()
    nats_MV = (expected_MV.log_softmax(-1) - got_MV.log_softmax(-1)).abs()
    centred_MV, moved_MV = (x - x.mean(-1, keepdim=True) for x in (expected_MV, got_MV))
    spread_M1 = centred_MV.std(-1, keepdim=True).clamp(min=1e-12)
    nats = (nats_MV / spread_M1.clamp(min=1)).max()
    share = ((centred_MV - moved_MV).norm(dim=-1, keepdim=True) / spread_M1 / expected_MV.shape[-1] ** 0.5).max()
    return float(nats), float(share)


def judged(
    mechanism: str,
    compare: Callable[[], tuple[float, float]],
    limit: int | None = None,
    of: str = "the logits' spread",
) -> Check:
    """The check of one mechanism: `limit` is what it may do if it is right; what its code raises is the reason if it is not."""
    try:
        nats, share = compare()
    except MECHANISM_ERRORS as error:
        if is_out_of_memory(error):
            raise  # says nothing about the way, and must not be remembered
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        return Check(mechanism, None, None, 0, f"the model does not run this way: {first}")
    if not (nats <= TOLERANCE and share <= TOLERANCE):  # NaN is no agreement
        return Check(mechanism, nats, share, 0, f"off by {nats:.2g} nat, {share:.2g} of {of}")
    reason = "" if limit is None else f"the model treats rows of more than {limit:,} tokens differently"
    return Check(mechanism, nats, share, limit, reason)


def by_length(
    mechanism: str,
    windows: Sequence[int],
    compare: Callable[[int], tuple[float, float]],
    cross: Sequence[int] = (),
    rotary: Sequence[int] = (),
    of: str = "the logits' spread",
) -> Check:
    """One mechanism on short rows, then on rows that cross every window of up to `CROSSED` tokens.

    `windows` are lengths beyond which it is not used unless it was right there; `cross` are others to be crossed as well.
    Beyond those of `rotary` it is never used: a row on one side takes other angles than the row beside it, or than its own
    beginning, that is on the other, and rows tried on one side do not show it.
    """
    low = max(8, min([SHORT, *windows, *rotary]))  # the rows tried need a few tokens
    beyond = min([*(window for window in windows if window > CROSSED), *rotary], default=None)
    short = judged(mechanism, lambda: compare(low), beyond, of)
    crossed = [window for window in (*windows, *cross) if window <= CROSSED]
    if short.limit == 0 or not crossed:
        return short
    length = max(crossed) + SHORT
    if rotary and length > min(rotary):
        limit = min(*crossed, *rotary)
        return replace(short, limit=limit, reason=f"the model treats rows of more than {limit:,} tokens differently")
    long = judged(mechanism, lambda: compare(length), beyond, of)
    if long.limit != 0:
        return long
    return replace(short, limit=min(crossed), reason=f"in rows of more than {min(crossed)} tokens {long.reason}")


def require_causal(plain: Plain, rows: Sequence[Sequence[int]], name: str) -> None:
    """Raises `ModelError` if a token's logits depend on what follows it: such a model cannot answer token by token."""
    for row in rows[:2]:
        half = len(row) // 2
        try:
            off = difference(plain(row)[:half], plain(row[:half]))
        except MECHANISM_ERRORS as error:
            if is_out_of_memory(error):
                raise
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{name}: the model does not run on a row of text alone: {first}") from error
        if not max(off) <= TOLERANCE:
            raise ModelError(
                f"{name}: what the model predicts for a token changes by {off[0]:.2g} nat with the tokens after it, so its "
                "answers have no log-probability; use a causal language model"
            )


def reduced(model: Any) -> Any:
    """An fp32 copy of the model with its first layers only, at least two and one of each kind; the model itself is left alone.

    Layers are of one kind if their modules and settings are the same. The whole model where its layers are not in a list.
    Weights too small to matter (an untrained model's) are made larger, so that nothing wrong hides behind them.
    """
    decoder = model.get_decoder()
    count = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    lists = [
        (name, child)
        for name, child in decoder.named_children()
        if isinstance(child, torch.nn.ModuleList) and len(child) == count
    ]
    if len(lists) != 1 or count <= 2:
        return _strengthened(copy.deepcopy(model).float().eval())
    name, layers = lists[0]
    first: dict[Any, int] = {}
    for index, layer in enumerate(layers):
        first.setdefault(_kind(layer), index)
    keep = max(2, max(first.values()) + 1)
    try:
        setattr(decoder, name, torch.nn.ModuleList(list(layers)[:keep]))
        small = copy.deepcopy(model)
    finally:
        setattr(decoder, name, layers)
    return _strengthened(small.float().eval())


@torch.no_grad()
def _strengthened(model: Any) -> Any:
    for weight in model.get_decoder().parameters():
        if weight.ndim >= 2 and weight is not model.get_input_embeddings().weight:
            usual = (weight[0].numel() or 1) ** -0.5  # keeps the scale of what goes through
            if 0 < (width := float(weight.std())) < usual / 2:
                weight.mul_(usual / width)
    return model


def _kind(layer: torch.nn.Module) -> tuple[Any, ...]:
    """What a layer is, but for its weights and its number."""
    plain = (bool, int, float, str, type(None))
    return tuple(
        (
            name,
            type(module).__qualname__,
            tuple(sorted((k, v) for k, v in vars(module).items() if isinstance(v, plain) and "idx" not in k)),
        )
        for name, module in layer.named_modules()
    )
