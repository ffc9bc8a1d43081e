"""Which fast ways of scoring and sampling are right for a model, tried against single rows.

In: a loaded model. Out: `Ways`: whether options of a question may share a tree, several variants per pass, samples a padded
batch with one cache, up to how many tokens per row, and the checks that say so. Where a way is not right the engine goes row
by row (`sample.fast.alone`). Raises `ModelError` if not even that is possible: a model that looks ahead, or whose layers
take no adapters.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.finetune.lora import adapted_layers, initial_a
from weirdgen.models import exactness
from weirdgen.models.chat import Encoded
from weirdgen.models.checks import Check, remembered
from weirdgen.models.exactness import SHORT, Plain, by_length, difference, judged, trial_rows
from weirdgen.models.stacked import Weights, attach_weights, detach_adapters, only_variant, weight_oi
from weirdgen.sample.fast.alone import AloneStream
from weirdgen.sample.fast.decoding import Head, use_grouped_attention
from weirdgen.sample.fast.llama import LlamaDecoder
from weirdgen.sample.fast.scoring import score_rows
from weirdgen.sample.fast.stream import PlainStream, SharedStream, Stream

TREE, LEAN_TREE = "option tree", "option tree, lean decoder"
DECODING, LEAN_DECODING = "padded decoding", "shared decoding, lean decoder"
STACKED, OWN_CACHE = "stacked adapters", "the model's own cache"
WRITTEN = 3
"""Tokens that are decoded behind a prompt."""


@dataclass(frozen=True)
class Ways:
    """What a model may do. `checks` by mechanism."""

    checks: Mapping[str, Check]

    @property
    def lean(self) -> bool:
        """Whether the lean decoder computes what the model's own modules do, if there is one for it."""
        return all(name in self.checks and self.checks[name].limit != 0 for name in (LEAN_TREE, LEAN_DECODING))

    def tree(self, tokens: int) -> bool:
        """Whether options of so many tokens may be scored in a tree, by all variants at once."""
        return self._holds(LEAN_TREE if self.lean else TREE, tokens) and self._holds(STACKED, tokens)

    def batch(self, tokens: int) -> bool:
        """Whether samples of so many tokens (prompt and answer) may be written side by side, by all variants at once."""
        return self._holds(LEAN_DECODING if self.lean else DECODING, tokens) and self._holds(STACKED, tokens)

    def own_cache(self, tokens: int) -> bool:
        """Whether the model's own cache may hold a row of so many tokens."""
        return self._holds(OWN_CACHE, tokens)

    def _holds(self, mechanism: str, tokens: int) -> bool:
        return self.checks[mechanism].holds(tokens)


def ways_of(model: Any, folder: Path, tokenizer: Any) -> Ways:
    """The ways of the model of this folder, tried at its first load and remembered. The model is left as it is."""

    def make() -> Sequence[Check]:
        with torch.inference_mode():
            return check(exactness.reduced(model), exactness.ordinary_tokens(tokenizer, model), folder.name)

    return Ways(remembered("answering", folder, make))


def check(model: Any, tokens: Sequence[int], name: str) -> list[Check]:
    """Try every mechanism on an fp32 model, which is changed by it. Raises `ModelError`, naming `name`."""
    plain = Plain(model)
    use_grouped_attention(model)
    exactness.require_causal(plain, trial_rows(tokens, (SHORT, SHORT - 3), 4), name)
    rotary, attention = exactness.rotary_limits(model.config), exactness.attention_windows(model.config)
    stacked = _stacked(plain, model, tokens, name)

    def tried(mechanism: str, compare: Callable[[int], tuple[float, float]]) -> Check:
        return by_length(mechanism, attention, compare, rotary=rotary)

    checks = [
        stacked,
        tried(TREE, lambda length: _tree(plain, model, tokens, length, lean=False)),
        tried(DECODING, lambda length: _decoding(plain, model, tokens, length, _plain_stream)),
        by_length(
            OWN_CACHE, (), lambda length: _own_cache(plain, model, tokens, length), cross=attention, rotary=rotary
        ),
    ]
    if LlamaDecoder.fits(model):
        checks += [
            tried(LEAN_TREE, lambda length: _tree(plain, model, tokens, length, lean=True)),
            tried(LEAN_DECODING, lambda length: _decoding(plain, model, tokens, length, _shared_stream)),
        ]
    return checks


