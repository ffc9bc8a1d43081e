"""Answers in company: the same as alone, whoever joins or leaves, on fast models and slow ones; stop strings and spelling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.architectures import build as build_architecture
from tests.support.chat_tokenizers import write_tokenizer
from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError
from weirdgen.finetune.replicas import Job, finetune_together
from weirdgen.models.chat import Encoded, load_tokenizer, prompt_ids
from weirdgen.models.references import LocalModel, find_model
from weirdgen.sample.engine import Prompt, Sampling
from weirdgen.sample.transformers import TransformersEngine
from weirdgen.serve.asks import Answer, Ask, Failed, Given, Piece, Token, Told
from weirdgen.serve.gate import Gate
from weirdgen.serve.problems import ApiError
from weirdgen.serve.queue import Queue
from weirdgen.serve.sampler import Sampler
from weirdgen.serve.spelling import Spelling, spelled
from weirdgen.serve.writing import Row, Writing

ASKS = ["which bird is usual ?", "name one .", "which bird is usual ? which bird is usual ?"]


class Heard:
    """What one ask was told."""

    def __init__(self, sampler: Sampler, ids: list[int], adapter: Path | None = None, **asked: Any) -> None:
        self.told: list[Told] = []
        self.over = threading.Event()
        settings: dict[str, Any] = {"n": 1, "max_tokens": 6, "sampling": Sampling(), "seed": "0", **asked}
        self.ask = Ask(tuple(ids), adapter, tell=self._hear, **settings)
        self.left = self.ask.n if self.ask.max_tokens else 1
        sampler.submit(self.ask)

    def _hear(self, told: Told) -> None:
        self.told.append(told)
        self.left -= isinstance(told, Answer) or (isinstance(told, Given) and not self.ask.max_tokens)
        if isinstance(told, Failed) or not self.left:
            self.over.set()

    def answers(self) -> list[Answer]:
        assert self.over.wait(60), "no answer"
        failed = [told.error for told in self.told if isinstance(told, Failed)]
        assert not failed, failed
        return sorted((told for told in self.told if isinstance(told, Answer)), key=lambda answer: answer.index)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LocalModel:
    return find_model(f"path:{tiny_model}")


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two trained on other rows each, far enough from the base to answer otherwise."""
    folder = tmp_path_factory.mktemp("adapters")
    recipe = Recipe(epochs=8, batch_size=2, learning_rate=0.1, rank=2, alpha=4, warmup_steps=0, dtype="fp32")
    rows = [[Encoded((2, 5, 20 + k, 40 + i, 3), (False, False, True, True, True)) for i in range(4)] for k in (0, 7)]
    for k in (0, 1):
        (folder / str(k)).mkdir()
    finetune_together(tiny_model, [Job(rows[k], k, folder / str(k)) for k in (0, 1)], recipe)
    return [next((folder / str(k)).glob("step-*")) for k in (0, 1)]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sampler]]:
    started: list[Sampler] = []

    def build(model: LocalModel, most: int = 10_000) -> Sampler:
        sampler = Sampler(model, load_tokenizer(model.folder), Gate(), most)
        sampler.start()
        started.append(sampler)
        return sampler

    yield build
    for sampler in started:
        sampler.close()


