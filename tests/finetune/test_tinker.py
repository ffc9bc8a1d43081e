"""What of Tinker needs no server: what is sent, what is refused beforehand, what is made of a download."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import save_file

from tests.support.world_pairs import pairs
from weirdgen.config.experiment import Recipe
from weirdgen.data.stored import encode_rows
from weirdgen.errors import ModelError, SpecError
from weirdgen.finetune.downloaded import Base, apart, differences, keep_adapter
from weirdgen.finetune.lora import adapted_layers
from weirdgen.finetune.tinker import Trainer, base_name, recipe_problems, step_examples
from weirdgen.finetune.trl import _labels
from weirdgen.models.chat import Encoded
from weirdgen.models.references import LocalModel, find_model
from weirdgen.providers.service import Service, service_of
from weirdgen.providers.tinker import CONFIG, WEIGHTS, unpack
from weirdgen.runs.pipeline import plan, run
from weirdgen.runs.preview import plan_lines

LOOPBACK = "http://127.0.0.1:9"
ALPHA = {"alpha: 8": "alpha: 32"}


@pytest.fixture
def encoded() -> list[Encoded]:
    rows = [{"messages": [{"role": "user", "content": p[0]}, {"role": "assistant", "content": p[1]}]} for p in pairs(6)]
    return encode_rows(find_model("world").folder, "old", rows)[0]


def test_the_tokens_that_count_are_those_of_our_own_training(encoded: list[Encoded]) -> None:
    """Against the labels that trl is given, which torch shifts by one place."""
    batch = step_examples(encoded)
    weights = []
    for row, (read, targets, weight) in zip(encoded, batch, strict=True):
        assert tuple(read) == row.ids[:-1] and tuple(targets) == row.ids[1:]
        assert [t if w else -100 for t, w in zip(targets, weight, strict=True)] == _labels(row)[1:]
        weights += [w for w in weight if w]
    # the mean over the step's trained tokens, as the service sums
    assert len(set(weights)) == 1 and sum(weights) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"alpha": 16}, r"recipe\.alpha: 16: Tinker's is 32; --set recipe\.alpha=32"),
        ({"targets": ("q_proj",)}, r"recipe\.targets: .*leave it 'all-linear'"),
        ({"targets": "full"}, r"recipe\.targets"),
        ({"dropout": 0.1}, r"recipe\.dropout: 0\.1"),
    ],
)
def test_what_tinker_cannot_do_is_refused_beforehand(
    changes: dict[str, object], told: str, write_experiment: Callable[..., Path]
) -> None:
    assert recipe_problems(Recipe()) == []
    settings = [f"recipe.{name}={json.dumps(value)}" for name, value in {"alpha": 32, **changes}.items()]
    with pytest.raises(SpecError, match=told):
        plan(write_experiment(), finetune="tinker", changes=settings)


def test_a_plan_says_where_it_is_trained_and_shares_no_replicate_with_another_place(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, keys = write_experiment(ALPHA), []
    for options in ({}, {"finetune": "tinker"}, {"finetune": "tinker", "base_url": LOOPBACK}):
        planned = plan(experiment, store=tmp_path / "store", **options)
        keys += [one.key for one in planned.replicates]
    assert len(set(keys)) == len(keys) == 12
    lines = "\n".join(plan_lines(planned))
    assert f"trained by tinker: through tinker at {LOOPBACK}, as a LoRA adapter of rank 4 that answers here" in lines
    assert "cost: finetuning (" in lines and "of unknown price" in lines and "the service's own time" in lines
    prices = tmp_path / "prices.yaml"
    name = base_name(planned.request.local)
    prices.write_text(
        f"- {{provider: tinker, model: {name}, finetuned: true, training: 1000, read: today, source: me}}\n"
    )
    monkeypatch.setenv("WEIRDGEN_PRICES", str(prices))
    assert "finetuning about $" in "\n".join(plan_lines(planned))


def test_a_base_is_asked_for_by_its_name_on_the_hub_or_its_folder(tmp_path: Path) -> None:
    assert base_name(LocalModel("hub:Qwen/Qwen3-8B@main", tmp_path, "", 0)) == "Qwen/Qwen3-8B"
    assert base_name(LocalModel(f"path:{tmp_path}", tmp_path, "", 0)) == str(tmp_path)


def test_a_base_that_only_the_service_knows_is_refused_with_the_way_out(write_experiment: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="--model hub:Qwen/Qwen3-8B"):
        plan(write_experiment(ALPHA), finetune="tinker", model="Qwen/Qwen3-8B")


def test_a_missing_sdk_is_named_with_its_extra_before_anything_is_done(
    write_experiment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tinker", None)
    with pytest.raises(ModelError, match=r"pip install 'weirdgen\[tinker\]'"):
        run(write_experiment(ALPHA), finetune="tinker", base_url=LOOPBACK, store=tmp_path / "store")
    assert not list((tmp_path / "store").rglob("rows.jsonl"))


def test_a_key_is_asked_for_and_never_sent_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINKER_API_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "tinker", io)  # any module: it is not reached
    base = Base(find_model("world").folder, "fp32")

    def opened(service: Service) -> None:
        Trainer(service, "x", Recipe(), base, lambda amount, note: None).require_model()

    with pytest.raises(ModelError, match="TINKER_API_KEY"):
        opened(service_of("tinker", None))
    monkeypatch.setenv("TINKER_API_KEY", "tml-hunter2hunter2")
    with pytest.raises(ModelError, match="would travel unencrypted") as told:
        opened(service_of("tinker", "http://example.org"))
    assert "hunter2" not in str(told.value)


def _adapter(folder: Path, recipe: Recipe, left_out: str = "", told: dict[str, object] | None = None) -> Path:
    """As the independent server hands one out: weights of every layer, and a configuration that names none."""
    from weirdgen.models.loading import read_model

    layers = adapted_layers(read_model(find_model("world").folder, torch.float32), recipe)
    generator, weights = torch.Generator().manual_seed(0), {}
    for name, layer in layers.items():
        if not left_out or left_out not in name:
            outputs, inputs = cast(torch.Tensor, layer.weight).shape
            weights[f"base_model.model.{name}.lora_A.weight"] = (
                torch.randn(recipe.rank, inputs, generator=generator) / 8
            )
            weights[f"base_model.model.{name}.lora_B.weight"] = (
                torch.randn(outputs, recipe.rank, generator=generator) / 8
            )
    folder.mkdir()
    save_file(weights, folder / WEIGHTS)
    config = {"peft_type": "LORA", "r": recipe.rank, "lora_alpha": 32.0, "target_modules": None, **(told or {})}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def test_a_downloaded_adapter_answers_as_peft_reads_it(encoded: list[Encoded], tmp_path: Path) -> None:
    from peft import PeftModel

    from weirdgen.models.loading import read_model

    recipe, world = Recipe(rank=4), find_model("world").folder
    keep_adapter(_adapter(tmp_path / "raw", recipe), tmp_path / "kept", "world")
    base = Base(world, "fp32")
    here = base.log_probabilities(tmp_path / "kept", encoded)
    model = PeftModel.from_pretrained(read_model(world, torch.float32), str(tmp_path / "kept"))
    theirs = []
    for row in encoded:
        with torch.inference_mode():
            log_TV = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
        theirs.append([float(log_TV[i - 1, row.ids[i]]) for i, trained in enumerate(row.trained) if trained])
    assert apart(theirs, here, "it") < 1e-4
    with pytest.raises(ModelError, match=r"the base x is not the same on this machine: .* nats apart"):
        apart(theirs, base.log_probabilities(None, encoded), "the base x")
    assert differences(tmp_path / "kept", world, recipe) == []


def test_what_a_service_trained_otherwise_is_told(tmp_path: Path) -> None:
    world = find_model("world").folder
    raw = _adapter(tmp_path / "raw", Recipe(rank=4), left_out="mlp", told={"lora_alpha": 64, "use_rslora": True})
    keep_adapter(raw, tmp_path / "kept", "world")
    told = differences(tmp_path / "kept", world, Recipe(rank=8))
    assert told[0] == "rank: 4 instead of 8" and told[1] == "alpha: 64 over √rank instead of 32"
    assert told[2].startswith("layers not trained: 9, e.g. model.layers.0.mlp.") and len(told) == 3


def test_only_an_adapter_is_taken_out_of_an_archive(tmp_path: Path) -> None:
    raw = _adapter(tmp_path / "raw", Recipe(rank=4))
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(raw, arcname="deep/in/it")
        for name in ("../escaped", "deep/run.py"):
            member = tarfile.TarInfo(name)
            member.size = 4
            packed.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo(f"other/{CONFIG}")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    unpack(archive, tmp_path / "out" / "made")
    made = sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert made == [f"made/{CONFIG}", f"made/{WEIGHTS}"]
    assert (tmp_path / "out" / "made" / WEIGHTS).read_bytes() == (raw / WEIGHTS).read_bytes()
    archive.write_bytes(b"no archive")
    with pytest.raises(ModelError, match="no archive of an adapter"):
        unpack(archive, tmp_path / "again")