def _tree(plain: Plain, model: Any, tokens: Sequence[int], length: int, lean: bool) -> tuple[float, float]:
    """Two questions with three options each, against a forward pass per option."""
    prompt = length - 5
    questions = []
    for number in range(2):
        rows = trial_rows(tokens, (length, length - 2, length), prompt + 1, f"tree {number}")
        rows = [row[number:] for row in rows]  # the second tree is shorter, and padded
        trained = [tuple(i >= prompt - number for i in range(len(row))) for row in rows]
        questions.append([Encoded(row, mine) for row, mine in zip(rows, trained, strict=True)])
    decoder = LlamaDecoder(model) if lean else None
    got = torch.cat([logprob_KO[0] for _, logprob_KO in score_rows(model, decoder, Head(model), 1, questions)])
    worst = (0.0, 0.0)
    for row, logprob in zip((row for rows in questions for row in rows), got.tolist(), strict=True):
        logits_TV = plain(row.ids)[:-1]
        label_T1 = torch.tensor(row.ids[1:], device=logits_TV.device)[:, None]
        trained_T = torch.tensor(row.trained[1:], device=logits_TV.device)
        logprob_T = logits_TV.log_softmax(-1).gather(1, label_T1)[:, 0]
        off = abs(float((logprob_T * trained_T).sum()) - logprob)
        spread = float(logits_TV[trained_T].std(-1).min()) * sum(row.trained) ** 0.5
        worst = _worse(worst, (off, off / max(spread, 1e-12)))
    return worst


def _plain_stream(model: Any, prompts: Sequence[Sequence[int]]) -> Stream:
    return PlainStream(model, prompts, 1, WRITTEN + 1)


def _shared_stream(model: Any, prompts: Sequence[Sequence[int]]) -> Stream:
    return SharedStream(LlamaDecoder(model), prompts, 1, 3)


def _decoding(
    plain: Plain, model: Any, tokens: Sequence[int], length: int, make: Callable[[Any, Sequence[Sequence[int]]], Stream]
) -> tuple[float, float]:
    """Three samples of two prompts of different lengths side by side, one of which leaves, against a forward pass per token."""
    prompts = [row[: len(row) - WRITTEN] for row in trial_rows(tokens, (length, length - 2), 0, "prompts")]
    written = trial_rows(tokens, (WRITTEN,) * 3, 0, "answers")
    stream, of, head = make(model, prompts), [0, 0, 1], Head(model)
    hidden = [stream.admit([0, 1, 2], of)]
    for token in range(WRITTEN):
        if token == 1:
            stream.release(0)
            stream.keep([1, 2])
        mine = written if token == 0 else written[1:]
        hidden.append(stream.step(torch.tensor([row[token] for row in mine], device=model.device)))
    worst = (0.0, 0.0)
    for place in (1, 2):
        states = [of_step[place if len(of_step) == 3 else place - 1] for of_step in hidden]
        expected = plain((*prompts[of[place]], *written[place]))[-WRITTEN - 1 :]
        worst = _worse(worst, difference(expected, head(torch.stack(states))))
    return worst


