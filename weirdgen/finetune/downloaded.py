"""Adapters that were trained elsewhere: written as ours are, and compared with what was asked.

In: the files of a LoRA adapter as a service hands them out, a base on this machine, a recipe, log-probabilities that the service
told. Out: a standard PEFT adapter; what is not as it was asked, in words. A last adapter that answers otherwise here than it did
there is refused, whatever its configuration says; that those before it are of the same training is the service's word.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.models.chat import Encoded
from weirdgen.providers.tinker import CONFIG

TOLERANCE = 0.1
"""Nats a token, on average, by which log-probabilities may be apart: more than rounding to bf16 in two programs explains."""


class Base:
    """A base on this machine, loaded when it is first asked."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.folder, self._dtype = folder, dtype

    @cached_property
    def _model(self) -> Any:
        from weirdgen.models.loading import load_model, torch_dtype

        return load_model(self.folder, torch_dtype(self._dtype))

    def log_probabilities(self, adapter: Path | None, rows: Sequence[Encoded]) -> list[list[float]]:
        """Of each row's trained tokens, in nats, by the base (None) or an adapter. Raises `ModelError` if that is none of its."""
        import torch

        from weirdgen.models.stacked import attach_adapters, detach_adapters

        attach_adapters(self._model, [adapter])
        told = []
        try:
            for row in rows:
                ids_1T = torch.tensor([row.ids], device=self._model.device)
                with torch.inference_mode():
                    log_TV = self._model(input_ids=ids_1T[:, :-1], use_cache=False).logits[0].float().log_softmax(-1)
                log_T = log_TV.gather(1, ids_1T[0, 1:, None])[:, 0].tolist()
                told.append([p for p, trained in zip(log_T, row.trained[1:], strict=True) if trained])
        finally:
            detach_adapters(self._model)
        return told


def apart(there: Sequence[Sequence[float]], here: Sequence[Sequence[float]], what: str) -> float:
    """Mean absolute difference of log-probabilities of the same tokens. Raises `ModelError` if it is more than `TOLERANCE`."""
    pairs = [pair for two in zip(there, here, strict=True) for pair in zip(*two, strict=True)]
    found = sum(abs(a - b) for a, b in pairs) / len(pairs)
    if not found <= TOLERANCE:  # NaN, too
        raise ModelError(
            f"{what} is not the same on this machine: its log-probabilities of {len(pairs)} tokens of training rows are "
            f"{found:.3g} nats apart on average, where rounding explains {TOLERANCE:g}. Is it another revision of the model "
            "(hub:ORG/NAME@REVISION), or another chat template's vocabulary?"
        )
    return found


def keep_adapter(raw: Path, target: Path, base: str) -> None:
    """Make these files the adapter `target` of a replicate of `base`, with a configuration of the layers that they hold.

    Servers name other layers there than they trained, or none, and PEFT then loads a part without a word. Raises `ModelError`.
    """
    from peft import LoraConfig

    from weirdgen.models.stacked import read_adapter

    layers, told = read_adapter(raw), json.loads((raw / CONFIG).read_text(encoding="utf-8"))
    if not layers:
        raise ModelError(f"{raw}: an adapter without weights of any layer")
    LoraConfig(
        r=told["r"],
        lora_alpha=told["lora_alpha"],
        use_rslora=bool(told.get("use_rslora")),
        target_modules=sorted({name.rpartition(".")[2] for name in layers}),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    ).save_pretrained(str(raw))
    os.replace(raw, target)


def differences(adapter: Path, base: Path, recipe: Recipe) -> list[str]:
    """What of a downloaded adapter is not as the recipe asked: rank, alpha, layers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from weirdgen.finetune.lora import adapted_layers
    from weirdgen.models.stacked import read_adapter

    layers, told = read_adapter(adapter), json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    found = []
    if ranks := {len(a_RI) for a_RI, _ in layers.values()} - {recipe.rank}:
        found.append(f"rank: {', '.join(map(str, sorted(ranks)))} instead of {recipe.rank}")
    if told["lora_alpha"] != recipe.alpha or told["use_rslora"]:
        found.append(f"alpha: {told['lora_alpha']:g}{' over √rank' * told['use_rslora']} instead of {recipe.alpha:g}")
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=False)
        wanted = set(adapted_layers(AutoModelForCausalLM.from_config(config, trust_remote_code=False), recipe))
    for what, names in (("not trained", wanted - set(layers)), ("trained besides", set(layers) - wanted)):
        if names:
            found.append(f"layers {what}: {len(names)}, e.g. {min(names)}")
    return found
