"""Who waits for whom: answers while a training begins, new jobs while others train, everybody while a long answer is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.serving import over, rows_file, steps_done, submit
from weirdgen.models.chat import load_tokenizer
from weirdgen.models.loading import load_model
from weirdgen.sample.engine import Sampling
from weirdgen.serve import answer_routes
from weirdgen.serve.answers import Writer
from weirdgen.serve.asks import Answer, Ask, Token
from weirdgen.serve.backend import Backend, unheard
from weirdgen.serve.catalogue import Served
from weirdgen.serve.gate import Gate

Open = Callable[..., Backend]


def answer(backend: Backend, seconds: float = 20) -> str:
    """The base's answer to a short prompt. Raises `TimeoutError`."""

    async def ask() -> str:
        one = Ask((1, 2), None, 1, 3, Sampling(), "0", unheard)
        async for _, told in backend.told(backend.models.get("world"), [one]):
            if isinstance(told, Answer):
                return told.text
        raise AssertionError("no answer")

    return asyncio.run(asyncio.wait_for(ask(), seconds))


@pytest.mark.parametrize("slow", ["runs.stages.train.encode_rows", "finetune.replicas.stack_adapters"])
def test_answers_do_not_wait_for_rows_or_for_a_first_step(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Before its model is loaded a training reads rows, after that it computes: the gate is open during both."""
    backend = opened()
    wanted = answer(backend)
    begun, go_on = threading.Event(), threading.Event()
    module, _, name = f"weirdgen.{slow}".rpartition(".")
    plain = getattr(__import__(module, fromlist=[name]), name)

    def slowly(*given: Any, **named: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return plain(*given, **named)

    monkeypatch.setattr(f"weirdgen.{slow}", slowly)
    job = submit(backend, rows_file(tmp_path))
    assert begun.wait(60)
    try:
        assert answer(backend) == wanted
    finally:
        go_on.set()
    assert over(backend, job).status == "succeeded"


def test_a_broken_file_is_told_while_another_job_trains(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    long = submit(backend, rows_file(tmp_path), epochs=1000)
    assert backend.jobs.wait(lambda: steps_done(backend, long) > 0, 60)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("no JSON\n")
    job = over(backend, submit(backend, broken), 10)
    assert job.status == "failed" and job.error and job.error["code"] == "invalid_training_file"
    after = submit(backend, rows_file(tmp_path))
    assert backend.jobs.wait(lambda: backend.jobs.get(after.id).status == "queued", 10)
    assert backend.jobs.get(long.id).status == "running"
    backend.jobs.cancel(long.id)
    assert over(backend, after).status == "succeeded"


def test_who_builds_a_model_is_alone(tiny_model: Path) -> None:
    """Others' tensors would come out in its dtype: steps wait, and a training stops between two of its own."""
    gate, seen, built, stop = Gate(), set[torch.dtype](), threading.Event(), threading.Event()

    def steps() -> None:
        while not stop.is_set():
            with gate.step():
                seen.add(torch.zeros(1).dtype)

    def train() -> None:
        with gate.work() as between:
            load_model(tiny_model, torch.float32)
            built.set()
            while not stop.is_set():
                seen.add(torch.zeros(1).dtype)
                between()

    threads = [threading.Thread(target=target) for target in (steps, train)]
    for thread in threads:
        thread.start()
    try:
        assert built.wait(60)
        for _ in range(8):
            with gate.work():
                assert load_model(tiny_model, torch.bfloat16).dtype == torch.bfloat16
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert seen == {torch.float32}


class Spied:
    """A tokenizer that remembers which thread has asked it for what."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.asked: list[tuple[int, int]] = []

    def decode(self, ids: list[int], **options: Any) -> str:
        self.asked.append((threading.get_ident(), ids[0]))
        return str(self._tokenizer.decode(ids, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def test_a_long_answers_tokens_are_spelled_once_and_off_the_event_loop(tiny_model: Path) -> None:
    spied = Spied(load_tokenizer(tiny_model))
    tokens = [Token(5 + i % 7, -1.0, [(5 + i % 11, -1.0)]) for i in range(500)]
    told = [(0, Answer(index, "x", "length", 500, tokens, [])) for index in range(2)]

    class Answering:
        async def told(self, *_: Any) -> AsyncIterator[tuple[int, Answer]]:
            for one in told:
                yield one

    ask = Ask((1,), None, 2, 500, Sampling(), "0", unheard, top=1)
    writer = Writer("m", spied, True, True)
    text = asyncio.run(answer_routes._whole(Answering(), Served("m", "m", 0), [ask], writer, [""]))  # type: ignore[arg-type]
    assert text.count('"top_logprobs"') == 1000
    assert sorted(token for _, token in spied.asked) == list(range(5, 16))
    assert threading.get_ident() not in {thread for thread, _ in spied.asked}
