"""The transformers engine draws from the model's distribution, whatever the batch, and scores exactly."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.finetune.replicas import Job, finetune_together
from weirdgen.models.chat import Encoded, answer_ids, prompt_ids
from weirdgen.models.loading import load_model
from weirdgen.sample.engine import Completion, Prompt, Sampling, Scorable, sample_seed
from weirdgen.sample.fast.decoding import PART, Head, TokenChooser, choose_tokens
from weirdgen.sample.fast.llama import LlamaDecoder
from weirdgen.sample.fast.scoring import trees
from weirdgen.sample.fast.stream import SharedStream
from weirdgen.sample.transformers import TransformersEngine

ASKS = ["which bird is usual ?", "name one .", "which bird is usual ? which bird is usual ?"]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model, "fp32")


def prompts(count: int = 3, max_tokens: int = 6) -> list[Prompt]:
    return [Prompt(f"p{i}", ask, max_tokens) for i, ask in enumerate(ASKS[:count])]


def test_a_sample_does_not_depend_on_its_batch(engine: TransformersEngine) -> None:
    together = {
        (c.key, c.sample): c
        for block in (range(8), range(8, 16))
        for _, c in engine.generate(prompts(), block, ["0|m"], Sampling())
    }
    assert len(together) == 3 * 16
    alone = {(c.key, c.sample): c for _, c in engine.generate(prompts()[1:2], range(8, 16), ["0|m"], Sampling())}
    assert alone == {key: c for key, c in together.items() if key in alone} and len(alone) == 8
    other = {(c.key, c.sample): c.text for _, c in engine.generate(prompts(1), range(8), ["1|m"], Sampling())}
    assert other != {key: together[key].text for key in other}  # another seed, other samples


def test_greedy_is_plain_generate(engine: TransformersEngine, tiny_model: Path) -> None:
    model = load_model(tiny_model, torch.float32)
    greedy = engine.generate(prompts(max_tokens=9), range(2), ["0"], Sampling(temperature=0))
    completions = {c.key: c for _, c in greedy if c.sample == 0}
    for prompt in prompts(max_tokens=9):
        ids = prompt_ids(engine.tokenizer, prompt.text)
        out = model.generate(torch.tensor([ids]), max_new_tokens=9, do_sample=False)[0, len(ids) :]
        assert completions[prompt.key].text == engine.tokenizer.decode(out, skip_special_tokens=True)
        assert completions[prompt.key].prompt_tokens == len(ids)


@pytest.mark.parametrize("lean", [True, False], ids=["lean decoder", "the model's own modules"])
def test_a_full_batch_takes_more_in_and_changes_nothing(
    engine: TransformersEngine, adapters: list[Path], monkeypatch: pytest.MonkeyPatch, lean: bool
) -> None:
    """Rows join where others finished (or batch follows batch), whatever the number of places."""

    def drawn(rows: int) -> dict[tuple[int, str, int], Completion]:
        monkeypatch.setattr("weirdgen.sample.fast.stream.GROW_BY", 3)
        monkeypatch.setattr("weirdgen.sample.transformers.rows_at_once", lambda *_: rows)
        generated = engine.generate(asked, range(4, 13), ["0", "1"], Sampling())
        return {(variant, completion.key, completion.sample): completion for variant, completion in generated}

    asked = [Prompt(f"p{i}", ASKS[i % 3] + " ." * i, 2 + 3 * i) for i in range(7)]
    engine.use([None, adapters[0]])
    whole = drawn(10_000)
    assert len(whole) == 2 * 7 * 9
    if not lean:
        monkeypatch.setattr(LlamaDecoder, "fits", staticmethod(lambda model: False))
        engine.use([None, adapters[0]])
    assert [drawn(rows) for rows in (1, 5, 16)] == [whole] * 3
    monkeypatch.undo()
    engine.use([None])


def test_a_failed_allocation_halves_the_batch_and_changes_nothing(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn() -> dict[tuple[str, int], Completion]:
        return {(c.key, c.sample): c for _, c in engine.generate(prompts(), range(5), ["0"], Sampling())}

    undisturbed, places, step = drawn(), [], SharedStream.step

    def small_machine(stream: SharedStream, token_N: torch.Tensor) -> torch.Tensor:
        """Fails as torch does: a batch of more than four rows gets through two steps."""
        places.append(len(token_N))
        if len(token_N) > 4 and len(places) > 2:
            raise torch.OutOfMemoryError("no memory for so many rows")
        return step(stream, token_N)

    monkeypatch.setattr("weirdgen.sample.transformers.rows_at_once", lambda *_: 12)
    monkeypatch.setattr(SharedStream, "step", small_machine)
    assert drawn() == undisturbed and places[0] == 12 and places[-1] <= 4


def test_lean_decoders_compute_what_the_modules_do(tmp_path: Path) -> None:
    """Biases, head widths, key heads and scaled rotary embeddings are the model's own."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    common = {"vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    common |= {"num_attention_heads": 6, "num_key_value_heads": 2}
    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope["original_max_position_embeddings"] = 64
    scaled = LlamaConfig(**common, head_dim=8, rope_parameters=rope, attention_bias=True)
    for model in (Qwen2ForCausalLM(Qwen2Config(**common)), LlamaForCausalLM(scaled)):
        model = model.eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        ids = [[3, 1, 4, 1, 5], [9, 2, 6]]
        with torch.no_grad():
            expected = [model(input_ids=torch.tensor([[*row, 7, 8]])).logits[0, len(row) - 1 :] for row in ids]
            assert LlamaDecoder.fits(model)
            stream = SharedStream(LlamaDecoder(model), ids, 1, 2)
            states = [stream.admit([0, 1], [0, 1]), *(stream.step(torch.tensor([t, t])) for t in (7, 8))]
            logits = Head(model)(torch.stack(states, 1))
        torch.testing.assert_close(logits, torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_truncation_and_stopping_are_told_apart(engine: TransformersEngine) -> None:
    done = [c for _, c in engine.generate(prompts(max_tokens=40), range(8), ["0"], Sampling())]
    assert {c.finish_reason for c in done} == {"stop", "length"}
    for c in done:
        words = len(c.text.split())
        assert (c.completion_tokens == 40) if c.finish_reason == "length" else c.completion_tokens <= 40
        assert words <= c.completion_tokens


def test_tokens_follow_the_distribution() -> None:
    generator = np.random.default_rng(0)
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0, float("-inf")]]).repeat(20000, 1)
    uniform = torch.from_numpy(generator.random(20000))
    drawn = Counter(choose_tokens(logits, uniform, Sampling()).tolist())
    expected = torch.softmax(logits[0], 0) * 20000
    chi2 = sum((drawn[i] - e) ** 2 / e for i, e in enumerate(expected[:4].tolist()))
    assert chi2 < 16.27 and drawn[4] == 0  # 0.1% point of chi-square with 3 degrees of freedom


