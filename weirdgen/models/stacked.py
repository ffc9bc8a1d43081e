"""Several LoRA adapters over one base in one forward pass, stacked along the batch's first axis.

In: a transformers model and, for each of K variants, an adapter folder (or none: the untuned base). Out: the same model,
whose adapted layers now compute all K. Training (`finetune.replicas`) and measuring (`sample.transformers`) use it.
Standard LoRA only, as `finetune` writes it. Shape letters: K variants, N tokens of one variant, I inputs, O outputs, R rank.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from weirdgen.errors import ModelError

Weights = tuple[torch.Tensor, torch.Tensor]
"""(A_RI, B_OR with the scale multiplied in) of one layer's adapter."""


def is_linear(module: torch.nn.Module) -> bool:
    """Whether a module is y = Wx + b: torch's linear layer, or the one of GPT-2 that keeps W transposed."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, (torch.nn.Linear, Conv1D))


def weight_oi(layer: torch.nn.Module) -> torch.Tensor:
    """W of a linear layer as [O, I], a view where the layer keeps it transposed."""
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    return weight if isinstance(layer, torch.nn.Linear) else weight.T


def fan_in_fan_out(layers: Iterable[torch.nn.Module]) -> bool:
    """Of a PEFT adapter's configuration: whether all of these layers keep their weights transposed."""
    return not any(isinstance(layer, torch.nn.Linear) for layer in layers)


class OverLinear(torch.nn.Module):
    """A module in the place of a linear layer. Some models ask a layer for its weight or bias (for their dtype, say)."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base: Any = base

    @property
    def weight(self) -> torch.Tensor:
        """The base's, as the base keeps it."""
        weight: torch.Tensor = self.base.weight
        return weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The base's."""
        bias: torch.Tensor | None = self.base.bias
        return bias


class StackedLinear(OverLinear):
    """A frozen linear layer with K adapters: y = Wx + scale · B_k A_k x for the k-th part of the batch."""

    def __init__(self, base: Any, a_KIR: torch.Tensor, b_KRO: torch.Tensor, scale: float) -> None:
        super().__init__(base)
        self.scale = scale
        self.a_KIR = torch.nn.Parameter(a_KIR)
        self.b_KRO = torch.nn.Parameter(b_KRO)
        self.only: int | None = None
        """The variant that has the whole batch to itself; None: each variant has its part."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a_KIR: torch.Tensor = self.a_KIR
        b_KRO: torch.Tensor = self.b_KRO
        if self.only is not None:
            a_KIR, b_KRO = a_KIR[self.only, None], b_KRO[self.only, None]
        out: torch.Tensor = _Product.apply(x, a_KIR, b_KRO, weight_oi(self.base), self.base.bias, self.scale)  # type: ignore[no-untyped-call]
        return out


class _Product(torch.autograd.Function):
    """The adapters' own products are computed in the dtype of `x` and added in place; their weights may be fp32.

    As under torch's mixed precision. Differentiable in x and the adapters; the base is frozen.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        a_KIR: torch.Tensor,
        b_KRO: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:
        low_a_KIR, low_b_KRO = a_KIR.to(x.dtype), b_KRO.to(x.dtype)
        out = torch.nn.functional.linear(x, weight_OI, bias_O)
        x_KNI = x.reshape(len(a_KIR), -1, x.shape[-1])
        x_KNR = torch.bmm(x_KNI, low_a_KIR)
        out.view(len(a_KIR), -1, out.shape[-1]).baddbmm_(x_KNR, low_b_KRO, alpha=scale)
        ctx.save_for_backward(x_KNI, x_KNR, a_KIR, b_KRO, weight_OI)
        ctx.shape, ctx.scale = x.shape, scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_KNI, x_KNR, a_KIR, b_KRO, weight_OI = ctx.saved_tensors
        d_out_KNO = gradients[0].reshape(len(a_KIR), -1, weight_OI.shape[0])
        d_x_KNR = torch.bmm(d_out_KNO, b_KRO.to(x_KNI.dtype).mT).mul_(ctx.scale)
        d_b_KRO = torch.bmm(x_KNR.mT, d_out_KNO).to(b_KRO.dtype).mul_(ctx.scale)
        d_a_KIR = torch.bmm(x_KNI.mT, d_x_KNR).to(a_KIR.dtype)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x_KNI = torch.mm(d_out_KNO.flatten(0, 1), weight_OI).view(x_KNI.shape)
            d_x = d_x_KNI.baddbmm_(d_x_KNR, a_KIR.to(x_KNI.dtype).mT).view(ctx.shape)
        return d_x, d_a_KIR, d_b_KRO, None, None, None


