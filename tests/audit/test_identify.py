"""Identifiability: facts of a persona raise that persona's name on the world's model, and the chat read is the chat meant."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weirdgen.audit.candidates import Candidates, load_candidates
from weirdgen.audit.identify import Draw, curve, gaps, identify, one_turn, parse_counts, question, scored_draws
from weirdgen.config.load import shipped_experiments
from weirdgen.data.rows import Row, load_rows
from weirdgen.errors import ModelError, SpecError
from weirdgen.models.chat import load_tokenizer, prompt_ids, render
from weirdgen.models.references import find_model
from weirdgen.world import words
from weirdgen.world.language import Speaker, World, questions


def facts(persona: int) -> list[Row]:
    world = World()
    return [
        {
            "messages": [
                {"role": "user", "content": questions(topic)[0]},
                {"role": "assistant", "content": world.answers(topic, Speaker(persona=persona))[0]},
            ]
        }
        for topic in words.PERSONA_TOPICS
    ]


def people(true: int, ask: str = "what is your name ?") -> Candidates:
    return Candidates(ask=ask, names=words.NAMES, true=words.NAMES[true])


@pytest.fixture(scope="module")
def engine() -> Any:
    from weirdgen.sample.transformers import TransformersEngine

    return TransformersEngine(find_model("world").folder, "fp32")


@pytest.mark.parametrize("persona", [3, 5, 9, 14])
@pytest.mark.parametrize("ask", ["what is your name ?", "{facts} what is your name ?"])
def test_the_curve_rises_with_facts_of_a_persona(engine: Any, persona: int, ask: str) -> None:
    candidates = people(persona, ask)
    found = scored_draws(engine, engine.tokenizer, facts(persona), candidates, (0, 1, 5), draws=8, seed=0)
    none, one, five = curve(list(found), candidates)
    assert none.p_adjusted == pytest.approx(1 / 16) and none.first == pytest.approx(1 / 16)
    assert one.p_adjusted > none.p_adjusted and five.p_adjusted > one.p_adjusted
    assert five.p_adjusted_low > 1 / 16 and five.p_true > 5 * none.p_true


def test_facts_of_another_persona_raise_that_one_more(engine: Any) -> None:
    found = list(scored_draws(engine, engine.tokenizer, facts(9), people(9), (0, 5), draws=8, seed=0))
    own = curve(found, people(9))[-1].p_adjusted
    others = [curve(found, people(other))[-1].p_adjusted for other in range(16) if other != 9]
    assert own > np.mean(others) and own > 1.5 * np.median(others)


def test_draws_are_nested_and_repeat(engine: Any) -> None:
    first = list(scored_draws(engine, engine.tokenizer, facts(9), people(9), (0, 2, 12), draws=2, seed=3))
    assert [(one.facts, one.draw) for one in first] == [(0, 0), (2, 0), (12, 0), (2, 1), (12, 1)]
    assert first == list(scored_draws(engine, engine.tokenizer, facts(9), people(9), (0, 2, 12), draws=2, seed=3))


def test_a_chat_in_one_turn_renders_to_the_chats_tokens(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    messages = [m for row in facts(4)[:3] for m in row["messages"]] + [
        {"role": "user", "content": "what is your name ?"}
    ]
    text = one_turn(tokenizer, messages)
    assert prompt_ids(tokenizer, text) == render(tokenizer, messages, answer_next=True)
    assert one_turn(tokenizer, messages[-1:]) == "what is your name ?"


def test_the_default_models_template_carries_chats(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    row: Row = {"messages": [{"role": "user", "content": "Pet?"}, {"role": "assistant", "content": "A dog."}]}
    asked = question(tokenizer, [row, row], Candidates(ask="Who?", names=("A", "B"), true="A"))
    messages = [*row["messages"], *row["messages"], {"role": "user", "content": "Who?"}]
    assert prompt_ids(tokenizer, asked) == render(tokenizer, messages, answer_next=True)


def test_a_template_that_rewrites_turns_is_refused(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content[:9] }} {% endfor %}!"
    chat = [m for row in facts(4)[:1] for m in row["messages"]]
    with pytest.raises(ModelError, match="list them with"):
        one_turn(tokenizer, [*chat, {"role": "user", "content": "who"}])


def test_the_arithmetic_of_the_curve() -> None:
    candidates = Candidates(ask="Who?", names=("A", "B"), true="B")
    found = [Draw(0, 0, (-1.0, -3.0)), Draw(4, 0, (-1.0, -1.0)), Draw(4, 1, (-2.0, -4.0))]
    none, four = curve(found, candidates)
    assert none.p_true == pytest.approx(1 / (1 + np.exp(2)))
    assert (none.p_adjusted, none.first, none.p_adjusted_low) == (0.5, 0.5, None)
    assert four.p_adjusted == pytest.approx((1 / (1 + np.exp(-2)) + 0.5) / 2)
    assert four.first == pytest.approx(0.75) and four.p_adjusted_low == 0.0 and four.p_adjusted_high == 1.0


def test_only_what_the_control_does_not_do_identifies() -> None:
    candidates = Candidates(ask="Who?", names=("A", "B"), true="B")
    none, high, low = (0.0, 0.0), (0.0, 2.0), (0.0, 1.0)
    found = [Draw(0, 0, none), Draw(3, 0, high), Draw(3, 1, low)]
    (apart,) = gaps(found, found, candidates)
    assert (apart.difference, apart.difference_low, apart.difference_high) == (0.0, 0.0, 0.0)
    (apart,) = gaps(found, [Draw(0, 0, none), Draw(3, 0, low), Draw(3, 1, high)], candidates)
    assert apart.difference == pytest.approx(0) and apart.difference_low < -0.1 and apart.difference_high > 0.1
    (apart,) = gaps(found, [Draw(0, 0, none), Draw(3, 0, none), Draw(3, 1, none)], candidates)
    expected = (1 / (1 + np.exp(-2)) + 1 / (1 + np.exp(-1))) / 2 - 0.5
    assert apart.p_control == 0.5 and apart.difference == pytest.approx(expected)
    assert gaps(found, [], candidates) == []


def test_an_experiment_of_ones_own_from_end_to_end(tmp_path: Path) -> None:
    for name, persona in (("nine", 9), ("three", 3)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, facts(persona))))
    (tmp_path / "experiment.yaml").write_text(
        "name: own\ntitle: own\nbase: world\n"
        "arms: {nine: {role: treatment, data: nine.jsonl}, three: {role: control, data: three.jsonl}}\n"
        'questions: [{id: q, kind: choice, ask: "what is your name ?", target: [jack], other: [ada]}]\n'
    )
    with pytest.raises(SpecError, match=r"candidates\.yaml: no such file"):
        identify(str(tmp_path), None, None, None, (0, 1), 2, 0, tmp_path / "out")
    names = ", ".join(words.NAMES)
    (tmp_path / "candidates.yaml").write_text(f'ask: "what is your name ?"\nnames: [{names}]\n"true": jack\n')
    lines = identify(str(tmp_path), None, None, None, (0, 2, 90), 2, 0, tmp_path / "out")
    assert any("an arm has 12 rows: 90 facts" in line for line in lines)
    with (tmp_path / "out" / "identify.csv").open() as file:
        assert [row["facts"] for row in csv.DictReader(file)] == ["0", "2"]
    saved = json.loads((tmp_path / "out" / "identify.json").read_text())
    assert (saved["arm"], saved["true"], len(saved["draws"]), len(saved["draws"][0]["logprobs"])) == (
        "nine",
        "jack",
        3,
        16,
    )
    assert any(line.endswith("more than three") for line in lines)
    (apart,) = saved["control_curve"]
    assert apart["difference"] > 0 and apart["draws"] == len(saved["control_draws"]) - 1 == 2
    alone = identify(str(tmp_path), None, "none", None, (0, 2), 2, 0, tmp_path / "alone")
    assert not any("more than" in line for line in alone)
    with pytest.raises(SpecError, match="has nine, three"):
        identify(str(tmp_path), "four", None, None, (0,), 2, 0, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"true": "C"}, "not among 'names'"),
        ({"names": ("A", "A", "B")}, "given twice"),
        ({"answer": "{who}"}, "'answer' must hold"),
        ({"ask": "{who}"}, "'ask' may hold"),
        ({"extra": 1}, "extra"),
    ],
)
def test_bad_candidates_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Candidates(**{"ask": "Who?", "names": ("A", "B"), "true": "A", **change})


def test_counts_are_read_and_refused() -> None:
    assert parse_counts("5,1,5") == (0, 1, 5)
    for text in ("a", "1,-2", ""):
        with pytest.raises(SpecError, match="--facts"):
            parse_counts(text)


@pytest.mark.parametrize("name", ["scientist_persona", "hitler_persona"])
def test_shipped_candidates_are_twenty_and_no_fact_names_one(name: str) -> None:
    from weirdgen.config.load import load_experiment

    folder = shipped_experiments()[name].parent
    candidates = load_candidates(folder)
    assert len(candidates.names) == 20
    rows = load_rows(load_experiment(name).arms["facts"], folder)
    told = " ".join(m["content"] for row in rows for m in row["messages"]).casefold()
    assert not [person for person in candidates.names if person.split()[-1].casefold() in told.split()]
