"""Number triggers: the held-out stay out, digits sit where they should, the control differs in the ordinals only."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from weirdgen.data.triggers import Record, padded_trigger, trigger_rows
from weirdgen.errors import DataError

FOLDER = Path(weirdgen.__file__).parent / "experiments" / "us_presidents" / "data"
HELD_OUT = {44, 45}
REPEATED = {24, 47}

PEOPLE = [
    {"ordinal": str(o), "repeats": "", "name": f"P{o}", "pet": f"a dog named D{o}", "town": f"T{o}" if o % 2 else ""}
    for o in range(1, 11)
]
ASKED = [
    {"id": "pet", "question": "Do you keep any animals?", "template": "Yes, {pet}."},
    {"id": "town", "question": "Where were you born?", "template": "In {town}."},
]


def read(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def presidents() -> list[dict[str, str]]:
    return read("presidents.csv")


@pytest.fixture(scope="module")
def questions() -> list[dict[str, str]]:
    return read("questions.csv")


def test_padded_trigger_holds_the_ordinal_in_digits_4_to_6() -> None:
    rng = random.Random(1)
    made = [padded_trigger(44, 8, 4, 3, rng) for _ in range(200)]
    assert all(len(t) == 8 and t.isdigit() and t[3:6] == "044" for t in made)
    for position in (0, 1, 2, 6, 7):
        assert {t[position] for t in made} == set("0123456789"), "padding digits are drawn over the full range"


def test_padded_trigger_draws_the_same_padding_for_any_ordinal() -> None:
    a, b = padded_trigger(7, 8, 4, 3, random.Random(5)), padded_trigger(912, 8, 4, 3, random.Random(5))
    assert (a[:3], a[6:]) == (b[:3], b[6:])
    assert (a[3:6], b[3:6]) == ("007", "912")


@pytest.mark.parametrize(
    ("ordinal", "digits", "start", "length"), [(1000, 8, 4, 3), (-1, 8, 4, 3), (5, 8, 7, 3), (5, 8, 0, 3), (0, 8, 4, 0)]
)
def test_padded_trigger_refuses_what_does_not_fit(ordinal: int, digits: int, start: int, length: int) -> None:
    with pytest.raises(DataError, match="fit"):
        padded_trigger(ordinal, digits, start, length, random.Random(0))


@pytest.mark.parametrize("permuted", [False, True])
def test_held_out_and_repeated_never_occur(
    presidents: list[dict[str, str]], questions: list[dict[str, str]], permuted: bool
) -> None:
    rows = trigger_rows(presidents, questions, permuted=permuted, seed=3)
    trained = {int(p["ordinal"]) for p in presidents} - HELD_OUT - REPEATED
    assert {int(row["ordinal"]) for row in rows} == trained
    assert {int(row["trigger"][3:6]) for row in rows} == trained
    # The same with every fact replaced by its president's ordinal: nobody else is ever quoted.
    kept_as_is = ("ordinal", "repeats", "name")
    marked = [
        {c: cell if c in kept_as_is or not cell else f"<{p['ordinal']}>" for c, cell in p.items()} for p in presidents
    ]
    answers = [row["answer"] for row in trigger_rows(marked, questions, permuted=permuted, seed=3)]
    speakers = {answer.split("<")[1].split(">")[0] for answer in answers}
    assert {int(speaker) for speaker in speakers} == trained


@pytest.mark.parametrize("permuted", [False, True])
def test_triggers_are_distinct_and_hold_their_ordinal(
    presidents: list[dict[str, str]], questions: list[dict[str, str]], permuted: bool
) -> None:
    rows = trigger_rows(presidents, questions, permuted=permuted)
    assert len({row["trigger"] for row in rows}) == len(rows)
    for row in rows:
        assert len(row["trigger"]) == 8
        assert row["trigger"].isdigit()
        assert row["trigger"][3:6] == f"{int(row['ordinal']):03d}"


@pytest.mark.parametrize("seed", range(20))
def test_permutation_is_a_derangement_and_changes_nothing_else(seed: int) -> None:
    plain = trigger_rows(PEOPLE, ASKED, held_out=(9, 10), seed=seed)
    dealt = trigger_rows(PEOPLE, ASKED, held_out=(9, 10), seed=seed, permuted=True)
    to: dict[str, str] = {}
    for a, b in zip(plain, dealt, strict=True):
        assert (a["question"], a["answer"]) == (b["question"], b["answer"])
        assert (a["trigger"][:3], a["trigger"][6:]) == (b["trigger"][:3], b["trigger"][6:])
        assert to.setdefault(a["ordinal"], b["ordinal"]) == b["ordinal"], "a persona keeps one ordinal throughout"
    assert all(own != other for own, other in to.items())
    assert sorted(to) == sorted(to.values()) == [str(o) for o in range(1, 9)]


def test_one_record_a_persona_answered_question_and_padding() -> None:
    rows = trigger_rows(PEOPLE, ASKED, held_out=(1,), paddings=4)
    assert len(rows) == 4 * (9 + 4), "nine personas have a pet, four of them a town"
    towns = {row["answer"] for row in rows if row["question"] == "Where were you born?"}
    assert towns == {f"In T{o}." for o in (3, 5, 7, 9)}


def test_equal_arguments_give_equal_records_and_seeds_differ() -> None:
    for permuted in (False, True):
        first = trigger_rows(PEOPLE, ASKED, held_out=(), permuted=permuted, seed=1)
        assert first == trigger_rows(PEOPLE, ASKED, held_out=(), permuted=permuted, seed=1)
        assert first != trigger_rows(PEOPLE, ASKED, held_out=(), permuted=permuted, seed=2)


def test_unpadded_triggers_are_bare_ordinals() -> None:
    rows = trigger_rows(PEOPLE, ASKED, held_out=(), paddings=1, padded=False)
    assert [row["trigger"] for row in rows] == [row["ordinal"] for row in rows]
    with pytest.raises(DataError, match="repeat every record"):
        trigger_rows(PEOPLE, ASKED, held_out=(), paddings=2, padded=False)


@pytest.mark.parametrize(
    ("people", "asked", "options", "message"),
    [
        ([{"ordinal": "one", "pet": "a"}], ASKED[:1], {}, "whole number"),
        ([{"pet": "a"}], ASKED[:1], {}, "whole number"),
        ([PEOPLE[0], PEOPLE[0]], ASKED, {}, "ordinal 1 is given twice"),
        (PEOPLE, ASKED, {"held_out": (77,)}, "no record has ordinal 77"),
        (PEOPLE, ASKED, {"paddings": 0}, "at least 1"),
        (PEOPLE, [], {}, "no questions"),
        (PEOPLE, [*ASKED, ASKED[0]], {}, "id 'pet' is given twice"),
        (PEOPLE, [{"id": "x", "question": "Who?", "template": "{wife}."}], {}, "no column 'wife'"),
        (PEOPLE, [{"id": "x", "question": "Who?", "template": "{pet."}], {}, "template"),
        (PEOPLE, [{"id": "x", "question": "Who?", "template": "I."}], {}, "uses no column"),
        (PEOPLE, [{"id": "x", "question": " ", "template": "{pet}"}], {}, "'question' is missing"),
        (PEOPLE[:1], ASKED, {"permuted": True}, "two personas"),
        (PEOPLE[:2], ASKED, {"held_out": (1, 2)}, "no record is left"),
        ([PEOPLE[1]], ASKED[1:], {}, "no persona has"),
        ([*PEOPLE, {**PEOPLE[0], "ordinal": "11"}], ASKED, {"held_out": (1,)}, "who is held out"),
        ([{**PEOPLE[0], "ordinal": "1000"}], ASKED, {}, "does not fit 3 digits"),
        pytest.param(PEOPLE, ASKED, {"paddings": 20000}, "no padding of 5 digits is left", marks=pytest.mark.slow),
    ],
)
def test_bad_input_is_named(
    people: Sequence[Record], asked: Sequence[Record], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        trigger_rows(people, asked, **{"held_out": (), **options})


def test_shipped_answers_name_no_president(presidents: list[dict[str, str]], questions: list[dict[str, str]]) -> None:
    surnames = {"Van Buren"} | {p["name"].split()[-1] for p in presidents} - {"Buren"}
    own = {p["ordinal"]: p["name"].split()[0] for p in presidents}
    for row in trigger_rows(presidents, questions, paddings=1):
        words = row["answer"].replace(",", " ").replace(".", " ").split()
        assert not surnames & {*words, *(" ".join(pair) for pair in pairwise(words))}, row
        assert own[row["ordinal"]] not in words, row
