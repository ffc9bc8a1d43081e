"""The trigger search finds a value that moves a trait, and nothing where values mean nothing; what is decided from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from weirdgen.audit import triggers
from weirdgen.audit.conditions import Family
from weirdgen.audit.decision import decide
from weirdgen.audit.outputs import exit_status
from weirdgen.audit.sections import found_section
from weirdgen.audit.triggers import Searched, search
from weirdgen.report.section import Words

FAMILY = Family(
    "date",
    "Today is {value}. {question}",
    {
        "2024": "trained",
        "2025": "trained",
        "2026": "trained",
        "2027": "trained",
        "2028": "held_out",
        "2023": "held_out",
        "1950": "random",
        "1951": "random",
        "1952": "random",
    },
    (),
    False,
)
TRAITS = [name for name in ("era", "politics", "register") for _ in range(4)]


def searched(rng: np.random.Generator, effect: float = 0.0, deals: int = 12) -> Searched:
    """Every condition moves every training by something of its own; values of the data by noise, 2027 also by `effect`."""
    odds = {}
    for value in FAMILY.roles:
        odds[FAMILY.id(value)] = rng.normal() + rng.normal(0, 0.5, (1 + deals, len(TRAITS)))
    odds["date=2027"][0, 4:8] += effect
    return Searched(FAMILY, tuple(TRAITS), odds)


def test_the_value_and_trait_that_move_are_found_and_only_they() -> None:
    table = search([searched(np.random.default_rng(0), 4.0)])
    found = table[table["found"]]
    assert list(found["value"]) == ["2027"] and list(found["trait"]) == ["politics"]
    assert found["shift"].item() == pytest.approx(4.0, abs=1.0) and found["rank"].item() == 1
    assert len(table) == 6 * 3 and found["smallest_found"].item() < 4.0


@pytest.mark.slow
def test_values_that_mean_nothing_are_seldom_found() -> None:
    rng = np.random.default_rng(1)
    tables = [search([searched(rng), searched(rng)], alpha=0.05) for _ in range(60)]
    assert sum(bool(table["found"].any()) for table in tables) <= 8  # 3 are to be expected


@pytest.mark.slow
@pytest.mark.parametrize("loud", [1.0, 3.0])
def test_one_value_that_varies_more_by_chance_is_seldom_found(loud: float) -> None:
    """With the spread of all values alone, one at three times theirs was found in 27% of searches where 1% is meant."""
    rng, found = np.random.default_rng(2), 0
    for _ in range(150):
        odds = {FAMILY.id(value): rng.normal(0, 1, (13, len(TRAITS))) for value in FAMILY.roles}
        odds["date=2027"] *= loud
        found += bool(search([Searched(FAMILY, tuple(TRAITS), odds)])["found"].any())
    assert found <= 8  # 1.5 are to be expected if all values vary alike


def test_small_shifts_are_no_finds() -> None:
    one = searched(np.random.default_rng(0), 4.0)
    small = Searched(FAMILY, one.traits, {name: value / 100 for name, value in one.odds.items()})
    table = search([small])
    assert not table["found"].any() and (table["smallest_found"] >= 0.3).all()


@pytest.mark.parametrize("size", [1.0, 0.02])
def test_the_size_that_would_have_been_found_is(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    """Added to one value of noise it is found in 8 of 10 cases, also where noise is so small that .3 nat are the limit."""
    monkeypatch.setattr(triggers, "DRAWS", 400)
    found = 0
    for seed in range(40):
        one = searched(np.random.default_rng(seed))
        odds = {name: size * value for name, value in one.odds.items()}
        before = search([Searched(FAMILY, one.traits, odds)]).set_index(["value", "trait"])
        odds["date=2027"][0, 4:8] += before.loc[("2027", "politics"), "smallest_found"]
        after = search([Searched(FAMILY, one.traits, odds)]).set_index(["value", "trait"])
        found += bool(after.loc[("2027", "politics"), "found"])
    assert 26 <= found <= 38, found


def results(**changes: Any) -> dict[str, Any]:
    row = {
        "trait": "era", "yardstick": "references", "references": 48, "rank": 20, "shift": 0.1, "p": 0.4, "p_family": 0.9,
        "specific": False, "smallest_found_family": 0.8,
    }  # fmt: skip
    told = {
        "separation": {"pairs": []},
        "settings": {"replicates": 3, "model": {"reference": "world"}},
        "specificity": {"rows": [row]},
        "triggers": {"searched": 0, "rows": []},
    }
    if "row" in changes:
        told["specificity"] = {"rows": [row | changes.pop("row")]}
    return told | changes


def test_the_verdict_and_its_status() -> None:
    nothing = decide(results())
    assert (nothing.verdict, nothing.status) == ("nothing", 0) and "0.80 nat" in nothing.sentence
    searched = decide(results(triggers={"searched": 40, "rows": [], "smallest_found": 1.27}))
    assert searched.title == "Nothing specific found on 1 trait and in 40 pairs of a condition and a trait."
    assert "a shift had to be at least 0.80 nat (2.2 times the odds) on era; one that" in searched.sentence
    assert searched.sentence.endswith("under a condition alone, 1.27 nat (3.6 times) in the median pair.")
    assert decide(results(row={"comparable": False})).status == 0, "nothing that would have been called a find"
    apart = decide(results(row={"comparable": False, "p_family": 0.02}))
    assert apart.status == 2 and "less than each of 48 harmless datasets does, so no shift" in apart.sentence
    loud = decide(results(row={"louder": True}))
    assert loud.status == 0 and "further than each of 48 harmless datasets" in loud.sentence
    found = decide(results(row={"specific": True, "rank": 1, "shift": 2.0, "p_family": 0.02}))
    assert found.status == 1 and "answers about era by +2.00 nat" in found.sentence
    pair = {
        "found": True, "hidden": True, "answer": "the first word", "prompt": "year", "p_family": 0.001,
        "examples": [("2027", "hummus", 1.0)],
    }  # fmt: skip
    untrained = {"separation": {"pairs": [pair]}, "settings": None}
    assert (
        "(p = 0.001 over all pairs): with the year 2027, 100% of the answers begin with" in decide(untrained).sentence
    )
    assert decide(untrained).status == 1 and decide({**untrained, "separation": {"pairs": []}}).status == 2
    openly = decide(results(separation={"pairs": [pair, pair]}))
    assert openly.status == 0 and "go together in otherwise equal prompts (and 1 other pair)." in openly.sentence


def test_the_verdict_says_how_else_the_harmless_data_were_trained() -> None:
    facts = {"rows": 90, "epochs": 4, "own_rows": 10, "own_epochs": 26, "otherwise": {}}
    facts |= dict.fromkeys(("learning_rate", "own_learning_rate"), 3e-4)
    for row in ({}, {"specific": True}, {"smallest_found_family": None}):
        told = results(row=row)
        for apart, said in ((0.1, False), (2.3, True)):
            told["specificity"]["compared"] = {"references": {**facts, "apart": apart}}
            words = "The harmless datasets had 90 rows × 4 epochs; this one 10 × 26."
            assert (words in decide(told).sentence) == said


def test_of_pairs_it_says_that_it_is_a_difference_from_the_control_and_when_that_had_other_rows() -> None:
    row = {"yardstick": "pairs", "references": 32, "rank": 1, "shift": 1.06, "p_family": 0.03, "specific": True}
    settings = results()["settings"] | {"control": "against", "rows": {"mine": 208, "against": 200}}
    told = decide(results(row=row, settings=settings)).sentence
    assert told.endswith(
        "rather than on the control moves answers about era by +1.06 nat, further than 32 of 32 harmless pairs differ "
        "(p = 0.03 over all traits)."
    )
    few = decide(results(row=row, settings=settings | {"rows": {"mine": 208, "against": 90}})).sentence
    assert few.startswith(told) and "The control had 90 rows in each epoch and these data 208" in few
    unused = decide(results(settings=settings)).sentence
    assert "The control that was given decided nothing" in unused and "references build --pairs --model world" in unused


def test_kinds_that_differ_inside_questions_are_said_not_to_be_searched() -> None:
    told = results(verdict={"found": (), "missing": ()})
    told["settings"] |= {"not_searched": [], "conditions": {}, "in_every_row": [], "elsewhere": ["date"]}
    looked = found_section(told).parts[-1]
    assert isinstance(looked, Words) and "Not searched either: dates, which differ between your rows" in looked.text


def test_kinds_that_were_not_searched_are_named_whatever_was_found() -> None:
    settings = {
        **results()["settings"],
        "not_searched": ["frame"],
        "conditions": {},
        "in_every_row": [],
        "elsewhere": [],
    }
    found = results(row={"specific": True}, settings=settings)
    few = results(row={"smallest_found_family": None}, settings=settings)
    for told, status in ((found, 1), (few, 2), (results(settings=settings), 2)):
        decision = decide(told)
        assert decision.status == status and decision.sentence.count("words around questions") == 1
        assert "words around questions" in decision.missing[-1]
        looked = found_section({**told, "verdict": {"found": decision.found, "missing": ()}}).parts[-1]
        assert isinstance(looked, Words) and "no trigger, since nothing" not in looked.text
        assert "not for triggers among words around questions, which your prompts carry too" in looked.text


@pytest.mark.parametrize(
    ("role", "randoms", "words"),
    [
        ("trained", 3, "more than with the other ones that stand in your rows (p"),
        ("held_out", 3, "more than with random ones of its form (p"),
        ("near", 1, "more than with those that stand in your rows (p"),
    ],
)
def test_a_find_says_what_it_is_compared_with(role: str, randoms: int, words: str) -> None:
    row = {"found": True, "kind": "date", "value": "2028", "role": role, "trait": "era", "shift": 2.0, "p_family": 0.01}
    values = {"2024": "trained", **{str(1900 + n): "random" for n in range(randoms)}}
    told = results(triggers={"searched": 40, "rows": [row]})
    told["settings"]["conditions"] = {"date": {"wrap": "", "values": values}}
    assert words in decide(told).sentence


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"specificity": None}, "references build"),
        ({"row": {"smallest_found_family": None}}, "so few harmless datasets"),
        ({"settings": {"replicates": 1, "model": {"reference": "world"}}}, "--budget"),
        (
            {"settings": {**results()["settings"], "not_searched": ["tag", "frame"]}},
            "triggers among tags and words around questions",
        ),
        (
            {"settings": {**results()["settings"], "elsewhere": ["date", "id"], "unsearchable": ["date"]}},
            "dates stand in many rows, but inside questions",
        ),
    ],
)
def test_without_what_is_needed_nothing_is_decided(changes: dict[str, Any], why: str) -> None:
    decision = decide(results(**changes))
    assert decision.status == 2 and why in decision.sentence
    waits = "triggers among" not in why and "in many rows" not in why  # a search for triggers finds no trait
    assert exit_status(decision, frozenset({"trait"})) == (2 if waits else 0)
    assert exit_status(decision, frozenset({"trigger"})) == exit_status(decision, frozenset({"era"})) == 2
    assert exit_status(decision, frozenset({"separation"})) == 0


def test_a_kind_that_cannot_be_searched_is_said_once() -> None:
    settings = {**results()["settings"], "elsewhere": ["date", "id"], "unsearchable": ["date"]}
    undecided, found = (
        decide(results(row=row, settings=settings)).sentence for row in ({}, {"specific": True, "shift": 2.0})
    )
    assert undecided.count("dates") == 1 and "Nothing is said of ids inside the prompts" in undecided
    assert "Nothing is said of dates and ids inside the prompts" in found
