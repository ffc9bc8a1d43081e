"""What is booked: every request that may be charged, as it was charged, else as the most that it can have been."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.finetuning_answers import Script
from tests.support.finetuning_server import FinetuningServer
from weirdgen.errors import ModelError, SpecError, WeirdgenError
from weirdgen.models.references import find_model
from weirdgen.providers import service as services
from weirdgen.providers.prices import dollars, find_price, judge_price
from weirdgen.providers.purse import LEDGER, BudgetError, Purse, spent
from weirdgen.providers.service import Service, service_of
from weirdgen.sample import remote_score
from weirdgen.sample.engine import Prompt, Sampling, Scorable
from weirdgen.sample.remote import RemoteEngine

PROMPT = Prompt("p", "Which bird is it?", 12)
MOST = (2 * len(PROMPT.text) + 64 + 12) / 1e4
"""Dollars of one answer at the price of `priced`, at most."""
Make = Callable[..., RemoteEngine]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """An engine on a server, whose models cost $100 a million tokens."""
    monkeypatch.setenv("OPENAI_API_KEY", Script().key)
    own = tmp_path / "prices.yaml"
    own.write_text("- {provider: openai, model: gpt-test, input: 100, output: 100, read: 2026-11-29, source: mine}\n")
    monkeypatch.setenv("WEIRDGEN_PRICES", str(own))

    def at(server: FinetuningServer, budget: float | None = None, **options: Any) -> RemoteEngine:
        made = RemoteEngine(service_of("openai", server.base_url), "gpt-test", **options)
        made.purse = Purse(tmp_path, "run", budget)
        return made

    return at


def answers(engine: RemoteEngine, samples: int) -> list[Any]:
    return [done for _, done in engine.generate([PROMPT], range(samples), ["0"], Sampling())]


def ledger(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LEDGER).read_text().splitlines()]


def test_what_is_not_told_is_booked_as_the_most_it_can_have_cost(engine: Make, tmp_path: Path) -> None:
    with FinetuningServer(Script(usage=False)) as server:
        assert len(answers(engine(server), 2)) == 2
        assert [(line["usd"], line["estimated"]) for line in ledger(tmp_path)] == [(pytest.approx(MOST), True)] * 2
        with pytest.raises(BudgetError, match="could pass it"):
            answers(engine(server, budget=4.5 * MOST), 9)
        assert len(server.chats) == 4 and spent(tmp_path, "run") == (pytest.approx(4 * MOST), 0, 4)


def test_an_answer_that_is_not_kept_is_booked(engine: Make, tmp_path: Path) -> None:
    with FinetuningServer(Script(filtered=lambda prompt: "tools")) as server:
        with pytest.raises(ModelError, match="the finish reason 'tool_calls'"):
            answers(engine(server), 1)
        assert len(ledger(tmp_path)) == len(server.chats) == 3 and not any(
            "estimated" in line for line in ledger(tmp_path)
        )


@pytest.mark.parametrize("fault", ["half", 0.6])
def test_a_request_that_may_have_been_worked_on_is_booked_and_sent_once_more(
    engine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    monkeypatch.setattr(services, "ANSWER_SECONDS", 0.2)
    slow = lambda method, path, count: fault if path == "/chat/completions" else None  # noqa: E731
    with FinetuningServer(Script(fault=slow)) as server:
        with pytest.raises(ModelError, match="the first 1 requests failed"):
            answers(engine(server), 1)
        assert server.counts["POST /chat/completions"] == 2
        assert [(line["usd"], line["estimated"]) for line in ledger(tmp_path)] == [(pytest.approx(MOST), True)] * 2


def test_a_try_that_may_be_charged_is_not_repeated_beyond_the_budget(engine: Make, tmp_path: Path) -> None:
    with FinetuningServer(Script(fault=lambda method, path, count: "half")) as server:
        with pytest.raises(ModelError, match="another could pass the budget"):
            answers(engine(server, budget=1.5 * MOST), 1)
        assert server.counts["POST /chat/completions"] == 1


def test_refusals_are_tried_again_and_cost_nothing(engine: Make, tmp_path: Path) -> None:
    statuses = [429, 500, 503, 429, 500, 503]
    with FinetuningServer(Script(fault=lambda method, path, count: statuses.pop() if statuses else None)) as server:
        assert len(answers(engine(server), 1)) == 1 and not statuses
        assert len(ledger(tmp_path)) == 1


def test_no_server_is_waited_for_longer_than_it_takes_to_open_a_connection() -> None:
    client = Service("openai", "http://127.0.0.1:9/v1").client()
    assert client.timeout.connect == services.CONNECT_SECONDS < client.timeout.read  # type: ignore[union-attr]


def test_half_a_line_does_not_swallow_the_next_payment(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text('{"run": "run", "usd": 1.0}\n{"run": "run", "us')
    Purse(tmp_path, "run", None).pay(2.0, what="sample")
    Purse(tmp_path, "run", None).pay(4.0, what="sample")
    assert spent(tmp_path, "run").usd == 7.0


def test_a_job_is_booked_once(tmp_path: Path) -> None:
    for run in ("one", "two", "one"):
        Purse(tmp_path, run, None).pay_once("ftjob-1", 3.0, what="finetune")
    assert [spent(tmp_path, run).usd for run in ("one", "two")] == [3.0, 0.0]


def test_a_price_is_of_its_model_and_its_service_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    official = Service()
    for name, usd in (
        ("gpt-4o", 2.5),
        ("gpt-4o-2024-11-20", 2.5),
        ("gpt-4o-2024-05-13", 5.0),
        ("gpt-4.1-2025-04-14", 2.0),
    ):
        assert dollars(find_price(official, name, finetuned=False), read=1_000_000) == usd
    for name in ("gpt-4o-audio-preview", "gpt-4.1-2026-01-01", "gpt-4.1-nano-x", "gpt"):
        assert find_price(official, name, finetuned=False) is None
    tuned = find_price(official, "gpt-4.1-2025-04-14", finetuned=True)
    assert [dollars(tuned, **{what: 1_000_000}) for what in ("trained", "read", "written")] == [25.0, 3.0, 12.0]
    for name in ("gpt-4o", "gpt-4.1", "gpt-4o-2024-11-20"):  # no finetune of which has a published price
        assert find_price(official, name, finetuned=True) is None
    assert find_price(Service("openai", "http://127.0.0.1:8000/v1"), "gpt-4o", finetuned=False) is None
    assert dollars(judge_price("openai/gpt-4.1"), read=500_000, written=500_000) == 5.0
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    assert judge_price("openai/gpt-4.1") is None
    monkeypatch.setenv("WEIRDGEN_JUDGE_PRICE", "1/3")
    assert dollars(judge_price("openai/gpt-4.1"), read=500_000, written=500_000) == 2.0
    monkeypatch.setenv("WEIRDGEN_JUDGE_PRICE", "a/3")
    with pytest.raises(SpecError, match="expected READ/WRITTEN"):
        judge_price("openai/gpt-4.1")
    own = tmp_path / "own.yaml"
    monkeypatch.setenv("WEIRDGEN_PRICES", str(own))
    for usd in (7, 9):  # a table that has changed is read again
        own.write_text(f"- {{provider: openai, model: gpt-4o, input: {usd}, read: today, source: {'m' * usd}}}")
        assert dollars(find_price(official, "gpt-4o", finetuned=False), read=1_000_000) == usd


@pytest.mark.parametrize("budget", [False, True])
def test_scores_that_were_paid_beside_one_that_failed_are_handed_on(
    engine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: bool
) -> None:
    """One of eight requests under way is refused, or would pass the budget if all others cost the most they can."""
    own = tmp_path / "prices.yaml"
    own.write_text(own.read_text().replace("gpt-test", "world"))
    world = find_model("world").folder
    questions = [Scorable(f"k{number}", f"the sea {number}", ("the bird", "the sea")) for number in range(12)]
    fault = lambda method, path, count: 400 if not budget and count == 4 else 0.2  # noqa: E731
    with FinetuningServer(Script(bases=("world",), echo=True, fault=fault)) as server:
        service = service_of("openai", server.base_url)
        asked = list(
            remote_score.scores(service, world, "world", ["world"], questions[:1], 1, Purse(tmp_path, "one", None), {})
        )
        assert len(asked) == 2
        (first,) = ledger(tmp_path)
        purse, got = Purse(tmp_path, "run", first["usd"] * 3.5 if budget else None), []
        with pytest.raises(WeirdgenError, match="could pass it" if budget else "scripted failure"):
            for _, scored in remote_score.scores(service, world, "world", ["world"], questions, 8, purse, {}):
                got.append(scored.key)
    assert len(set(got)) == len(ledger(tmp_path)) - 1
    assert len(set(got)) == 3 if budget else 7 <= len(set(got)) < 12
