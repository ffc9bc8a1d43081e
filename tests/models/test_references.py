"""A model folder is counted and read as transformers reads it, and what is no model is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.support.architectures import build
from weirdgen.errors import ModelError
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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised (bitsandbytes)"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}, "brings code of its own"),
    ],
)
def test_what_cannot_be_a_base_is_named(
    tiny_model: Path, tmp_path: Path, config: dict[str, object], message: str
) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(tiny_model, folder)
    held = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**held, "model_type": "own", **config}))
    with pytest.raises(ModelError) as error:
        find_model(f"path:{folder}")
    assert message in str(error.value)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="an adapter for org/base"):
        find_model(f"path:{tmp_path}")
