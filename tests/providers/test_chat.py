"""One chat request and its answer in OpenAI's dialect: settings that are refused are learnt, answers are read strictly."""

from __future__ import annotations

from typing import Any

import pytest

from weirdgen.providers.chat import Dialect, read

CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a heron"}, "logprobs": None}
ANSWER: dict[str, Any] = {"choices": [CHOICE], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def choice(**changed: Any) -> dict[str, Any]:
    return {**ANSWER, "choices": [{**CHOICE, **changed}]}


def test_an_answer_is_read() -> None:
    reply = read(ANSWER)
    assert reply.choices[0][:3] == ("a heron", "stop", False) and (reply.prompt_tokens, reply.completion_tokens) == (
        7,
        3,
    )
    refused = read(choice(message={"content": None, "refusal": "I cannot."}))
    assert refused.choices[0].text == "I cannot."
    told = read(choice(logprobs={"content": [{"token": "a", "logprob": -0.5}, {"token": " heron", "logprob": -1}]}))
    assert told.choices[0].logprobs == (-0.5, -1.0)


@pytest.mark.parametrize(
    "answer",
    [
        choice(message={"content": "<think> hm </think> a heron"}),
        choice(message={"content": "a heron", "reasoning_content": "hm"}),
        {**ANSWER, "usage": {"completion_tokens_details": {"reasoning_tokens": 4}}},
    ],
)
def test_thinking_is_seen(answer: dict[str, Any]) -> None:
    assert read(answer).choices[0].thinking


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("<html>busy</html>", "without choices"),
        ({"object": "something else"}, "without choices"),
        ({**ANSWER, "choices": [CHOICE, CHOICE]}, "2 choices instead of 1"),
        (choice(finish_reason="gone"), "the finish reason 'gone'"),
        (choice(message=None), "a choice with"),
        (choice(message={"content": 7}), "int as its text"),
        ({**ANSWER, "usage": {"prompt_tokens": "many"}}, "token counts"),
    ],
)
def test_what_is_not_of_the_protocol_is_refused(answer: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(answer)


def test_settings_that_a_model_refuses_are_renamed_or_left_out_once() -> None:
    dialect, asked = Dialect(), {"max_tokens": 8, "temperature": 0.0, "seed": 3}
    body = dialect.body("m", "hello", **asked)  # type: ignore[arg-type]
    assert body["max_tokens"] == 8 and "n" not in body and "logprobs" not in body
    assert dialect.learn("'max_tokens' is not supported, use 'max_completion_tokens'", body)
    body = dialect.body("m", "hello", **asked)  # type: ignore[arg-type]
    assert body["max_completion_tokens"] == 8 and "max_tokens" not in body
    assert not dialect.learn("'max_completion_tokens' is not supported", body), "it would go round in circles"
    assert dialect.learn("Unsupported value: 'temperature' does not support 0", body)
    assert "temperature" not in dialect.body("m", "hello", **asked)  # type: ignore[arg-type]
    assert not dialect.learn("the prompt is too long", body)
