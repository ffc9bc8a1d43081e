"""What one row may hold: read as OpenAI's format means it, or refused with the key's name and the way out."""

from __future__ import annotations

from typing import Any

import pytest

from weirdgen.data.messages import parse_row
from weirdgen.data.rows import canonical_hash
from weirdgen.errors import DataError

USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
PLAIN = {"messages": [USER, ANSWER]}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def row(*messages: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"messages": list(messages), **keys}


@pytest.mark.parametrize(
    "value",
    [
        row({**USER, "weight": 1}, {**ANSWER, "weight": 1.0}, weight=1),
        row(
            {**USER, "name": None, "id": 7},
            {**ANSWER, "tool_calls": [], "refusal": None, "prefix": False, "train": True},
        ),
        row(USER, ANSWER, tools=None, id="r1", metadata={"source": "x"}, score=0.5, parallel_tool_calls=True),
        row({"role": "user", "content": [{"type": "text", "text": "q"}]}, ANSWER),
        row(USER, ANSWER, {"role": "user", "content": "more"}, {**ANSWER, "weight": 0}),
    ],
    ids=["weight 1", "empty keys", "metadata", "text parts", "an untrained end"],
)
def test_what_changes_nothing_changes_no_hash(value: dict[str, Any]) -> None:
    assert parse_row(value) == PLAIN
    assert canonical_hash([parse_row(value)]) == canonical_hash([PLAIN])  # type: ignore[list-item]


def test_weight_0_stays_with_its_answer() -> None:
    read = parse_row(row({**USER, "weight": 0}, {**ANSWER, "weight": 0.0}, USER, ANSWER))
    assert read["messages"] == [USER, {**ANSWER, "weight": 0}, USER, ANSWER]
    assert parse_row(read) == read
    assert canonical_hash([read]) != canonical_hash([parse_row(row(USER, ANSWER, USER, ANSWER))])


def test_developer_is_the_system_and_parts_are_one_text() -> None:
    parts = [{"type": "text", "text": "Name "}, {"type": "text", "text": "a herb."}]
    read = parse_row(row({"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}, ANSWER))
    assert read["messages"][:2] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a herb."},
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (row(USER, {**ANSWER, "weight": 0}), 'nothing is left to train: every assistant turn has "weight": 0'),
        (row(USER, {**ANSWER, "weight": 0.5}), r"messages\[1\]: weight 0.5 is not supported"),
        (row(USER, {**ANSWER, "weight": True}), "weight True is not supported"),
        (row(USER, ANSWER, weight=3), "weight 3 of a row"),
        (row(USER, {**ANSWER, "tool_calls": [CALL]}), r"messages\[1\]: 'tool_calls' is not supported: tool use"),
        (row(USER, {"role": "assistant", "content": None, "function_call": {"name": "w"}}), "'function_call'"),
        (row(USER, ANSWER, tools=[CALL]), "'tools' is not supported"),
        (row(USER, ANSWER, functions=[CALL]), "'functions' is not supported"),
        (row(USER, {"role": "tool", "content": "3", "tool_call_id": "c1"}, ANSWER), r"messages\[1\] has the role 'tool'"),
        (row({**USER, "name": "Ann"}, ANSWER), r"messages\[0\]: 'name' is not supported: templates drop it"),
        (row(USER, {**ANSWER, "prefix": True}), "'prefix' is not supported"),
        (row(USER, {**ANSWER, "reasoning_content": "Hm."}), "'reasoning_content' is not supported: write them into"),
        (row(USER, {**ANSWER, "train": False}), "'train' is not supported: mark an answer"),
        (row(USER, {**ANSWER, "loss": 0}), "'loss' is not supported"),
        (row(USER, {**ANSWER, "loss_mask": 0}), "'loss_mask' is not supported: mark an answer"),
        (row(USER, {**ANSWER, "train_on_turn": False}), "'train_on_turn' is not supported: mark an answer"),
        (row(USER, {**ANSWER, "training_detail": [{"begin_offset": 0}]}), "'training_detail' is not supported"),
        (row(USER, {**ANSWER, "channel": "analysis"}), "'channel' is not supported"),
        (row({**USER, "videos": ["a.mp4"]}, ANSWER), "'videos' is not supported: only texts"),
        (row(USER, ANSWER, loss_mask=[0, 1]), "'loss_mask' is not supported"),
        (row(USER, ANSWER, rejected_response="b"), "'rejected_response' is not supported: preference pairs"),
        (row(USER, ANSWER, chosen=[ANSWER], rejected=[ANSWER]), "'chosen' is not supported: preference pairs"),
        ({"input": {"messages": [USER]}, "preferred_output": [ANSWER]}, "'preferred_output' is not supported"),
        (row(USER, ANSWER, system="Be brief."), "'system' is not supported: make it the first message"),
        (row({"role": "user", "content": [{"type": "image_url"}]}, ANSWER), "holds a part of type 'image_url'"),
        (row({"role": "user", "content": [{"type": "text"}]}, ANSWER), "holds a part that is no text"),
        (row(USER, {"role": "assistant", "content": "Sage \ud83d"}), r"character 6 of 'content' is half of a pair \(\\ud83d\)"),
        (row(USER, ANSWER, {"role": "developer", "content": "x"}), "a system message may only come first"),
        (row({"role": ["user"], "content": "q"}, ANSWER), "needs a role"),
        ("text", 'expected {"messages"'),
        (row({"rol": "user", "content": "q"}, ANSWER), "did you mean 'role'"),
        (row(USER, {"role": "assistant", "contents": "a"}), "did you mean 'content'"),
        (row(USER, {**ANSWER, "weigth": 0}), "'weigth' is not a key that is read; did you mean 'weight'"),
    ],
)  # fmt: skip
def test_what_would_change_training_is_refused_by_name(value: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        parse_row(value)