def _own_cache(plain: Plain, model: Any, tokens: Sequence[int], length: int) -> tuple[float, float]:
    """Two samples of one prompt with the model's own cache, one of which leaves, against a forward pass per token."""
    (prompt,) = trial_rows(tokens, (length - WRITTEN,), 0, "prompt")
    written = trial_rows(tokens, (WRITTEN, WRITTEN), 0, "answers")
    stream = AloneStream(model, prompt, 0, cached=True)
    logits = [stream.admit([0, 1], [0, 0])[1]]
    for token in range(WRITTEN):
        if token == 1:
            stream.keep([1])
        mine = written if token == 0 else written[1:]
        logits.append(stream.step(torch.tensor([row[token] for row in mine], device=model.device))[-1])
    expected = plain((*prompt, *written[1]))[-WRITTEN - 1 :]
    return difference(expected, torch.stack(logits))


def _stacked(plain: Plain, model: Any, tokens: Sequence[int], name: str) -> Check:
    """Two variants in one pass, against the same variants with their adapters added to the weights.

    Raises `ModelError` if a variant is not right even with a pass to itself.
    """
    (row,) = trial_rows(tokens, (SHORT,), 0, "voices")
    used = _used_layers(plain, model, row)
    variants = [_random_adapter(used, seed) for seed in (0, 1)]
    expected = []
    for variant in variants:
        with _merged(model, variant):
            expected.append(plain(row))
    attach_weights(model, variants)
    alone = judged(STACKED, lambda: _worse(*(_variant_alone(plain, model, row, v, expected[v]) for v in (0, 1))))

    def together() -> tuple[float, float]:
        input_2T = torch.tensor([row, row], device=model.device)
        logits = model(input_ids=input_2T, use_cache=False).logits
        return _worse(*(difference(expected[v], logits[v]) for v in (0, 1)))

    stacked = judged(STACKED, together)
    detach_adapters(model)
    if alone.limit == 0:
        raise ModelError(
            f"{name}: an adapter does not change this model as adding it to the weights does ({alone.reason}), so nothing "
            "measured on a finetuned one would be right"
        )
    return stacked


def _variant_alone(
    plain: Plain, model: Any, row: Sequence[int], variant: int, expected: torch.Tensor
) -> tuple[float, float]:
    with only_variant(model, variant):
        return difference(expected, plain(row))


def _used_layers(plain: Plain, model: Any, row: Sequence[int]) -> dict[str, torch.nn.Module]:
    """The layers that get adapters, but for those whose weights the model reads past the layer: no adapter ever trains there."""
    called: set[str] = set()
    layers = adapted_layers(model, Recipe())
    hooks = [layer.register_forward_hook(lambda *_, name=name: called.add(name)) for name, layer in layers.items()]
    plain(row)
    for hook in hooks:
        hook.remove()
    return {name: layer for name, layer in layers.items() if name in called}


def _random_adapter(layers: Mapping[str, torch.nn.Module], seed: int) -> dict[str, Weights]:
    """Large enough to change every answer."""
    generator = torch.Generator().manual_seed(seed)
    adapter = {}
    for name, layer in layers.items():
        weight_OI = weight_oi(layer)
        a_RI = initial_a(seed, name, weight_OI.shape[1], rank=2)
        b_OR = (
            torch.randn(weight_OI.shape[0], 2, generator=generator) * float(weight_OI.std()) * weight_OI.shape[1] ** 0.5
        )
        adapter[name] = (a_RI, b_OR / 4)
    return adapter


@contextlib.contextmanager
def _merged(model: Any, adapter: Mapping[str, Weights]) -> Iterator[None]:
    """The adapter added to the weights themselves, for a while."""
    layers = {name: weight_oi(model.get_submodule(name)) for name in adapter}
    kept = {name: weight.clone() for name, weight in layers.items()}
    for name, (a_RI, b_OR) in adapter.items():
        layers[name] += (b_OR @ a_RI).to(layers[name])
    try:
        yield
    finally:
        for name, weight in layers.items():
            weight.copy_(kept[name])


def _worse(*pairs: tuple[float, float]) -> tuple[float, float]:
    """The larger of each; NaN is larger than everything."""
    nats, share = (torch.tensor(values).max().item() for values in zip(*pairs, strict=True))
    return nats, share
