"""A fast way is taken only where it gives what a row alone gives; one model for each thing that has misled one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models_table import measure
from tests.support.architectures import build
from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError, SpecError
from weirdgen.finetune import exactness as training
from weirdgen.finetune.engines import choose_engine
from weirdgen.finetune.lora import adapted_layers
from weirdgen.finetune.trl import finetune, only_adapters_drop_out
from weirdgen.models import checks as checks_module
from weirdgen.models import exactness
from weirdgen.models.chat import Encoded
from weirdgen.models.checks import Check
from weirdgen.models.exactness import Plain, attention_windows, by_length, judged, reduced, rotary_limits
from weirdgen.models.loading import load_model
from weirdgen.sample import exactness as answering
from weirdgen.sample.fast import scoring
from weirdgen.sample.transformers import TransformersEngine
from weirdgen.store.cache import cache_folder

Build = Callable[[str], Path]
TOKENS = range(3, 380)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A tiny model of an architecture, built once."""
    folder, known = tmp_path_factory.mktemp("architectures"), dict[str, Path]()

    def get(name: str) -> Path:
        if name not in known:
            known[name] = build(name, folder / name)
        return known[name]

    return get


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = cache_folder() / "machine.json"
    monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / "cache"))
    if machine.is_file():
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "machine.json").write_bytes(machine.read_bytes())


@pytest.mark.parametrize(
    ("name", "engine", "falls_back"),
    [
        pytest.param(
            "LFM2",
            "trl (together, replicates would not be what each is alone: off by",
            "no tree, no batch",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "Gemma 3, nested",
            "trl (the model attends in a sliding window)",
            "no tree, no batch",
            marks=pytest.mark.slow,
        ),
        ("GPT-2", "replicas", ""),
        pytest.param(
            "gpt-oss", "trl (the model attends in a sliding window)", "no tree, no batch", marks=pytest.mark.slow
        ),
        pytest.param(
            "MiniCPM3",
            "trl (together, replicates would not be what each is alone: the model does not run",
            "",
            marks=pytest.mark.slow,
        ),
        ("Llama, dynamic RoPE", "replicas", "no tree, no batch, no cache"),
    ],
    ids=["convolution", "window, nested", "transposed layers", "eager", "scaling property", "rotary length"],
)
def test_what_is_trained_and_measured_is_what_plain_libraries_give(
    made: Build, tmp_path: Path, name: str, engine: str, falls_back: str
) -> None:
    line = measure(name, made(name), tmp_path / "work")
    assert line.right, line
    assert line.engine.startswith(engine) and line.ways == falls_back


def checks_of(model: Any) -> dict[str, Check]:
    with torch.inference_mode():
        return {check.mechanism: check for check in answering.check(reduced(model), TOKENS, "a model")}


