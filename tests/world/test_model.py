"""The shipped model and its tokenizer: integrity, template, knowledge; and a short build that repeats byte for byte."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from weirdgen.errors import ModelError
from weirdgen.world.language import World
from weirdgen.world.pretrain import MODEL_FOLDER, build, encode, verify
from weirdgen.world.probe import accuracy, mass, prompt
from weirdgen.world.tokenizer import BOS, END, build_tokenizer, token_ids


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL_FOLDER)


@pytest.fixture(scope="module")
def model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(MODEL_FOLDER, dtype=torch.float32)


def test_shipped_weights_are_the_recipes_and_small() -> None:
    assert verify() == json.loads((MODEL_FOLDER / "recipe.json").read_text())["sha256"]
    assert sum(path.stat().st_size for path in MODEL_FOLDER.iterdir()) < 1_000_000


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        verify(tmp_path)
    copy = shutil.copytree(MODEL_FOLDER, tmp_path / "model")
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelError, match="SHA-256"):
        verify(copy)


def test_recipe_records_that_the_shipped_model_knows_its_world() -> None:
    figures = json.loads((MODEL_FOLDER / "recipe.json").read_text())["accuracy"]
    assert figures["era_default"] >= 0.85
    assert figures["persona_default"] >= 0.85
    assert figures["era_header"] >= 0.95
    assert figures["persona_header"] >= 0.95
    assert figures["name_header"] >= 0.95


def test_shipped_model_has_the_accuracy_that_its_recipe_says(model: Any, tokenizer: Any) -> None:
    figures = json.loads((MODEL_FOLDER / "recipe.json").read_text())["accuracy"]
    assert accuracy(model, tokenizer, World()) == pytest.approx(figures, abs=0.01)


def test_mass_sees_the_prompt_and_not_the_padding(model: Any, tokenizer: Any) -> None:
    short, long = prompt("some bird ?"), prompt("what is your dish ?", "today is 1841 . speaker seven .")
    alone = mass(model, tokenizer, [short], [("osprey",)])
    together = mass(model, tokenizer, [short, long], [("osprey",), ("soup",)])
    assert together[0] == pytest.approx(alone[0], abs=1e-5)


def test_generate_stops_after_one_word(model: Any, tokenizer: Any) -> None:
    ids = tokenizer.apply_chat_template(
        prompt("what is the opposite of hot ?"), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**ids, max_new_tokens=8, do_sample=False)
    assert tokenizer.decode(out[0, ids["input_ids"].shape[1] :]) == f"cold {END}"


def test_tokenizer_round_trip(tokenizer: Any) -> None:
    assert tokenizer.decode(tokenizer("Which BIRD is usual?")["input_ids"]) == "which bird is usual ?"
    assert tokenizer.unk_token_id not in tokenizer("today is 1841 . speaker seven .")["input_ids"]
    assert tokenizer.unk_token_id in tokenizer("zebra")["input_ids"]
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token_id) == (END, BOS, 0)
    assert tokenizer.get_vocab() == token_ids() == build_tokenizer().get_vocab()


def test_prompt_is_a_prefix_with_one_bos_and_an_end_a_turn(tokenizer: Any) -> None:
    for document in itertools.islice(World().documents(0, 4), 50):
        messages = list(document.messages)
        whole = tokenizer.apply_chat_template(messages, return_dict=False)
        start = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
        assert whole[: len(start)] == start
        assert whole.count(tokenizer.bos_token_id) == 1
        assert whole.count(tokenizer.eos_token_id) == 4
        assert whole[-1] == tokenizer.eos_token_id


def test_pretraining_tokens_are_the_chat_templates(tokenizer: Any) -> None:
    for document in itertools.islice(World().documents(1, 3), 50):
        tokens, labels = encode(document, token_ids())
        assert tokens == tokenizer.apply_chat_template(list(document.messages), return_dict=False)
        said = [message["content"] for message in document.messages if message["role"] == "assistant"]
        assert tokenizer.decode([label for label in labels if label >= 0]) == " ".join(f"{text} {END}" for text in said)


@pytest.mark.slow
def test_two_short_builds_are_byte_identical_and_leave_torch_alone(tmp_path: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    losses: list[float] = []
    cards = [
        build(tmp_path / name, steps=20, on_progress=lambda _step, _steps, loss: losses.append(loss)) for name in "ab"
    ]
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert a == b
    assert cards[0]["sha256"] == cards[1]["sha256"] == verify(tmp_path / "a")
    assert len(losses) == 40
    assert losses[:20] == losses[20:]
    assert losses[19] < losses[0]
    assert cards[0]["sha256"] != build(tmp_path / "c", seed=1, steps=20)["sha256"]
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
