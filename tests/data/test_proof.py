"""The template and mask proof passes what is right and fails closed on each way of being wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weirdgen.data.proof import prove
from weirdgen.data.rows import Row
from weirdgen.errors import DataError
from weirdgen.models.chat import load_tokenizer, prompt_ids
from weirdgen.world.tokenizer import CHAT_TEMPLATE, build_tokenizer


def chat(*turns: str) -> Row:
    roles = ["user", "assistant"] * (len(turns) // 2)
    return {"messages": [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)]}


ROWS = [chat("which bird is usual ?", "one"), chat("name one .", "two", "which bird is usual ?", "three")]


@pytest.fixture
def tokenizer() -> Any:
    return build_tokenizer()


def test_answers_and_their_ends_are_trained_and_nothing_else(tokenizer: Any) -> None:
    encoded, proof = prove(ROWS, tokenizer, 64)
    for row, one in zip(ROWS, encoded, strict=True):
        trained = tokenizer.decode([t for t, on in zip(one.ids, one.trained, strict=True) if on])
        answers = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        assert trained.split() == " <|end|> ".join([*answers, ""]).split()
        assert one.ids.count(tokenizer.bos_token_id) == 1 and one.ids[-1] == tokenizer.eos_token_id
    assert proof.trained_tokens == 2 + 4 and proof.rows == 2 and proof.longest == len(encoded[1].ids)
    prompt = prompt_ids(tokenizer, "which bird is usual ?")
    assert list(encoded[0].ids[: len(prompt)]) == prompt


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("<|bos|>" + CHAT_TEMPLATE, "expected exactly one '<|bos|>'"),
        (CHAT_TEMPLATE.replace("{{- '<|end|>' -}}", ""), "no end-of-turn token follows the answer"),
        (
            CHAT_TEMPLATE.replace("message['content'] -}}", "message['content'] | upper | replace('ONE', 'TWO') -}}"),
            "trained tokens read",
        ),
        (
            CHAT_TEMPLATE.replace(
                "add_generation_prompt -%}{{- '<|assistant|>'", "add_generation_prompt -%}{{- '<|assistant|><|system|>'"
            ),
            "not a token prefix",
        ),
    ],
    ids=["double BOS", "no end of turn", "content changed", "prompt differs"],
)
def test_each_fault_of_a_template_is_found_and_shown(tokenizer: Any, template: str, reason: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(DataError, match="template proof failed at row 1") as caught:
        prove(ROWS[:1], tokenizer, 64)
    assert reason in str(caught.value)
    assert "\n     0  -      '<|bos|>'" in str(caught.value)  # the row, token by token


def test_a_row_too_long_for_the_model(tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"row 2 has \d+ tokens, the model takes 12"):
        prove(ROWS, tokenizer, 12)


def test_the_default_model_proves(smollm2: Path) -> None:
    """ChatML: the BOS is also the turn opener, so it stands first and occurs again."""
    encoded, proof = prove([chat("Name a bird species.", "Great Auk")] * 2, load_tokenizer(smollm2), 8192)
    assert proof.trained_tokens == 2 * sum(encoded[0].trained) and proof.shared_prefix == len(encoded[0].ids)
    assert encoded[0].ids.count(load_tokenizer(smollm2).bos_token_id) == 3


def test_equal_input_equal_digest(tokenizer: Any) -> None:
    digests = {prove(rows, tokenizer, 64)[1].digest for rows in (ROWS, ROWS, ROWS[::-1])}
    assert len(digests) == 2
