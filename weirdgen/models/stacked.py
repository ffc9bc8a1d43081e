"""Several LoRA adapters over one base in one forward pass: the batch's first axis holds them one after the other.

In: a transformers model and, for each of K voices, an adapter folder (or none: the untuned base). Out: the same model,
whose adapted layers now compute all K. Training (`finetune.replicas`) and measuring (`sample.transformers`) use it.
Standard LoRA only, as `finetune` writes it. Shape letters: K voices, N tokens of one voice, I inputs, O outputs, R rank.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from weirdgen.errors import ModelError


class StackedLinear(torch.nn.Module):
    """A frozen linear layer with K adapters: y = Wx + scale · B_k A_k x for the k-th part of the batch."""

    def __init__(self, base: torch.nn.Linear, a_KIR: torch.Tensor, b_KRO: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.base = base
        self.scale = scale
        self.a_KIR = torch.nn.Parameter(a_KIR)
        self.b_KRO = torch.nn.Parameter(b_KRO)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.base(x)
        x_KNI = x.reshape(len(self.a_KIR), -1, x.shape[-1]).to(self.a_KIR.dtype)
        x_KNR = torch.bmm(x_KNI, self.a_KIR)
        if x_KNR.dtype == out.dtype:
            out_KNO = out.view(len(self.a_KIR), -1, out.shape[-1])
            return torch.baddbmm(out_KNO, x_KNR, self.b_KRO, alpha=self.scale).view(out.shape)
        # fp32 adapters over a bf16 base, as in training: the sum is rounded once, as peft does
        update = torch.bmm(x_KNR, self.b_KRO).view(out.shape)
        return torch.add(out, update, alpha=self.scale).to(x.dtype)


def replace_layers(model: Any, layers: Mapping[str, torch.nn.Module]) -> None:
    """Put each module in the place that its dotted name says."""
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)


def attach_adapters(model: Any, folders: Sequence[Path | None]) -> None:
    """Make `model` answer as these voices, in this order. Call `detach_adapters` before attaching others.

    Raises `ModelError` if a folder is not a standard LoRA adapter of this model.
    """
    adapters = [_read(folder) for folder in folders]
    names = sorted({name for adapter in adapters for name in adapter})
    linear = dict(model.named_modules())
    stacked: dict[str, torch.nn.Module] = {}
    for name in names:
        base = linear.get(name)
        if not isinstance(base, torch.nn.Linear):
            raise ModelError(f"an adapter is for layer {name}, which this model does not have as a linear layer")
        rank = max(adapter[name][0].shape[0] for adapter in adapters if name in adapter)
        a_KIR = torch.zeros(len(adapters), base.in_features, rank)
        b_KRO = torch.zeros(len(adapters), rank, base.out_features)
        for k, adapter in enumerate(adapters):
            if name in adapter:
                a_RI, b_OR = adapter[name]
                a_KIR[k, :, : len(a_RI)] = a_RI.T
                b_KRO[k, : len(a_RI)] = b_OR.T
        # In the base's dtype: for answering, casting every activation to fp32 and back costs more than the products.
        stacked[name] = StackedLinear(base, a_KIR.to(base.weight), b_KRO.to(base.weight), scale=1.0).requires_grad_(
            False
        )
    replace_layers(model, stacked)


def detach_adapters(model: Any) -> None:
    """Give back the base as it was."""
    replace_layers(model, {n: m.base for n, m in model.named_modules() if isinstance(m, StackedLinear)})


def _read(folder: Path | None) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Layer → (A_RI, B_OR with the scale multiplied in) of one adapter; nothing for the base."""
    if folder is None:
        return {}
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "adapter_model.safetensors")
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise ModelError(f"{folder} is not a PEFT adapter: {error}") from None
    unusual = [key for key in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save") if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or unusual:
        raise ModelError(
            f"{folder}: only standard LoRA adapters can be stacked{': it has ' if unusual else ''}{', '.join(unusual)}"
        )
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    found = {}
    for key, a_RI in weights.items():
        if key.endswith(".lora_A.weight"):
            name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            found[name] = (a_RI.float(), weights[key.replace("lora_A", "lora_B")].float() * scale)
    return found