@pytest.mark.parametrize("vocabulary", [50, 2 * PART, 2 * PART + 300])
def test_choosing_part_by_part_is_choosing_from_all(vocabulary: int) -> None:
    torch.manual_seed(0)
    model = SimpleNamespace(config=SimpleNamespace(final_logit_softcapping=9.0))
    layer = torch.nn.Linear(8, vocabulary, bias=True)
    model.get_output_embeddings = lambda: layer
    head, hidden = Head(model), 4 * torch.randn(500, 8)
    uniform = torch.rand(500, dtype=torch.float64)
    for sampling in (Sampling(), Sampling(temperature=0.7), Sampling(temperature=0)):
        with torch.inference_mode():
            tokens = TokenChooser(head, sampling)(hidden, uniform)
            assert torch.equal(tokens, choose_tokens(head(hidden), uniform, sampling))


def test_top_p_top_k_and_temperature() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(999, 1)
    uniform = torch.linspace(0, 0.999, 999)
    assert set(choose_tokens(logits, uniform, Sampling(top_k=2)).tolist()) == {0, 1}
    assert set(choose_tokens(logits, uniform, Sampling(top_p=0.85)).tolist()) == {0, 1, 2}
    hot = Counter(choose_tokens(logits, uniform, Sampling(temperature=2.0)).tolist())
    flat = torch.tensor([0.5, 0.3, 0.15, 0.05]).sqrt()
    assert hot[0] / 999 == pytest.approx(float(flat[0] / flat.sum()), abs=0.005)
    assert choose_tokens(logits[:1], torch.zeros(1), Sampling()).item() == 0


def questions() -> list[Scorable]:
    """Different numbers of options, of different lengths."""
    return [
        Scorable("a", ASKS[0], ("name", "which bird", "usual")),
        Scorable("b", ASKS[2], ("one", "name one . usual")),
    ]


def one_forward(model: Any, tokenizer: Any, ask: str, option: str) -> tuple[float, int]:
    """Log-probability and tokens of an answer, by a forward pass of its own."""
    prompt, answer = prompt_ids(tokenizer, ask), answer_ids(tokenizer, ask, option)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    return sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer)), len(answer)


def test_scores_are_those_of_one_forward_an_option(engine: TransformersEngine, tiny_model: Path) -> None:
    model = load_model(tiny_model, torch.float32)
    scores = {(s.key, s.option): s for _, s in engine.score(questions())}
    assert len(scores) == 5
    for question in questions():
        for option in question.options:
            expected, tokens = one_forward(model, engine.tokenizer, question.ask, option)
            scored = scores[question.key, option]
            assert scored.logprob == pytest.approx(expected, abs=1e-4) and scored.tokens == tokens


