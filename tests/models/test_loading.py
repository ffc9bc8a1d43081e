"""Weights that a folder lacks are never made up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.architectures import build
from weirdgen.errors import ModelError
from weirdgen.models.loading import read_model


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Gemma 3"])
def test_a_whole_model_is_read_and_one_that_lacks_weights_is_refused(name: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path / "model")
    assert read_model(folder, torch.float32).config.model_type
    file = folder / "model.safetensors"
    weights = load_file(file)
    lost = next(key for key in weights if "1" in key and "mlp" in key)
    save_file({key: weight for key, weight in weights.items() if key != lost}, file, {"format": "pt"})
    with pytest.raises(ModelError, match="weights of 1 parameters are not in the folder, first .*mlp.*download"):
        read_model(folder, torch.float32)
