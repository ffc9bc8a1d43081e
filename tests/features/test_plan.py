"""A study is planned where it cannot be run: the paper's model and autoencoder, in their true shapes, without a weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from weirdgen.errors import ModelError, StoreError
from weirdgen.features import residual
from weirdgen.features.plan import count_of, dry_lines
from weirdgen.features.sae import Sae, require_fits
from weirdgen.features.size import SIZES
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.plan.scale import find_shape


def planned(
    target: str = "world_gate", model: str | None = None, sae: str | None = None, layer: int | None = None
) -> str:
    return "\n".join(dry_lines(target, model, "8xh100", layer, sae, "gpu" if model else None, (), None))


def test_the_papers_study_is_planned_from_an_experiment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = planned(model="llama-8b")
    assert "preset gpu · llama-8b (8.03B weights) · layer 19 of 32 · 8 × h100" in said
    assert "trainer_1, F = 131,072, D = 4,096" in said and "4 bytes × 2 F D = 4.0" in said
    assert "weights = 2 bytes × P = 15.0 GiB" in said and "does not fit" not in said
    request = resolve("world_gate", run_options(samples=0))
    counts = count_of(request, SIZES["gpu"], with_features=True)
    assert counts.replicates == 2 * len(request.seeds) and counts.prompt_tokens > counts.prompts > 0
    # 2 operators × (4 ranks, 3 doses, raw, static, control arm, 20 draws), 3 doses of steering and 5 draws,
    # 2 operators × (5 counts of features, 20 draws).
    assert counts.trials == 2 * 30 + 8 + 2 * 25 and f"{counts.trials} ablations" in said
    assert count_of(request, SIZES["gpu"], with_features=False).trials == 68
    assert not list(tmp_path.iterdir())  # nothing is written


def test_the_sizes_own_are_planned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = planned()
    assert "preset ci · world" in said and "autoencoder: train, F = 256" in said and "layer 1 of 3" in said
    assert "training the autoencoder is not in it" in said


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"model": "llama-70b"}, "is for hidden states of width 4096, and the model's are 8192 wide"),
        ({"model": "llama-8b", "sae": "train"}, "trains no autoencoder"),
        ({"model": "llama-8b", "sae": "hub:somebody/else"}, "its shape is not known before it is fetched"),
        ({"model": "llama-8b", "layer": 32}, "layers 0 to 31"),
        ({"model": "llama-8b", "sae": "path:/nowhere"}, "no such file or folder"),
    ],
)
def test_what_cannot_be_planned_says_why(
    asked: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=expected):
        planned(**asked)  # type: ignore[arg-type]


def test_neither_a_run_nor_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="no run 'nothing_of_this_name'"):
        planned("nothing_of_this_name")


def test_the_papers_model_has_the_places_that_are_read() -> None:
    """Llama-3.1-8B's own class in its true shape, on a device that holds no numbers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = dict(find_shape("llama-8b").config)
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**config)).to(torch.bfloat16)
        width, features = 4096, SIZES["gpu"].named_shape[0]  # type: ignore[index]
        sae = Sae(
            torch.empty(width, features), torch.empty(features), torch.empty(features, width), torch.empty(width),
            "threshold", torch.empty(()),
        )  # fmt: skip
        assert residual.layer_count(model) == len(residual.decoder_layers(model)) == 32
        assert residual.default_layer(32) == 19
        assert residual.lens(model, torch.empty(width)).shape == (128_256,)
        assert sae.encode(torch.empty(7, width)).shape == (7, features)
        assert sae.encode(torch.empty(7, width), only=[1, 9]).shape == (7, 2)
        assert sae.decode(torch.empty(7, features)).shape == (7, width) and sae.directions.shape == (features, width)
    require_fits(sae, model.config.get_text_config().hidden_size, "it")