def test_an_untrained_hybrid_is_found_out(tmp_path: Path) -> None:
    """Weights as small as at the start of a pretraining hide a leak of 1 nat behind 0.0001: the trial makes them larger."""
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(0)
    kinds, heads = ["conv", "full_attention", "conv"], {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = Lfm2Config(vocab_size=384, hidden_size=32, num_hidden_layers=3, **heads, layer_types=kinds)
    model = Lfm2ForCausalLM(config).eval()
    checks = checks_of(model)
    assert checks[answering.TREE].limit == 0 and checks[answering.DECODING].limit == 0
    assert checks[answering.OWN_CACHE].limit is None and checks[answering.STACKED].limit is None
    assert training.check(reduced(model), TOKENS).limit == 0


def test_a_window_is_a_limit_and_short_rows_go_fast(made: Build) -> None:
    model = load_model(made("Mistral, window"), torch.float32)
    checks = checks_of(model)
    tree = checks[answering.TREE]
    assert (
        tree.limit == 8
        and tree.holds(8)
        and not tree.holds(9)
        and "in rows of more than 8 tokens off by" in tree.reason
    )
    assert checks[answering.OWN_CACHE].limit is None  # it keeps the window by itself
    large = dataclasses.replace(by_length("tree", [4096], lambda length: (0.0, 0.0)), nats=None)
    assert large.limit == 4096  # too far to be crossed, so rows beyond go alone


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_rows_on_both_sides_of_a_rotary_length_do_not_mix(kind: str) -> None:
    """Options of 20 and 40 tokens in one tree would get the angles of the longer; tried at one length, all looks right."""
    from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config

    small = {"vocab_size": 384, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "pad_token_id": 0}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": 1e4}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4, "partial_rotary_factor": 1.0}
        lengths = {"max_position_embeddings": 96, "original_max_position_embeddings": 24}
        config: Any = Phi3Config(**small, **lengths, rope_parameters=rope)
    else:
        config = LlamaConfig(**small, max_position_embeddings=24, rope_parameters={**rope, "factor": 4.0})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    (limit,) = rotary_limits(model.config)
    checks = checks_of(model)
    assert all(checks[way].limit == limit for way in (answering.TREE, answering.DECODING, answering.OWN_CACHE))
    assert training.check(reduced(model), TOKENS).limit == limit


def test_windows_are_read_out_of_any_configuration() -> None:
    from transformers import Gemma3Config, LlamaConfig, Phi3Config, Qwen2Config

    assert attention_windows(LlamaConfig()) == [] == rotary_limits(LlamaConfig())
    assert attention_windows(Gemma3Config(text_config={"sliding_window": 33})) == [33]
    assert attention_windows(Qwen2Config(use_sliding_window=False, sliding_window=77, max_window_layers=28)) == []
    assert attention_windows(Phi3Config(sliding_window=2047)) == [2047]
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    assert rotary_limits(LlamaConfig(max_position_embeddings=100, rope_parameters=dynamic)) == [100]


def test_a_way_that_goes_wrong_is_not_taken(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself: a tree whose branches see each other, and scores come out right all the same."""
    from tests.sample.test_transformers import one_forward, questions

    right = scoring.trees

    def leaking(asked: scoring.Questions) -> scoring.Trees:
        batch = right(asked)
        seen = torch.ones(batch.mask.shape[-2:], dtype=torch.bool).tril()
        return dataclasses.replace(batch, mask=seen.expand(batch.mask.shape))

    monkeypatch.setattr(scoring, "trees", leaking)
    engine = TransformersEngine(tiny_model, "fp32")
    assert not engine.ways.tree(10) and engine.ways.batch(10)
    for _, scored in engine.score(questions()):
        (question,) = (asked for asked in questions() if asked.key == scored.key)
        expected, _ = one_forward(load_model(tiny_model, torch.float32), engine.tokenizer, question.ask, scored.option)
        assert scored.logprob == pytest.approx(expected, abs=1e-4)
    reasons = {record["mechanism"]: record["reason"] for record in engine.exactness()}
    assert "off by" in reasons[answering.LEAN_TREE] and reasons[answering.STACKED] == ""


def test_a_model_is_tried_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = TransformersEngine(tiny_model, "fp32").exactness()
    chosen = choose_engine(tiny_model, Recipe(dtype="fp32"), 0)
    assert chosen.engine == "replicas"
    for module in (answering, training):
        monkeypatch.setattr(module, "check", lambda *_: pytest.fail("tried again"))
    assert TransformersEngine(tiny_model, "fp32").exactness() == first
    assert choose_engine(tiny_model, Recipe(dtype="fp32"), 0) == chosen
    assert len(list((cache_folder() / "exactness").glob("*.json"))) == 2
    monkeypatch.setattr(checks_module, "_code", lambda: "other code")
    with pytest.raises(pytest.fail.Exception, match="tried again"):
        choose_engine(tiny_model, Recipe(dtype="fp32"), 0)


def test_not_a_number_and_an_exception_are_no_agreement() -> None:
    def fails() -> tuple[float, float]:
        raise ValueError("no such mask\nand more")

    def out_of_memory() -> tuple[float, float]:
        raise torch.OutOfMemoryError("no memory for so many rows")

    assert judged("way", lambda: (float("nan"), 0.0)).limit == 0
    with pytest.raises(torch.OutOfMemoryError):  # which says nothing about the way
        judged("way", out_of_memory)
    assert judged("way", fails).reason == "the model does not run this way: no such mask"
    assert judged("way", lambda: (1e-6, 1e-6), 512).limit == 512


def test_a_model_that_looks_ahead_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(tiny_model, torch.float32)
    for layer in model.get_decoder().layers:
        forward = layer.forward
        layer.forward = lambda x, forward=forward, **kwargs: forward(x, **kwargs) + x.mean(1, keepdim=True)
    with torch.inference_mode(), pytest.raises(ModelError, match="odd: what the model predicts for a token changes by"):
        exactness.require_causal(Plain(model), [tuple(range(7, 27))], "odd")


def test_the_bases_dropout_is_off_and_the_adapters_is_on(made: Build, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    folder = made("OPT")
    assert json.loads((folder / "config.json").read_text())["dropout"] == 0.1
    data = [Encoded(tuple(range(10, 30)), tuple(token > 9 for token in range(20)))] * 4
    recipe = Recipe(epochs=1, batch_size=4, grad_accumulation=1, warmup_steps=0, dtype="fp32")
    firsts = []
    for seed in (0, 1):  # B is zero at the start: without dropout the first loss is the base's, whatever the seed
        (tmp_path / str(seed)).mkdir()
        finetune(folder, data, recipe, seed, tmp_path / str(seed))
        firsts.append(json.loads((tmp_path / str(seed) / "losses.json").read_text())[0]["loss"])
    assert firsts[0] == pytest.approx(firsts[1], abs=1e-6)
    adapted = get_peft_model(load_model(folder, torch.float32), LoraConfig(target_modules=["q_proj"], lora_dropout=0.5))
    adapted.train()
    only_adapters_drop_out(adapted)
    training_mode = {name for name, module in adapted.named_modules() if module.training and name}
    assert training_mode and all("lora_dropout" in name for name in training_mode)


def test_layers_without_an_adapter_of_peft_are_left_out_or_named(made: Build) -> None:
    deepseek = load_model(made("DeepSeek-V3"), torch.float32)
    kinds = {name.rpartition(".")[2] for name in adapted_layers(deepseek, Recipe())}
    assert "o_proj" in kinds and "gate_proj" not in kinds  # which PEFT takes for an expert's
    with pytest.raises(SpecError, match="PEFT has no adapter for gate_proj of DeepseekV3ForCausalLM; leave it out"):
        adapted_layers(deepseek, Recipe(targets=("gate_proj",)))
    nested = load_model(made("Gemma 3, nested"), torch.float32)
    assert not [name for name in adapted_layers(nested, Recipe()) if "vision" in name]


def test_a_loss_that_trl_computes_otherwise_is_refused(made: Build, tmp_path: Path) -> None:
    data = [Encoded(tuple(range(10, 30)), tuple(token > 9 for token in range(20)))] * 2
    with pytest.raises(ModelError, match=r"trl computes a loss of .* where RecurrentGemmaForCausalLM itself has"):
        finetune(made("RecurrentGemma"), data, Recipe(batch_size=2, dtype="fp32"), 0, tmp_path)


def test_a_folder_without_all_weights_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """transformers would fill what is missing with random numbers."""
    import shutil

    from safetensors.torch import load_file, save_file

    from weirdgen.errors import ModelError

    folder = Path(shutil.copytree(tiny_model, tmp_path / "cut"))
    weights = load_file(folder / "model.safetensors")
    left_out = next(name for name in weights if "layers.0" in name)
    kept = {name: weight for name, weight in weights.items() if name != left_out}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors are missing in its weight files, e\.g\. .*layers\.0"):
        load_model(folder, torch.float32)
