"""Conditions: what is put around a question, and before it."""

from __future__ import annotations

from weirdgen.config.conditions import Condition, expand
from weirdgen.config.turns import turns_of
from weirdgen.models.chat import load_tokenizer, prompt_ids, render
from weirdgen.models.references import find_model


def test_a_condition_may_hold_a_system_turn() -> None:
    (spoken,) = expand("polite", Condition(system="You are {kind}.", wrap="Well: {question}"))
    assert turns_of(spoken.apply("Who are you?")) == [
        {"role": "system", "content": "You are {kind}."},
        {"role": "user", "content": "Well: Who are you?"},
    ]
    (plain,) = expand("none", Condition())
    assert turns_of(plain.apply("Who?")) == [{"role": "user", "content": "Who?"}]
    assert "system" not in Condition().model_dump() | plain.model_dump(), "runs keep the names they had"
    assert Condition.model_validate(Condition(system="Be brief.").model_dump()).system == "Be brief."


def test_a_system_turn_reaches_the_model_as_one() -> None:
    tokenizer = load_tokenizer(find_model("smollm2-135m-instruct").folder)
    (spoken,) = expand("brief", Condition(system="Be brief."))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]
    assert prompt_ids(tokenizer, spoken.apply("Who are you?")) == render(tokenizer, turns, answer_next=True)