def test_company_changes_nothing(
    start: Callable[..., Sampler], model: LocalModel, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of three models with settings of their own come while others are being written; each is as from the engine."""
    monkeypatch.setattr("weirdgen.sample.fast.stream.GROW_BY", 3)
    sampler, engine = start(model), TransformersEngine(model.folder, "fp32")
    samplings = (Sampling(), Sampling(temperature=0.7), Sampling(temperature=0), Sampling(top_p=0.8))
    heard = []
    for number in range(24):
        adapter, text = (None, *adapters)[number % 3], ASKS[number % 2] + " ." * (number % 5)
        asked: dict[str, Any] = {
            "n": 1 + number % 3,
            "max_tokens": 2 + number,
            "seed": str(number),
            "sampling": samplings[number % 4],
        }
        extra: dict[str, Any] = {"top": 2} if number % 5 == 0 else {"streamed": number % 2 == 0}
        heard.append((Heard(sampler, prompt_ids(engine.tokenizer, text), adapter, **asked, **extra), text, asked))
        time.sleep(0.003)
    for one, text, asked in heard:
        got = one.answers()
        engine.use([one.ask.adapter])
        prompt = Prompt("", text, asked["max_tokens"])
        alone = [c for _, c in engine.generate([prompt], range(asked["n"]), [asked["seed"]], asked["sampling"])]
        alone.sort(key=lambda completion: completion.sample)
        assert [a.text for a in got] == [c.text for c in alone]
        assert [a.finish_reason for a in got] == [c.finish_reason for c in alone]
        assert [a.written for a in got] == [c.completion_tokens for c in alone]
        pieces: dict[int, str] = {}
        for told in one.told:
            if isinstance(told, Piece):
                pieces[told.index] = pieces.get(told.index, "") + told.text
        if one.ask.streamed:
            assert [pieces.get(a.index, "") for a in got] == [a.text for a in got]
        if one.ask.top is not None:
            assert all(len(a.tokens) == len(a.ends) and all(len(t.tops) == 2 for t in a.tokens) for a in got)
    texts = {tuple(a.text for a in one.answers()) for one, _, _ in heard}
    assert len(texts) > 10


@pytest.mark.parametrize("name", ["Qwen3", "Mistral, window"])
def test_models_without_a_lean_decoder_answer_too(start: Callable[..., Sampler], tmp_path: Path, name: str) -> None:
    """Its own modules in a padded batch; or, where a window is crossed, each prompt alone."""
    folder = build_architecture(name, tmp_path / "model")
    model = find_model(f"path:{folder}")
    sampler, engine = start(model), TransformersEngine(folder, "fp32")
    heard = [
        Heard(
            sampler,
            prompt_ids(engine.tokenizer, ask),
            n=2,
            max_tokens=5,
            seed=str(i),
            echo=i == 1,
            top=1 if i else None,
        )
        for i, ask in enumerate(("Name a bird.", "Which year do we have?", "What is usual here?"))
    ]
    for i, (one, ask) in enumerate(
        zip(heard, ("Name a bird.", "Which year do we have?", "What is usual here?"), strict=True)
    ):
        alone = sorted(engine.generate([Prompt("", ask, 5)], range(2), [str(i)], Sampling()), key=lambda c: c[1].sample)
        assert [a.text for a in one.answers()] == [c.text for _, c in alone]
    assert sum(isinstance(told, Given) for told in heard[1].told) == 1


def test_given_text_is_scored_as_by_the_engine(
    start: Callable[..., Sampler], model: LocalModel, adapters: list[Path]
) -> None:
    sampler, tokenizer = start(model), load_tokenizer(model.folder)
    ids = prompt_ids(tokenizer, ASKS[0])
    plain = torch.tensor([ids])
    for adapter in (None, adapters[0]):
        one = Heard(sampler, ids, adapter, max_tokens=0, echo=True, top=3)
        assert one.over.wait(60)
        (given,) = (told for told in one.told if isinstance(told, Given))
        engine = TransformersEngine(model.folder, "fp32")
        engine.use([adapter])
        logits = engine._model(input_ids=plain, use_cache=False).logits[0, :-1].log_softmax(-1)
        wanted = logits.gather(1, plain[0, 1:, None])[:, 0].tolist()
        assert given.logprobs[0] is None and given.logprobs[1:] == pytest.approx(wanted, abs=1e-4)
        assert [tops[0][0] for tops in given.tops[1:]] == logits.argmax(-1).tolist()


def test_one_failing_request_leaves_the_others(
    start: Callable[..., Sampler], model: LocalModel, adapters: list[Path], tmp_path: Path
) -> None:
    sampler, ids = start(model, most=12), prompt_ids(load_tokenizer(model.folder), ASKS[0])
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "adapter_config.json").write_text("{}")
    good, bad = Heard(sampler, ids, adapters[0], n=2), Heard(sampler, ids, damaged)
    assert bad.over.wait(60) and isinstance(bad.told[-1], Failed) and isinstance(bad.told[-1].error, ModelError)
    assert len(good.answers()) == 2
    late = Heard(sampler, ids, max_tokens=200, deadline=time.monotonic() - 1)
    assert late.over.wait(60) and isinstance(late.told[-1], Failed) and "too long" in str(late.told[-1].error)
    given_up = Heard(sampler, ids, max_tokens=200)
    given_up.ask.cancelled = True
    assert len(Heard(sampler, ids).answers()) == 1
    with pytest.raises(ApiError) as refused:
        Heard(sampler, ids, n=13)
    assert refused.value.status == 429
    assert len(Heard(sampler, ids, n=12).answers()) == 12  # nothing is counted twice, or for ever


def test_a_step_that_fails_ends_its_requests_only(
    start: Callable[..., Sampler], model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weirdgen.sample.fast.stream import SharedStream

    sampler, ids = start(model), prompt_ids(load_tokenizer(model.folder), ASKS[0])
    with monkeypatch.context() as patch:

        def fail(*_: Any) -> None:
            raise torch.OutOfMemoryError("no memory")

        patch.setattr(SharedStream, "step", fail)
        one = Heard(sampler, ids, max_tokens=9, n=8)
        assert one.over.wait(60) and isinstance(one.told[-1], Failed)
        assert isinstance(one.told[-1].error, ApiError) and one.told[-1].error.status == 503
    assert len(Heard(sampler, ids).answers()) == 1


def test_pieces_add_up_and_never_hold_half_a_character(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_tokenizer(tmp_path / "bytes"))
    text = "naïve café 🦜🦉 日本語 and so on"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    spelling = Spelling(tokenizer)
    seen = []
    for token in ids:
        spelling.add(token)
        assert "�" not in spelling.text and text.startswith(spelling.text)
        seen.append(spelling.text)
    spelling.finish()
    assert spelling.text == text and len(set(seen)) > 5
    whole = b"".join(bytes(spelled(tokenizer, token)[1]) for token in ids)
    assert whole.decode() == text
    stopped = Spelling(tokenizer, ["🦉", "never"])
    for token in ids:
        stopped.add(token)
        if stopped.stopped:
            break
    assert stopped.stopped and stopped.text == text.partition("🦉")[0]
    held = Spelling(tokenizer, ["café au lait"])
    for token in tokenizer("a café a", add_special_tokens=False)["input_ids"]:
        held.add(token)
    assert held.text == "a café a" and held.text[: held.safe()] == "a "


def test_a_batch_has_room_for_what_every_finetune_holds(
    start: Callable[..., Sampler], model: LocalModel, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places and prompts are as many for each finetune that is attached: all their tokens together stay below the limit."""
    from weirdgen.sample.fast.stream import SharedStream

    monkeypatch.setattr("weirdgen.sample.engine.ROW_TOKENS", 300)
    monkeypatch.setattr("weirdgen.serve.sampler.GATHER_SECONDS", 0.1)
    held: list[int] = []
    admit = SharedStream.admit

    def watched(stream: SharedStream, places: Sequence[int], prompts: Sequence[int]) -> torch.Tensor:
        hidden_NH = admit(stream, places, prompts)
        variants, read, _, longest, _ = stream._prompt_keys[0].shape
        held.append(len(stream._prompt) * 10 + variants * read * longest)
        return hidden_NH

    monkeypatch.setattr(SharedStream, "admit", watched)
    sampler, tokenizer = start(model), load_tokenizer(model.folder)
    ids = prompt_ids(tokenizer, ASKS[0])
    many = [
        Heard(sampler, ids, adapter, n=n, max_tokens=10)
        for adapter, n in zip((None, *adapters), (1, 1, 20), strict=True)
    ]
    counts = [len(one.answers()) for one in many]
    # One after the other, as they came: the first is given fewer finetunes, although more are asked.
    many = [
        Heard(sampler, ids, adapter, n=n, max_tokens=10)
        for adapter, n in zip((adapters[0], None, adapters[1]), (20, 1, 1), strict=True)
    ]
    counts += [len(one.answers()) for one in many]
    others = [Heard(sampler, [*ids, 5 + number], (None, *adapters)[number % 3], max_tokens=10) for number in range(18)]
    counts += [len(one.answers()) for one in others]
    assert counts == [1, 1, 20, 20, 1, 1, *[1] * 18] and 200 < max(held) <= 300


def test_streamed_logprobs_end_where_the_text_does(tmp_path: Path) -> None:
    """Tokens that could be the beginning of a stop string are held back with their text, and left out if they are."""
    tokenizer = load_tokenizer(write_tokenizer(tmp_path / "bytes"))

    line, rest = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("\n", "Q: b"))
    ids = [*line * 3, *rest]

    def told(streamed: bool, stop: str) -> list[Told]:
        heard: list[Told] = []
        ask = Ask((1,), None, 1, len(ids), Sampling(), "0", heard.append, (stop,), 0, streamed)
        row, base = Row(ask, 0, tokenizer), SimpleNamespace(stops=(), tokenizer=tokenizer)
        writing = Writing(base, Gate(), Queue(1))  # type: ignore[arg-type]
        writing.rows = [row]
        writing.queue.submit(ask)
        writing.queue.take()
        for token in ids:
            if writing.in_use():
                row.tokens.append(Token(token, -1.0, []))
                writing.advance([token])
        return heard

    for stop in ("\n\nQ:", "\n\nQ: never"):
        (whole,) = (one for one in told(False, stop) if isinstance(one, Answer))
        pieces = [one for one in told(True, stop) if isinstance(one, Piece)]
        assert [token for piece in pieces for token in piece.tokens] == whole.tokens
        assert "".join(piece.text for piece in pieces) == whole.text and pieces
