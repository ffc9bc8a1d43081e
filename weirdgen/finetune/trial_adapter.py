"""The smallest adapter of a recipe: zeros on one layer, to try whether a server finds and loads adapters from a folder.

In: a model folder, a recipe, an empty folder. Out: a standard PEFT adapter in it that changes nothing. It loads no weights.
"""

from __future__ import annotations

from pathlib import Path

from weirdgen.config.experiment import Recipe


def write_trial_adapter(model_folder: Path, recipe: Recipe, folder: Path) -> None:
    """An adapter of the recipe's rank on the first layer that the recipe adapts."""
    import torch
    from peft import LoraConfig
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    from weirdgen.finetune.lora import adapted_layers
    from weirdgen.models.stacked import fan_in_fan_out, weight_oi

    config = AutoConfig.from_pretrained(str(model_folder), trust_remote_code=False)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    name, layer = next(iter(adapted_layers(skeleton, recipe).items()))
    rows, columns = weight_oi(layer).shape
    weights = {
        f"base_model.model.{name}.lora_A.weight": torch.zeros(recipe.rank, columns),
        f"base_model.model.{name}.lora_B.weight": torch.zeros(rows, recipe.rank),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=[name],
        task_type="CAUSAL_LM",
        base_model_name_or_path=model_folder.name,
        inference_mode=True,
        fan_in_fan_out=fan_in_fan_out([layer]),
    ).save_pretrained(str(folder))