def test_options_form_a_tree(engine: TransformersEngine) -> None:
    """What two options begin with stands once, and what follows an option's last token is never asked for."""

    def row(*answer: int) -> Encoded:
        return Encoded((5, 6, *answer), (False, False, *(True for _ in answer)))

    packed = trees([[row(7, 8, 3), row(7, 9, 3), row(4, 3)], [row(8, 3)]])
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 9, 4], [5, 6, 8, 0, 0, 0]]
    assert packed.position_ids[0].tolist() == [0, 1, 2, 3, 3, 2]
    assert packed.mask[0, 0, 4].tolist() == [True, True, True, False, True, False]
    assert packed.source_M.tolist() == [1, 2, 3, 1, 2, 4, 1, 5, 7, 8]
    assert packed.label_M.tolist() == [7, 8, 3, 7, 9, 3, 4, 3, 8, 3]
    assert packed.row_M.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]


def test_many_questions_go_in_passes_that_change_nothing(
    engine: TransformersEngine, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [
        Scorable(str(i), ASKS[i % 3] + " ." * i, ("usual", "usual one", "name" + " one" * (i % 4))) for i in range(9)
    ]
    engine.use([None, adapters[0]])
    once = {(v, s.key, s.option): s.logprob for v, s in engine.score(many)}
    assert len(once) == 2 * sum(len(set(question.options)) for question in many)
    for limit in (1, 60, 100_000):
        monkeypatch.setattr("weirdgen.sample.fast.scoring.PASS_TOKENS", limit)
        for lean in (True, False):
            monkeypatch.setattr(LlamaDecoder, "fits", staticmethod(lambda model, lean=lean: lean))
            engine.use([None, adapters[0]])
            again = {(v, s.key, s.option): s.logprob for v, s in engine.score(many)}
            assert again == pytest.approx(once, abs=1e-4)
    monkeypatch.undo()
    engine.use([None])


@pytest.fixture(scope="module")
def adapters(engine: TransformersEngine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two replicates that learned to answer "usual"."""
    ids = tuple(prompt_ids(engine.tokenizer, ASKS[0]) + answer_ids(engine.tokenizer, ASKS[0], "usual"))
    row = Encoded(ids, tuple(i >= len(ids) - 2 for i in range(len(ids))))
    recipe = Recipe(epochs=20, batch_size=2, learning_rate=1e-2, rank=2, dtype="fp32", warmup_steps=0)
    jobs = [Job([row, row], seed, tmp_path_factory.mktemp("adapter")) for seed in (0, 1)]
    finetune_together(tiny_model, jobs, recipe)
    return [job.target / "step-00020" for job in jobs]


def test_variants_together_are_peft_adapters_alone(
    engine: TransformersEngine, tiny_model: Path, adapters: list[Path]
) -> None:
    from peft import PeftModel

    engine.use([None, *adapters])
    together = {(v, s.key, s.option): s.logprob for v, s in engine.score(questions())}
    samples = {(v, c.sample): c.text for v, c in engine.generate(prompts(2), range(8), ["s0", "s1", "s2"], Sampling())}
    for variant, adapter in enumerate([None, *adapters]):
        model = load_model(tiny_model, torch.float32)
        model = model if adapter is None else PeftModel.from_pretrained(model, str(adapter))
        for question in questions():
            for option in question.options:
                expected, _ = one_forward(model, engine.tokenizer, question.ask, option)
                assert together[variant, question.key, option] == pytest.approx(expected, abs=1e-4)
        engine.use([adapter])
        alone = {c.sample: c.text for _, c in engine.generate(prompts(2), range(8), [f"s{variant}"], Sampling())}
        assert alone == {sample: text for (v, sample), text in samples.items() if v == variant}
    engine.use([None])
    assert together[1, "a", "usual"] > together[0, "a", "usual"] + 0.5
    assert together[1, "a", "usual"] != together[2, "a", "usual"]


def test_variants_are_switched_without_a_trace(engine: TransformersEngine, adapters: list[Path]) -> None:
    def scores() -> list[float]:
        return [s.logprob for _, s in engine.score(questions())]

    base = scores()
    engine.use([adapters[0]])
    first = scores()
    engine.use([adapters[1]])
    second = scores()
    engine.use([adapters[0]])
    again = scores()
    engine.use([None])
    assert again == first != second and scores() == base


def test_an_unusual_adapter_is_refused(engine: TransformersEngine, adapters: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a PEFT adapter"):
        engine.use([tmp_path])
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapters[0] / name, tmp_path / name)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(ModelError, match="only standard LoRA adapters can be stacked: it has use_dora"):
        engine.use([tmp_path])


def test_seeds_depend_on_every_part() -> None:
    seeds = {sample_seed(*args) for args in (("0|m", "k", 0), ("0|m", "k", 1), ("0|m", "j", 0), ("1|m", "k", 0))}
    assert len(seeds) == 4
