"""What goes to a vLLM server is what it knows, and what comes back is what the same model says here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import weirdgen
from tests.support.vllm_server import VllmServer, serving
from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.finetune.replicas import Job, finetune_together
from weirdgen.models.chat import Encoded, answer_ids, prompt_ids
from weirdgen.sample.engine import Prompt, Sampling, Scorable
from weirdgen.sample.transformers import TransformersEngine
from weirdgen.sample.vllm import VllmEngine

BLOCK = 8
ASKS = ["which bird is usual ?", "name one ."]
PROMPTS = [Prompt(f"p{i}", ask, 6) for i, ask in enumerate(ASKS)]


@pytest.fixture
def server(tiny_model: Path) -> VllmServer:
    return VllmServer(tiny_model)


@pytest.fixture
def url(server: VllmServer) -> Iterator[str]:
    with serving(server) as address:
        yield address


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small finetunes of the tiny model."""
    tokenizer = TransformersEngine(tiny_model, "fp32").tokenizer
    prompt, answer = prompt_ids(tokenizer, ASKS[0]), answer_ids(tokenizer, ASKS[0], "one")
    row = Encoded((*prompt, *answer), (*(False for _ in prompt), *(True for _ in answer)))
    jobs = [Job([row] * 4, seed, tmp_path_factory.mktemp(f"seed{seed}")) for seed in (0, 1)]
    recipe = Recipe(epochs=2, batch_size=2, rank=4, alpha=8, warmup_steps=0, learning_rate=3e-2, dtype="fp32")
    finetune_together(tiny_model, jobs, recipe)
    return [next(job.target.glob("step-*")) for job in jobs]


def test_greedy_answers_and_scores_are_those_of_the_model_itself(
    url: str, tiny_model: Path, adapters: list[Path]
) -> None:
    over_http, here = VllmEngine(url, tiny_model), TransformersEngine(tiny_model, "fp32")
    variants = [None, *adapters]
    over_http.use(variants)
    here.use(variants)
    greedy = Sampling(temperature=0)
    texts = [
        {
            (variant, completion.key, completion.sample): completion.text
            for variant, completion in engine.generate(PROMPTS, range(8, 16), list("abc"), greedy)
        }
        for engine in (over_http, here)
    ]
    assert texts[0] == texts[1] and len(texts[0]) == 3 * 2 * BLOCK
    questions = [Scorable("a", ASKS[0], ("one", "two")), Scorable("b", ASKS[1], ("one one", "two", "three"))]
    scores = [
        {
            (variant, score.key, score.option): (score.logprob, score.tokens)
            for variant, score in engine.score(questions)
        }
        for engine in (over_http, here)
    ]
    assert scores[0].keys() == scores[1].keys() and len(scores[0]) == 3 * 5
    for place, (logprob, tokens) in scores[0].items():
        assert logprob == pytest.approx(scores[1][place][0], abs=1e-4) and tokens == scores[1][place][1]
    assert len({round(scores[0][variant, "a", "one"][0], 3) for variant in range(3)}) == 3  # each variant its own


def test_samples_follow_their_seed_and_count_their_tokens(url: str, tiny_model: Path) -> None:
    engine = VllmEngine(url, tiny_model)
    drawn = [
        sorted(
            (c.key, c.sample, c.seed, c.text)
            for _, c in engine.generate(PROMPTS, range(block * BLOCK, (block + 1) * BLOCK), [seed], Sampling())
        )
        for block, seed in ((0, "0"), (0, "0"), (1, "0"), (0, "1"))
    ]
    assert drawn[0] == drawn[1] and drawn[0] != drawn[3]
    assert [sample for _, sample, *_ in drawn[2]] == [*range(BLOCK, 2 * BLOCK)] * 2
    seeds = [seed for shard in (drawn[0], drawn[2], drawn[3]) for _, _, seed, _ in shard]
    assert len(set(seeds)) == len(seeds) and max(seeds) < 2**63
    for _, completion in engine.generate([Prompt("p", ASKS[0], 40)], range(BLOCK), ["0"], Sampling()):
        words = len(engine.tokenizer(completion.text, add_special_tokens=False)["input_ids"])
        assert (
            words + (completion.finish_reason == "stop") <= completion.completion_tokens <= 40
        )  # special tokens are not in the text
        assert (completion.finish_reason == "stop") or completion.completion_tokens == 40


def test_an_adapter_that_is_there_already_is_used(
    url: str, server: VllmServer, tiny_model: Path, adapters: list[Path]
) -> None:
    for _ in range(2):
        VllmEngine(url, tiny_model).use(adapters)
    assert sorted(server.adapters.values()) == sorted(map(str, adapters))


def test_a_busy_server_is_asked_again(url: str, server: VllmServer, tiny_model: Path) -> None:
    server.busy = 2
    engine = VllmEngine(url, tiny_model, pause=0.0)
    assert len(list(engine.generate(PROMPTS[:1], range(BLOCK), ["0"], Sampling()))) == BLOCK


def test_what_goes_wrong_says_what_to_do(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no vLLM server answers at http://127.0.0.1:9 .*vllm serve MODEL"):
        VllmEngine("http://127.0.0.1:9", tiny_model, pause=0.0)
    with (
        serving(VllmServer(tiny_model, lora=False)) as url,
        pytest.raises(ModelError, match="takes no adapters: start it"),
    ):
        VllmEngine(url, tiny_model).use([tmp_path])
    with serving(VllmServer(tiny_model)) as url:
        engine = VllmEngine(url, tiny_model)
        with pytest.raises(ModelError, match="It must see the store under this path"):
            engine.use([tmp_path / "nowhere"])
        with pytest.raises(ModelError, match="this server has no top_p"):
            list(engine.generate(PROMPTS, range(BLOCK), ["0"], Sampling(top_p=0.5)))


def test_a_server_of_another_model_is_refused(tiny_model: Path, smollm2: Path) -> None:
    with serving(VllmServer(tiny_model)) as url, pytest.raises(ModelError, match="whose tokenizer is not that of"):
        VllmEngine(url, smollm2)


@pytest.mark.slow
def test_a_whole_run_through_the_server(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    from weirdgen.models.references import find_model

    path = str(write_experiment())
    here = weirdgen.run(path, store=tmp_path / "here")
    with serving(VllmServer(find_model("world").folder)) as url:
        there = weirdgen.run(path, store=tmp_path / "there", engine=f"vllm:{url}")
    assert there.id != here.id  # it is part of what was asked
    pd.testing.assert_frame_equal(there.contrasts(), here.contrasts(), rtol=1e-3, atol=1e-4)
    assert len(there.completions()) == len(here.completions())
    with serving(VllmServer(find_model("world").folder)) as url:
        again = weirdgen.run(path, store=tmp_path / "there", engine=f"vllm:{url}")  # another address: nothing to do
    assert again.report == there.report
