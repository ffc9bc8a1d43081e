"""What an engine makes of a service's answers: withheld ones, too few, in any order, and seeds that were never sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.finetuning_answers import Script
from tests.support.finetuning_server import FinetuningServer
from tests.support.openai_server import Answer, OpenAIServer
from weirdgen.errors import ModelError
from weirdgen.judges.api_model import ApiJudgeModel
from weirdgen.judges.model import Request
from weirdgen.providers import retries
from weirdgen.providers.service import service_of
from weirdgen.sample.engine import Completion, Prompt, Sampling
from weirdgen.sample.engines import Remote
from weirdgen.sample.remote import RemoteEngine
from weirdgen.sample.remote_probe import probe

Ask = Callable[..., list[Completion]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Samples of two prompts."""
    monkeypatch.setenv("OPENAI_API_KEY", Script().key)

    def at(
        server: FinetuningServer, samples: int = 1, sampling: Sampling | None = None, **options: Any
    ) -> list[Completion]:
        engine = RemoteEngine(service_of("openai", server.base_url), "gpt-test", **options)
        prompts = [Prompt("a", "Which bird is it?", 12), Prompt("b", "What year is it?", 12)]
        made = [done for _, done in engine.generate(prompts, range(samples), ["0"], sampling or Sampling())]
        return sorted(made, key=lambda done: (done.key, done.sample))

    return at


@pytest.mark.parametrize("where", ["prompt", "answer"])
def test_what_a_content_filter_withholds_is_an_answer_of_its_own_kind(ask: Ask, where: str) -> None:
    with FinetuningServer(Script(filtered=lambda prompt: where if "year" in prompt else None)) as server:
        made = ask(server, samples=4, choices=2)
    assert [done.finish_reason for done in made] == ["stop"] * 4 + ["withheld"] * 4
    assert all((done.text == "") == (where == "prompt") for done in made[4:])


def test_a_temperature_that_a_model_does_not_take_is_not_dropped(ask: Ask) -> None:
    with FinetuningServer(Script(only={"temperature": 1})) as server:
        with pytest.raises(ModelError, match=r"gpt-test does not take temperature 0.5 .*--set sampling.temperature=1"):
            ask(server, sampling=Sampling(temperature=0.5))
        assert server.chats == [] or all(body["temperature"] != 1 for body in server.chats)
        assert len(ask(server, sampling=Sampling())) == 2


def test_fewer_choices_than_asked_are_kept_and_the_rest_asked_for(ask: Ask) -> None:
    with FinetuningServer(Script(fewer=2)) as server:
        made = ask(server, samples=5, choices=5)
        assert [done.sample for done in made] == [0, 1, 2, 3, 4] * 2
        assert [body.get("n", 1) for body in server.chats].count(5) == 2 and len(server.chats) == 6
        assert len({(done.key, done.seed) for done in made}) == 6, "a seed a request, as it was sent"
        assert {done.seed for done in made} == {body["seed"] for body in server.chats}


def test_choices_keep_their_places_and_a_seed_that_was_not_sent_is_not_recorded(ask: Ask) -> None:
    with FinetuningServer() as server:
        forwards = ask(server, samples=3, choices=3)
        server.script.backwards = True
        assert [done.text for done in ask(server, samples=3, choices=3)] == [done.text for done in forwards]
        server.script.refuses = ("seed",)
        assert {done.seed for done in ask(server)} == {-1}


def test_as_long_as_a_service_asks_is_waited(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = lambda method, path, count: 429 if count == 1 else None  # noqa: E731
    with FinetuningServer(Script(fault=limited, retry_after="0.4")) as server:
        began = time.monotonic()
        assert len(ask(server)) == 2 and time.monotonic() - began > 0.4
    with FinetuningServer(Script(fault=limited, retry_after="0.4")) as server:
        monkeypatch.setattr(retries, "LONGEST_WAIT", 0.3)
        with pytest.raises(
            ModelError, match="it asks to wait 0 s, and at most 0 s are waited: run the same command later"
        ):
            ask(server, connections=1)


def test_a_model_that_is_not_there_is_said_at_once_unless_it_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", Script().key)
    with FinetuningServer() as server:
        engine = Remote(service_of("openai", server.base_url), "gpt-test")
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"ft:typo cannot be sampled: 404: .*Is that its whole name there\?"):
            probe(engine, "ft:typo", ["Which bird?"], new=False)
        assert time.monotonic() - began < 2 and server.counts["POST /chat/completions"] == 1


@pytest.mark.slow
def test_what_a_provider_leaves_out_through_inspect_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by Inspect once a process, here to a judge, whose temperature does not matter so."""
    pytest.importorskip("inspect_ai")
    prompt = Prompt("k", "hi", 3)
    with OpenAIServer(lambda body: Answer("yes")) as server:
        monkeypatch.setenv("MOONSHOT_BASE_URL", server.base_url)
        monkeypatch.setenv("MOONSHOT_API_KEY", "sk-test")
        (reply,) = ApiJudgeModel("moonshot/kimi-test").ask([Request("k", "hi", ("yes",), 3)])
        engine = Remote(service_of("moonshot", None), "kimi-test").connect()
        ((_, answer),) = engine.generate([prompt], range(1), ["0"], Sampling())
        with pytest.raises(ModelError, match=r"kimi-test is not sent temperature 0\.0 .*--set sampling\.temperature=1"):
            list(engine.generate([prompt], range(1), ["0"], Sampling(temperature=0.0)))
        assert (reply.text, answer.text) == ("yes", "yes") and all(
            "temperature" not in body for body in server.requests
        )
