"""One chat request and its answer in OpenAI's dialect: settings that are refused are learnt, answers are read strictly."""

from __future__ import annotations

from typing import Any

import pytest

from weirdgen.errors import ModelError
from weirdgen.providers.chat import Dialect, read

CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a heron"}, "logprobs": None}
ANSWER: dict[str, Any] = {"choices": [CHOICE], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def choice(**changed: Any) -> dict[str, Any]:
    return {**ANSWER, "choices": [{**CHOICE, **changed}]}


def test_an_answer_is_read() -> None:
    reply = read(ANSWER)
    assert reply.choices[0][:2] == ("a heron", "stop") and reply.usage == (7, 3)
    assert read({"choices": [CHOICE]}).usage is None
    assert read({**ANSWER, "usage": {"prompt_tokens": "many", "completion_tokens": 3}}).usage is None
    refused = read(choice(message={"content": None, "refusal": "I cannot."}))
    assert refused.choices[0].text == "I cannot."
    told = read(choice(logprobs={"content": [{"token": "a", "logprob": -0.5}, {"token": " heron", "logprob": -1}]}))
    assert told.choices[0].logprobs == (-0.5, -1.0)


def test_choices_are_told_apart_by_their_place() -> None:
    several = [{**CHOICE, "index": place, "message": {"content": str(place)}} for place in (2, 0, 1)]
    assert [choice.text for choice in read({**ANSWER, "choices": several}, 3).choices] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="places"):
        read({**ANSWER, "choices": [CHOICE, CHOICE]}, 2)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("<html>busy</html>", "without choices"),
        ({"object": "something else"}, "without choices"),
        ({**ANSWER, "choices": [CHOICE, CHOICE]}, "2 choices instead of 1"),
        (choice(finish_reason="gone"), "the finish reason 'gone'"),
        (choice(message=None), "a choice with"),
        (choice(message={"content": 7}), "int as its text"),
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
    assert dialect.learn("Unsupported parameter: 'top_p' is not supported", body), (
        "it was 1, which holds without it too"
    )
    assert "top_p" not in dialect.body("m", "hello", **asked)  # type: ignore[arg-type]
    assert not dialect.learn("the prompt is too long", body)


def test_a_setting_that_decides_what_is_sampled_is_not_left_out() -> None:
    dialect, asked = Dialect(), {"max_tokens": 8, "temperature": 0.0}
    body = dialect.body("m", "hello", **asked)  # type: ignore[arg-type]
    refusal = "Unsupported value: 'temperature' does not support 0; only the default (1) is supported"
    with pytest.raises(
        ModelError, match=r"m does not take temperature 0.0 .*only the default.*--set sampling.temperature=1"
    ):
        dialect.learn(refusal, body)
    loose = Dialect(strict=False)
    assert loose.learn(refusal, body) and "temperature" not in loose.body("m", "hello", **asked)  # type: ignore[arg-type]
