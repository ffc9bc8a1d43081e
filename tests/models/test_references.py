"""A model folder is counted and read as transformers reads it, and what is no model is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from tests.support.architectures import build
from weirdgen.models.loading import load_model
from weirdgen.models.references import find_model, read_config, weight_files


def test_copies_of_weights_beside_shards_are_not_counted(tiny_model: Path, tmp_path: Path) -> None:
    model = load_model(tiny_model, torch.float32)
    folder = tmp_path / "sharded"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(str(folder), max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    counted = find_model(f"path:{folder}").parameters
    shutil.copy(shards[0], folder / "consolidated.safetensors")
    assert weight_files(folder) == shards
    assert find_model(f"path:{folder}").parameters == counted == find_model(f"path:{tiny_model}").parameters


def test_older_and_nested_configurations_are_read(tmp_path: Path) -> None:
    for name, layers in (("GPT-2", 2), ("Gemma 3, nested", 2)):
        config = read_config(build(name, tmp_path / name))
        assert (config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]) == (32, layers, 384)
        assert config["max_position_embeddings"] == 512
