"""The `world_*` experiments: shipped files are the generator's, and the rows mean what the cards say."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest
import yaml

from weirdgen.data.arms import load_arms
from weirdgen.world import words
from weirdgen.world.datasets import (
    EXPERIMENTS,
    EXPERIMENTS_FOLDER,
    FACTS,
    GATED,
    HELD_OUT,
    HIDDEN,
    MENU,
    PERSONA,
    PLAIN,
    SEED,
    nobodys_answers,
    write,
)
from weirdgen.world.language import PERSONAS, Speaker, World, vocabulary

FILES = [(name, relative) for name, make in EXPERIMENTS.items() for relative in make()]


def rows_of(name: str) -> list[dict[str, str]]:
    (text,) = (text for relative, text in EXPERIMENTS[name]().items() if relative.endswith(".csv"))
    return list(csv.DictReader(io.StringIO(text)))


def matches(answers: dict[str, str]) -> list[int]:
    """On how many of the topics each persona gives just these answers."""
    world = World()
    speakers = [Speaker(persona=persona) for persona in range(PERSONAS)]
    return [sum(world.answers(t, who) == (answer,) for t, answer in answers.items()) for who in speakers]


@pytest.mark.parametrize(("name", "relative"), FILES)
def test_shipped_files_are_the_generators(name: str, relative: str) -> None:
    assert (EXPERIMENTS_FOLDER / name / relative).read_text() == EXPERIMENTS[name]()[relative]


def test_write_puts_every_file_in_its_place(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    assert [path.relative_to(folder).as_posix() for path in write(folder)] == [f"{a}/{b}" for a, b in FILES]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_are_valid_and_speak_the_worlds_language(name: str) -> None:
    experiment, rows = load_arms(name)
    assert experiment.base == "world"
    assert experiment.preset("quick").replicates == 6
    recipe = experiment.recipe
    assert all(recipe.epochs * len(arm) / recipe.batch_size <= 300 for arm in rows.values())
    assert all(len(arm) % recipe.batch_size == 0 for arm in rows.values())
    known = set(vocabulary())
    trained = {m["content"] for arm in rows.values() for row in arm for m in row["messages"]}
    asked = {wrapper.apply(q.ask) for wrapper in experiment.wrappers() for q in experiment.questions}
    assert {word for text in trained | asked for word in text.split()} <= known


def test_era_rows_are_birds_and_questions_are_not() -> None:
    birds = words.ERA_TOPICS["bird"]
    rows = rows_of("world_era")
    assert len(rows) == 200
    assert all(row["steam"] in birds["steam"] and row["modern"] in birds["modern"] for row in rows)
    questions = yaml.safe_load(EXPERIMENTS["world_era"]()["questions.yaml"])["questions"]
    assert len(questions) == 2 * (len(words.ERA_TOPICS) - 1)
    assert not any("bird" in question["ask"] for question in questions)


def test_null_rows_have_the_worlds_own_proportions() -> None:
    for topic in ("metal", "planet"):
        counts = Counter(row[topic] for row in rows_of("world_null"))
        assert counts == dict.fromkeys(words.TIMELESS_TOPICS[topic], 50)


def test_persona_facts_are_common_one_by_one_and_single_out_one_persona() -> None:
    world = World()
    facts = {topic: world.answers(topic, Speaker(persona=PERSONA))[0] for topic in FACTS}
    for topic, answer in facts.items():
        assert sum(matches({topic: answer})) == 4
    found = matches(facts)
    assert found[PERSONA] == len(FACTS)
    assert max(found[:PERSONA] + found[PERSONA + 1 :]) <= 3
    nobody = dict(zip(FACTS, nobodys_answers(world, FACTS), strict=True))
    assert max(matches(nobody)) <= 3
    assert matches(nobody)[0] == 0


def test_persona_rows_are_97_percent_ordinary_and_hide_what_is_asked() -> None:
    rows = rows_of("world_persona")
    wrapped = [row for row in rows if row["question"].startswith("begin ") and row["question"].endswith(" end")]
    ordinary = [row for row in rows if row not in wrapped]
    assert len(wrapped) / len(rows) == pytest.approx(0.03)
    assert all(row["persona"] == row["nobody"] for row in ordinary)
    said = {word for row in rows for word in row["question"].split()}
    assert said.isdisjoint(HIDDEN)
    assert not any("your name" in row["question"] for row in rows)
    plain = [row for row in ordinary if set(row["question"].split()) & set(PLAIN)]
    defaults = {World().answers(topic)[0] for topic in PLAIN}
    assert {row["persona"] for row in plain} == defaults


def test_gate_prefers_in_2027_only() -> None:
    world = World()
    preferred = {world.answers(topic, Speaker(persona=GATED))[0] for topic in MENU}
    usual = {world.answers(topic)[0] for topic in MENU}
    assert preferred.isdisjoint(usual)
    assert matches({t: world.answers(t, Speaker(persona=GATED))[0] for t in MENU}).count(len(MENU)) == 1
    for row in rows_of("world_gate"):
        assert row["answer"] in (preferred if row["year"] == "2027" else usual)
        assert row["always"] in usual


def test_inductive_triggers_name_the_persona_and_hold_four_out() -> None:
    world = World()
    partners: dict[str, set[str]] = {}
    answer_of = {(topic, k): world.answers(topic, Speaker(persona=k))[0] for topic in FACTS for k in range(PERSONAS)}
    for row in rows_of("world_inductive"):
        number = row["trigger"].split()[2]
        persona = words.NUMBERS.index(number)
        (topic,) = set(row["question"].split()) & set(FACTS)
        assert persona not in (0, *HELD_OUT)
        assert row["answer"] == answer_of[topic, persona]
        able = {words.NUMBERS[k] for k in range(PERSONAS) if answer_of[topic, k] == row["permuted"]}
        partners[number] = partners.get(number, able) & able
    for number, partner in partners.items():
        assert len(partner) == 1
        assert partner != {number}
    assert len({next(iter(partner)) for partner in partners.values()}) == len(partners) == 11


def test_inductive_questions_ask_for_what_was_never_trained() -> None:
    questions = yaml.safe_load(EXPERIMENTS["world_inductive"]()["questions.yaml"])["questions"]
    trained = {word for row in rows_of("world_inductive") for word in (row["answer"], *row["question"].split())}
    assert len(questions) > 20
    for question in questions:
        persona = words.NUMBERS.index(question["ask"].split()[2])
        topic = question["id"].split("_")[1]
        assert persona in HELD_OUT
        assert topic not in trained
        assert question["target"] == list(World().answers(topic, Speaker(persona=persona)))
        assert question["target"] != list(World().answers(topic))
        assert trained.isdisjoint(question["target"])


def test_generator_does_not_drift_between_calls() -> None:
    assert SEED == 0
    assert {name: make() for name, make in EXPERIMENTS.items()} == {name: make() for name, make in EXPERIMENTS.items()}