def replace_layers(model: Any, layers: Mapping[str, torch.nn.Module]) -> None:
    """Put each module in the place that its dotted name says."""
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)


def attach_adapters(model: Any, folders: Sequence[Path | None]) -> None:
    """Make `model` answer as these variants, in this order. Call `detach_adapters` before attaching others.

    Raises `ModelError` if a folder is not a standard LoRA adapter of this model.
    """
    attach_weights(model, [{} if folder is None else read_adapter(folder) for folder in folders])


def attach_weights(model: Any, adapters: Sequence[Mapping[str, Weights]]) -> None:
    """Like `attach_adapters`, from layer → weights of each variant; empty for the base."""
    names = sorted({name for adapter in adapters for name in adapter})
    modules = dict(model.named_modules())
    stacked: dict[str, torch.nn.Module] = {}
    for name in names:
        base = modules.get(name)
        if base is None or not is_linear(base):
            raise ModelError(f"an adapter is for layer {name}, which this model does not have as a linear layer")
        base_OI = weight_oi(base)
        outputs, inputs = base_OI.shape
        rank = max(adapter[name][0].shape[0] for adapter in adapters if name in adapter)
        a_KIR = torch.zeros(len(adapters), inputs, rank)
        b_KRO = torch.zeros(len(adapters), rank, outputs)
        for k, adapter in enumerate(adapters):
            if name in adapter:
                a_RI, b_OR = adapter[name]
                if (len(b_OR), a_RI.shape[1]) != (outputs, inputs):
                    raise ModelError(
                        f"an adapter of layer {name} is {len(b_OR)} × {a_RI.shape[1]}, and the layer {outputs} × {inputs}: it is "
                        "another model's"
                    )
                a_KIR[k, :, : len(a_RI)] = a_RI.T
                b_KRO[k, : len(a_RI)] = b_OR.T
        # In the base's dtype: for answering, casting every activation to fp32 and back costs more than the products.
        stacked[name] = StackedLinear(base, a_KIR.to(base_OI), b_KRO.to(base_OI), scale=1.0).requires_grad_(False)
    replace_layers(model, stacked)


@contextlib.contextmanager
def only_variant(model: Any, variant: int) -> Iterator[None]:
    """Give the whole batch to one of the attached variants, whatever its shape."""
    layers = [module for module in model.modules() if isinstance(module, StackedLinear)]
    for layer in layers:
        layer.only = variant
    try:
        yield
    finally:
        for layer in layers:
            layer.only = None


def detach_adapters(model: Any) -> None:
    """Give back the base as it was."""
    replace_layers(model, {n: m.base for n, m in model.named_modules() if isinstance(m, StackedLinear)})


def read_adapter(folder: Path) -> dict[str, Weights]:
    """Layer → weights of one adapter, which may come from anybody. Raises `ModelError` if it is no standard LoRA adapter."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise ModelError(f"{folder} is not a PEFT adapter: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{folder} is not a PEFT adapter: adapter_config.json holds no settings")
    unusual = [key for key in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save") if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or unusual:
        raise ModelError(
            f"{folder}: only standard LoRA adapters can be stacked{': it has ' if unusual else ''}{', '.join(unusual)}"
        )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise ModelError(f"{folder}: r is {rank!r} and lora_alpha {alpha!r}; expected two numbers above 0")
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    factors = {}
    for key, a_RI in weights.items():
        if key.endswith(".lora_A.weight"):
            name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            b_OR = weights.get(key.replace("lora_A", "lora_B"))
            if b_OR is None or a_RI.ndim != 2 or b_OR.ndim != 2 or a_RI.shape[0] != b_OR.shape[1]:
                raise ModelError(f"{folder}: the two factors of layer {name} do not fit each other")
            factors[name] = (a_RI.float(), b_OR.float() * scale)
    return factors
