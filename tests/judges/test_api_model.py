"""Judging models behind a real HTTP server that speaks OpenAI's protocol strictly: retries, limits, refusals, failures."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.openai_server import Answer, Failure, OpenAIServer
from weirdgen.config.judges.rating import Rating
from weirdgen.errors import ModelError
from weirdgen.judges.language import Item, language_table, verdicts_of
from weirdgen.judges.model import Reply, Request, named_judge
from weirdgen.providers.background import FAILURES_IN_A_ROW
from weirdgen.providers.purse import BudgetError, Purse, spent
from weirdgen.runs.stages.verdict_units import JudgeAtProvider
from weirdgen.store.artifacts import Store
from weirdgen.store.table import Table

pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")
from weirdgen.judges.api_model import ApiJudgeModel

REFERENCE = "openai-api/mock/judge-1"
UNCOUNTED = {
    "id": "chatcmpl-test", "object": "chat.completion", "created": 1_700_000_000, "model": "judge-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}],
}  # fmt: skip
SOON = {"retry-after-ms": "5"}


def requests(count: int, weighted: bool = False) -> list[Request]:
    return [Request(f"k{i}", f"question {i}", ("1",), 16, weighted) for i in range(count)]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Reply], OpenAIServer]]:
    def run(
        script: Any, wanted: list[Request], connections: int = 4, purse: Purse | None = None, **options: Any
    ) -> tuple[list[Reply], OpenAIServer]:
        with OpenAIServer(script, **options) as server:
            monkeypatch.setenv("MOCK_BASE_URL", server.base_url)
            monkeypatch.setenv("MOCK_API_KEY", "sk-test")
            return list(ApiJudgeModel(REFERENCE, connections, retries=0, purse=purse).ask(wanted)), server

    return run


def test_replies_carry_text_tokens_and_counts(ask: Any) -> None:
    tokens = [("40", {"40": math.log(0.75), "50": math.log(0.25)})]
    (reply,), server = ask(lambda body: Answer("40", tokens), requests(1, weighted=True))
    assert reply.text == "40" and reply.error is None and not reply.cut and reply.output_tokens == 1
    assert reply.tokens[0].alternatives == pytest.approx({"40": math.log(0.75), "50": math.log(0.25)})
    assert server.refused == [] and server.requests[0] == {
        "model": "judge-1", "messages": [{"role": "user", "content": "question 0"}], "max_tokens": 16, "temperature": 0.0,
        "logprobs": True, "top_logprobs": 20,
    }  # fmt: skip


def test_rate_limits_and_server_errors_are_tried_again(ask: Any) -> None:
    seen: dict[str, int] = {}

    def script(body: dict[str, Any]) -> Answer | Failure:
        text = body["messages"][0]["content"]
        seen[text] = seen.get(text, 0) + 1
        if seen[text] == 1:
            return Failure(429 if int(text[-1]) % 2 else 500, headers=SOON)
        return Answer("yes")

    replies, server = ask(script, requests(8))
    assert [r.error for r in replies] == [None] * 8 and {r.key for r in replies} == {f"k{i}" for i in range(8)}
    assert len(server.requests) == 16


def test_what_fails_for_good_is_an_error_of_its_own(ask: Any) -> None:
    def script(body: dict[str, Any]) -> Answer | Failure:
        kind = int(body["messages"][0]["content"].split()[-1])
        broken: dict[int, Answer | Failure] = {
            1: Failure(500, headers=SOON),
            2: Failure(400, "context length exceeded"),
            3: Failure(200, body="not JSON at all"),
            4: Failure(200, body='{"choices": []}'),
            5: Answer("", finish_reason="content_filter"),
            6: Answer("a very long", finish_reason="length"),
        }
        return broken.get(kind, Answer("fine"))

    replies, _ = ask(script, requests(8), connections=1)
    by_key = {reply.key: reply for reply in replies}
    assert len(by_key) == 8 and [by_key[f"k{i}"].text for i in (0, 7)] == ["fine", "fine"]
    for i in (1, 2, 3, 4, 5):
        assert by_key[f"k{i}"].error, i
    assert "context length exceeded" in by_key["k2"].error and "content filter" in by_key["k5"].error
    assert by_key["k6"].cut and by_key["k6"].error is None


def test_no_more_requests_at_once_than_asked_for(ask: Any) -> None:
    _, server = ask(lambda body: Answer("x", seconds=0.02), requests(24), connections=3)
    assert 2 <= server.most_at_once <= 3


@pytest.mark.parametrize("word", ["logprobs", "temperature"])
def test_settings_that_a_model_refuses_are_left_out(ask: Any, word: str) -> None:
    def script(body: dict[str, Any]) -> Answer | Failure:
        return Failure(400, f"'{word}' is not supported with this model.") if word in body else Answer("7")

    replies, server = ask(script, requests(3, weighted=True))
    assert [reply.text for reply in replies] == ["7", "7", "7"] and len(server.requests) == 4  # learnt from the first
    assert word not in server.requests[-1]


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        (lambda body: Answer("x"), {"key": "another"}, "Incorrect API key"),
        (lambda body: Failure(404, "no such model"), {}, "no such model"),
        (lambda body: Failure(400, "'weather' is bad"), {}, "'weather' is bad"),
    ],
)
def test_a_first_request_that_fails_ends_it(ask: Any, script: Any, options: dict[str, str], expected: str) -> None:
    with pytest.raises(ModelError, match=f"the first 3 requests failed: .*{expected}"):
        ask(script, requests(50), **options)


@pytest.mark.parametrize(
    "failing", [Failure(400, "context length exceeded"), Answer("", finish_reason="content_filter")]
)
def test_one_answer_that_cannot_be_judged_does_not_keep_the_others_from_it(ask: Any, failing: Any) -> None:
    """Items have a fixed order, so a first one that always fails would stop every run before it began."""
    bad = {"question 0", "question 1"}
    replies, server = ask(lambda body: failing if body["messages"][0]["content"] in bad else Answer("x"), requests(9))
    assert {r.key for r in replies if r.error} == {"k0", "k1"} and len(replies) == len(server.requests) == 9
    (alone,), _ = ask(lambda body: failing, requests(1))
    assert alone.error and alone.withheld == isinstance(failing, Answer)


def test_any_number_of_replies_may_be_withheld(ask: Any) -> None:
    count = 2 * FAILURES_IN_A_ROW
    replies, _ = ask(lambda body: Answer("", finish_reason="content_filter"), requests(count))
    assert len(replies) == count and all(reply.withheld for reply in replies)


def test_a_provider_that_goes_down_ends_it_after_a_while(ask: Any) -> None:
    count = 0

    def script(body: dict[str, Any]) -> Answer | Failure:
        nonlocal count
        count += 1
        return Answer("x") if count < 5 else Failure(400, "out of credit")

    with pytest.raises(
        ModelError, match=f"{FAILURES_IN_A_ROW} requests failed in a row, the last with: .*out of credit"
    ):
        ask(script, requests(100))
    assert count < 40


@pytest.mark.slow
def test_no_server_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCK_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("MOCK_API_KEY", "x")
    with pytest.raises(ModelError, match="the first 3 requests failed: APIConnectionError"):
        list(ApiJudgeModel(REFERENCE, retries=0).ask(requests(3)))


def test_it_can_be_asked_inside_an_event_loop_and_closed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(lambda body: Answer("x", seconds=0.01)) as server:
        monkeypatch.setenv("MOCK_BASE_URL", server.base_url)
        monkeypatch.setenv("MOCK_API_KEY", server.key)

        async def notebook() -> Reply:
            replies = ApiJudgeModel(REFERENCE, 2).ask(requests(200))
            first = next(replies)
            replies.close()
            return first

        assert asyncio.run(notebook()).text == "x"
        assert len(server.requests) < 100


def test_without_inspect_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "inspect_ai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(ModelError, match=r"not installed \(inspect_ai\w*\.?\w*\): pip install 'weirdgen\[api\]'"):
        ApiJudgeModel(REFERENCE)


def test_judging_is_booked_and_keeps_to_a_budget(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIRDGEN_JUDGE_PRICE", "100/100")
    purse = Purse(tmp_path, "run", None)
    replies, server = ask(lambda body: Answer("yes it is"), requests(3), purse=purse)
    told = [len(body["messages"][0]["content"]) // 4 + 3 for body in server.requests]
    assert len(replies) == 3 and spent(tmp_path, "run") == (pytest.approx(sum(told) / 1e4), 0, 0)
    most = (2 * len("question 0") + 64 + 16) / 1e4
    spender = Purse(tmp_path, "other", 3.5 * most)
    with pytest.raises(BudgetError, match=f"another question to {REFERENCE} could pass it"):
        ask(lambda body: Failure(200, body=json.dumps(UNCOUNTED)), requests(9), connections=4, purse=spender)
    assert spent(tmp_path, "other") == (pytest.approx(3 * most), 0, 3)
    monkeypatch.delenv("WEIRDGEN_JUDGE_PRICE")
    with pytest.raises(BudgetError, match="the price of mock/judge-1 is not known"):
        ask(lambda body: Answer("yes"), requests(2), purse=Purse(tmp_path, "third", 1.0))


def test_verdicts_that_a_killed_process_had_paid_for_are_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Rating(kind="rating", prompt="{question} {answer}: 0 to 100?")
    items = tuple(Item("q", f"answer {number}") for number in range(6))
    unit = JudgeAtProvider(REFERENCE, 1, REFERENCE, judge, items, 1, "run")
    told: list[float] = []

    def dies(amount: float, note: str) -> None:
        told.append(amount)
        if len(told) == 4:
            raise KeyboardInterrupt

    with OpenAIServer(lambda body: Answer("40")) as server:
        monkeypatch.setenv("MOCK_BASE_URL", server.base_url)
        monkeypatch.setenv("MOCK_API_KEY", server.key)
        store = Store(tmp_path)
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(Table, "flush", lambda self: None)
            unit.work(store, dies)
        unit.work(store, lambda amount, note: None)
        assert len(server.requests) <= 6 + 1
        assert len(verdicts_of(language_table(store, judge, REFERENCE), items)) == 6
        paid = spent(tmp_path, "run")
        assert paid.unpriced == len(server.requests) and paid.estimated <= 1
        assert not list((tmp_path / "unfinished").rglob("*.jsonl"))


def test_an_api_model_is_named_by_its_reference() -> None:
    assert named_judge(REFERENCE) == (REFERENCE, REFERENCE)


def test_the_server_refuses_what_the_protocol_does_not_know() -> None:
    server = OpenAIServer(lambda body: Answer("x"))
    message = {"role": "user", "content": "q"}
    assert server.problem({"model": "m", "messages": [message]}) is None
    for body, words in [
        ({"messages": [message]}, "Missing required parameter: 'model'"),
        ({"model": "m", "messages": []}, "Invalid message"),
        ({"model": "m", "messages": [message], "top_k": 3}, "Unrecognized request argument"),
        ({"model": "m", "messages": [message], "max_tokens": "3"}, "Invalid type"),
        ({"model": "m", "messages": [message], "top_logprobs": 3}, "needs 'logprobs'"),
        ({"model": "m", "messages": [{"role": "user"}]}, "Invalid role or content"),
        ({"model": "m", "messages": [message], "temperature": 3}, "'temperature' must be"),
    ]:
        assert words in (server.problem(body) or ""), body
    with server:
        pass
