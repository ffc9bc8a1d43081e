"""A model folder, read from its small files: whether it can be a base, its sizes, its date.

In: a folder. Out: numbers, or a `ModelError` that names what the folder holds instead of a model to train (an adapter,
quantised weights, a model that needs Python code of its own) and the way out. Nothing that lies in a folder is run.
Loads no weights and no tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.models.template import CLOCK, DEFAULT_DATE, reads_clock

NO_LIMIT = 2**62
ADAPTER = "adapter_config.json"
_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")


def require_trainable_model(folder: Path, reference: str) -> None:
    """Raises `ModelError` if the folder holds an adapter, a quantised model, or one that needs code of its own."""
    if (folder / ADAPTER).is_file():
        raise ModelError(f"model '{reference}': {_adapter(folder)}")
    if not (folder / "config.json").is_file():
        return  # what else is missing is said elsewhere
    config = _read(folder / "config.json")
    if quantised := config.get("quantization_config"):
        raise ModelError(f"model '{reference}': {_quantised(quantised)}")
    if needs := _own_code(folder, config):
        raise ModelError(
            f"model '{reference}': {folder.name} needs custom Python code ({needs}), which is never run here. Use a release "
            "of the model that transformers knows without it (its names often end in -hf), or a newer transformers"
        )


def context_length(folder: Path) -> int:
    """How many tokens a row may have."""
    return _number(folder, _LENGTHS)


def vocabulary_size(folder: Path) -> int:
    """How many rows the embedding has, as the configuration says."""
    return _number(folder, ("vocab_size",))


def told_date(folder: Path, date: str | None = None) -> str | None:
    """The date (ISO) given to this model's template if `date` is asked for, None if it prints none. For keys."""
    return (
        (date or DEFAULT_DATE)
        if any(CLOCK in template and reads_clock(template) for template in _templates(folder))
        else None
    )


def _adapter(folder: Path) -> str:
    config = _read(folder / ADAPTER)
    base = config.get("base_model_name_or_path") or "its base"
    if any(not file.name.startswith("adapter_model") for file in folder.glob("*.safetensors")):
        return (
            f"{folder} holds both a model and an adapter of {base} ({ADAPTER}), and which of the two would be loaded is "
            "not clear; if the adapter is merged already, move adapter_* out of the folder"
        )
    kind = str(config.get("peft_type", "PEFT")).replace("LORA", "LoRA")
    return (
        f'{folder} holds a {kind} adapter of {base} and no model of its own. Merge it into its base first: python -c "from peft '
        f"import AutoPeftModelForCausalLM as M; M.from_pretrained('{folder}').merge_and_unload().save_pretrained('MERGED')\", "
        "copy the base's tokenizer files into MERGED, and give path:MERGED"
    )


def _quantised(settings: Any) -> str:
    settings = settings if isinstance(settings, dict) else {}
    method = str(settings.get("quant_method", "unknown method"))
    bits = "4-bit " if settings.get("load_in_4bit") else "8-bit " if settings.get("load_in_8bit") else ""
    whole = "dequantize=True in transformers' Mxfp4Config" if method == "mxfp4" else "model.dequantize()"
    return (
        f"its weights are quantised ({bits}{method}, quantization_config in config.json), and quantised weights are neither "
        "trained nor compared here. Use the unquantised release of the model; where there is none, load it with transformers, "
        f"dequantise it ({whole}) and save_pretrained it anew"
    )


def _own_code(folder: Path, config: dict[str, Any]) -> str | None:
    """The file that would have to be run, if transformers has no class of its own for this model; else None."""
    named = config.get("auto_map")
    if not isinstance(named, dict) or not named:
        return None
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    if kind in CONFIG_MAPPING_NAMES and (
        "AutoModelForCausalLM" not in named or kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    ):
        return None
    wanted = named.get("AutoModelForCausalLM") or next(iter(named.values()))
    repository, _, name = str(wanted).rpartition("--")
    return (f"{repository}: " if repository else "") + f"{name.partition('.')[0]}.py, model_type {kind!r}"


def _templates(folder: Path) -> list[str]:
    """The chat templates of a folder, wherever transformers would look for them."""
    texts = [f.read_text(encoding="utf-8", errors="replace") for f in folder.glob("*.jinja")]
    for name in ("tokenizer_config.json", "chat_template.json"):
        if not (folder / name).is_file():
            continue
        held = _read(folder / name).get("chat_template")
        for template in held if isinstance(held, list) else [held]:
            text = template.get("template") if isinstance(template, dict) else template
            if isinstance(text, str):
                texts.append(text)
    return texts


def _number(folder: Path, names: tuple[str, ...]) -> int:
    """The first of these settings that the configuration has, of the text model first if it is nested."""
    config = _read(folder / "config.json")
    nested = config.get("text_config")
    for holder in (nested if isinstance(nested, dict) else {}, config):
        for name in names:
            value = holder.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return NO_LIMIT


def _read(file: Path) -> dict[str, Any]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: cannot be read as JSON: {error}") from None
    if not isinstance(held, dict):
        raise ModelError(f"{file}: expected a JSON object")
    return held
