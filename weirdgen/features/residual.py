"""The residual stream of a model: where its layers are, how a layer's output is read, and how it is changed.

In: a transformers model and a layer (counted from 0; "at layer L" is the output of block L). Out: hidden states, or the same
model with an edit. Own hooks only: `output_hidden_states` shows the last layer behind the final norm, and edits only of hooks
that are older than its own. Any number of edits may be nested; they act before anything is captured, whichever came first.

Shape letters: B rows, T tokens, D hidden width, V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from weirdgen.errors import ModelError

Edit = Callable[[torch.Tensor], torch.Tensor]
"""Hidden states [B, T, D] → hidden states [B, T, D]."""
OUTLIER = 10.0
"""A token whose norm is this many times its row's median holds attention, not meaning (the first token of most models)."""


class _ReadEnoughError(Exception):
    """Ends a forward pass at the layer that was wanted."""


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """The model's blocks, whatever they are called. Raises `ModelError` if there is no list of the configured length."""
    count = layer_count(model)
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise ModelError(f"{type(model).__name__} has no list of its {count} layers, so that none can be read")


def layer_count(model: Any) -> int:
    """How many blocks the model has."""
    return int(model.config.get_text_config().num_hidden_layers)


def default_layer(count: int) -> int:
    """The layer read when none is named: as deep as the paper's 19 of 32, and never the last."""
    return max(0, min(round(0.59 * count), count - 2))


def require_layer(layer: int, count: int) -> None:
    """Raises `ModelError` with the layers that there are."""
    if not 0 <= layer < count:
        raise ModelError(f"--layer {layer}: the model has layers 0 to {count - 1}")


@contextlib.contextmanager
def edited(model: Any, layer: int, edit: Edit | None) -> Iterator[None]:
    """The model with the output of `layer` changed, in every forward pass, until the block ends, however it ends."""
    if edit is None:
        yield
        return

    def hook(_module: Any, _inputs: Any, output: Any) -> Any:
        changed = edit(output[0] if isinstance(output, tuple) else output)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    # In front of the hooks that capture, which are behind: what is captured is what later layers get.
    handle = decoder_layers(model)[layer].register_forward_hook(hook, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def read_layer(model: Any, layer: int, input_BT: torch.Tensor) -> torch.Tensor:
    """Hidden states [B, T, D] that leave `layer`; the layers behind it are not computed.

    Rows are padded on their right, where a causal model's earlier positions cannot see it: no mask is needed.
    """
    seen: list[torch.Tensor] = []

    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)
        raise _ReadEnoughError

    handle = decoder_layers(model)[layer].register_forward_hook(hook)
    try:
        model(input_ids=input_BT, use_cache=False)
    except _ReadEnoughError:
        pass
    finally:
        handle.remove()
    return seen[0]


def outliers(hidden_BTD: torch.Tensor) -> torch.Tensor:
    """[B, T]: tokens whose norm is far above their row's median; none in rows of fewer than three tokens."""
    norm_BT = hidden_BTD.float().norm(dim=-1)
    if norm_BT.shape[1] < 3:
        return torch.zeros_like(norm_BT, dtype=torch.bool)
    above_BT: torch.Tensor = norm_BT > OUTLIER * norm_BT.median(dim=1, keepdim=True).values
    return above_BT


def lens(model: Any, direction_D: torch.Tensor) -> torch.Tensor:
    """The logit lens: logits [V] that a direction of the residual stream adds, through the final norm and the unembedding.

    Source: nostalgebraist, "Interpreting GPT: the logit lens" (2020).
    """
    norm = _final_norm(model)
    head = model.get_output_embeddings()
    with torch.inference_mode():
        v = direction_D.to(head.weight.device, head.weight.dtype)[None]
        logits: torch.Tensor = head(norm(v) - norm(torch.zeros_like(v)))[0] - head(torch.zeros_like(v))[0]
    return logits.float()


def _final_norm(model: Any) -> torch.nn.Module:
    """The module behind the last block. Raises `ModelError` if none looks like one."""
    layers = decoder_layers(model)
    for module in model.modules():
        children = list(module.children())
        if any(child is layers for child in children):
            for name in ("norm", "ln_f", "final_layer_norm", "final_layernorm"):
                if (norm := getattr(module, name, None)) is not None:
                    return norm  # type: ignore[no-any-return]
    raise ModelError(f"{type(model).__name__}: no final norm is known, which the logit lens needs")
