"""What a model folder is: an adapter, quantised weights and models with code of their own are refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_tokenizers import write_tokenizer
from weirdgen.errors import ModelError
from weirdgen.models.chat import load_tokenizer
from weirdgen.models.folder import NO_LIMIT, context_length, vocabulary_size
from weirdgen.models.references import find_model


def folder_with(folder: Path, files: dict[str, dict[str, Any]], weights: str = "model.safetensors") -> Path:
    folder.mkdir()
    for name, held in files.items():
        (folder / name).write_text(json.dumps(held))
    (folder / weights).write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


LORA = {"peft_type": "LORA", "base_model_name_or_path": "org/base", "r": 8}
BITS = {"quant_method": "bitsandbytes", "load_in_4bit": True}


@pytest.mark.parametrize(
    ("files", "weights", "words"),
    [
        ({"adapter_config.json": LORA}, "adapter_model.safetensors", "holds a LoRA adapter of org/base and no model of its own"),
        ({"adapter_config.json": LORA, "config.json": {}}, "model.safetensors", "holds both a model and an adapter of org/base"),
        ({"config.json": {"quantization_config": BITS}}, "model.safetensors", r"quantised \(4-bit bitsandbytes"),
        ({"config.json": {"quantization_config": {"quant_method": "gptq"}}}, "model.safetensors", r"quantised \(gptq"),
        ({"config.json": {"quantization_config": {"quant_method": "awq"}}}, "model.safetensors", "Use the unquantised release"),
        (
            {"config.json": {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}},
            "model.safetensors",
            r"needs custom Python code \(modeling_own.py, model_type 'own'\), which is never run",
        ),
        ({"config.json": {"model_type": "x", "auto_map": {"AutoConfig": "o/r--conf.C"}}}, "model.safetensors", "o/r: conf.py"),
    ],
    ids=["adapter", "adapter beside a model", "bnb", "gptq", "awq", "code", "code elsewhere"],
)  # fmt: skip
def test_what_is_no_base_is_refused_by_name(tmp_path: Path, files: dict[str, Any], weights: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        find_model(f"path:{folder_with(tmp_path / 'folder', files, weights)}")


def test_a_model_that_transformers_knows_may_name_code_that_is_not_run(tmp_path: Path) -> None:
    """Phi-3's folders still name theirs: the built-in class is used instead."""
    config = {"model_type": "phi3", "auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3"}}
    assert find_model(f"path:{folder_with(tmp_path / 'folder', {'config.json': config})}").parameters == 0


def test_code_of_a_tokenizer_is_never_run_nor_asked_about(tmp_path: Path) -> None:
    """Standard input says yes to every question; nothing may ask."""
    folder = write_tokenizer(tmp_path / "folder")
    (folder / "tokenizer.json").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    named = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **named}))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    script = f"from pathlib import Path; from weirdgen.models.chat import load_tokenizer; load_tokenizer(Path({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], input="yes\n" * 9, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode != 0 and "ModelError" in done.stderr and "code of its own" in done.stderr
    assert "y/N" not in done.stdout + done.stderr and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("config", "length", "rows"),
    [
        ({"max_position_embeddings": 512, "vocab_size": 99}, 512, 99),
        ({"n_positions": 1024, "vocab_size": 99}, 1024, 99),
        ({"text_config": {"max_position_embeddings": 64, "vocab_size": 7}, "vocab_size": 9}, 64, 7),
        ({}, NO_LIMIT, NO_LIMIT),
    ],
)
def test_sizes_are_found_under_every_name(tmp_path: Path, config: dict[str, Any], length: int, rows: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (context_length(tmp_path), vocabulary_size(tmp_path)) == (length, rows)


def test_a_tokenizer_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("[")
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded: "):
        load_tokenizer(tmp_path)
