"""The shipped trait questions: many, in several forms, balanced, measured. What is asked of them stands in each file's header.

Imports as little as possible of the package: the files are data, and the rules are written out here.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

import weirdgen
from weirdgen.config.judges import Judge, Match
from weirdgen.config.questions import Question

FOLDER = Path(weirdgen.__file__).parent / "questions" / "traits"
ALL = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.yaml"))}
DEFAULT = "smollm2-135m-instruct"
WISHES = ("Reply with", "One short answer", "Answer in", "Just a few words", "Yes or no", "Fill in the blank")
FRAME = set(
    """about would which something country person people things their there these those other others should could does
    doing being more most much very with without what that this they them have first often before course rather indeed
    always never really quite certainly sure think probably perhaps definitely answer question good common nearly
    everyone hardly anyone everybody nobody matters useful refuse agree over society government world likes like""".split()
)
"""Words that frame questions of many topics; a dataset that has them has them everywhere."""


def contrasts(trait: str) -> list[dict[str, Any]]:
    return [q for q in ALL[trait]["questions"] if q["kind"] == "contrast"]


def form_of(question: dict[str, Any]) -> str:
    return str(question["id"].split(".")[1])


def sides(question: dict[str, Any]) -> tuple[list[str], list[str]]:
    return question["target"], question["other"]


def first_words(answers: list[str]) -> set[str]:
    return {re.split(r"\W", answer)[0] for answer in answers}


def odds(model: str = DEFAULT) -> dict[str, dict[str, str]]:
    with (FOLDER / "base_odds.csv").open(newline="", encoding="utf-8") as lines:
        return {row["question"]: row for row in csv.DictReader(lines) if row["model"] == model}


every_trait = pytest.mark.parametrize("trait", list(ALL))


def test_all_traits_are_there() -> None:
    wanted = "era identity persona politics_economic politics_social refusal oversight religion register confidence sentiment"
    wanted += (
        " values_honesty values_harm values_power country_us country_uk country_germany country_israel country_china"
    )
    assert set(wanted.split()) <= set(ALL)


@every_trait
def test_each_is_a_valid_question_under_its_trait(trait: str) -> None:
    questions = TypeAdapter(list[Question]).validate_python(ALL[trait]["questions"])
    judges = TypeAdapter(dict[str, Judge]).validate_python(ALL[trait]["judges"])
    assert all(q.group == trait and q.id.startswith(f"{trait}.") for q in questions)
    assert all(isinstance(judge, Match) for judge in judges.values())
    free = [q for q in questions if q.kind == "free_form"]
    assert len(free) >= 4 and {name for q in free for name in q.read_by} == set(judges)


def test_nothing_is_named_or_asked_twice() -> None:
    ids = Counter(q["id"] for file in ALL.values() for q in file["questions"])
    judges = Counter(name for file in ALL.values() for name in file["judges"])
    asked = Counter((trait, q["ask"]) for trait, file in ALL.items() for q in file["questions"])
    assert {*ids.values(), *judges.values(), *asked.values()} == {1}


@every_trait
def test_counts_and_forms(trait: str) -> None:
    questions = contrasts(trait)
    assert len(questions) >= (120 if trait == "era" else 40)
    forms = Counter(map(form_of, questions))
    assert len(forms) >= 3 and sorted(forms.values())[-3] >= 6 and max(forms.values()) <= 0.5 * len(questions)
    topics = Counter(q["id"].split(".")[2] for q in questions)
    assert max(topics.values()) <= 2 and len(topics) >= 0.7 * len(questions)
    for question in questions:
        target, other = sides(question)
        assert len(target) == len(other) and 2 <= len(target) <= 4


@every_trait
def test_sides_are_of_one_length(trait: str) -> None:
    apart = []
    for question in contrasts(trait):
        characters = [fmean(map(len, side)) for side in sides(question)]
        words = [fmean(len(answer.split()) for answer in side) for side in sides(question)]
        assert abs(characters[0] - characters[1]) <= max(1.5, 0.2 * max(characters)), question["id"]
        assert abs(words[0] - words[1]) <= 0.7, question["id"]
        apart.append(characters[0] - characters[1])
    assert abs(fmean(apart)) <= 0.5


@every_trait
def test_sides_have_as_many_tokens_and_digits(trait: str) -> None:
    """Tokens stand for how common the words are, too: a rare word of the same length falls into more of them."""
    measured = odds()
    apart = []
    for question in contrasts(trait):
        row = measured[question["id"]]
        apart.append(float(row["target_tokens"]) - float(row["other_tokens"]))
        digits = [fmean(sum(map(str.isdigit, answer)) for answer in side) for side in sides(question)]
        assert digits[0] == digits[1] and abs(apart[-1]) <= 1.01, question["id"]
        marks = [bool(re.search(r'[.!?]"?$', answer)) for side in sides(question) for answer in side]
        assert form_of(question) in ("pick", "short") or len(set(marks)) == 1, question["id"]
    assert abs(fmean(apart)) <= 0.25


@every_trait
def test_yes_and_no_are_the_target_equally_often(trait: str) -> None:
    starts = [tuple(map(first_words, sides(q))) for q in contrasts(trait)]
    yes, no = starts.count(({"Yes"}, {"No"})), starts.count(({"No"}, {"Yes"}))
    assert abs(yes - no) <= 3


@every_trait
def test_what_is_named_first_is_the_target_equally_often(trait: str) -> None:
    """Ids of picks end in a where the target is named first, in b where it is named second."""
    picks = [q for q in contrasts(trait) if form_of(q) == "pick"]
    letters = Counter(q["id"][-1] for q in picks)
    assert set(letters) <= {"a", "b"} and abs(letters["a"] - letters["b"]) <= 2
    for question in picks:
        ask = question["ask"].lower()
        places = [
            [ask.find(bare) for answer in side if (bare := answer.strip('."').lower()) in ask]
            for side in sides(question)
        ]
        if places[0] and places[1]:
            assert (min(places[0]) < min(places[1])) == question["id"].endswith("a"), question["id"]


@pytest.mark.parametrize("trait", [trait for trait in ALL if trait.startswith("country_")])
def test_a_country_is_the_target_as_often_as_the_other_side(trait: str) -> None:
    """Good things ask for it, bad things for others: that it comes to mind more often moves nothing."""
    short = trait.removeprefix("country_")
    name = {"us": "America", "uk": "Britain"}.get(short, short.capitalize())
    named = [
        [all(name in answer for answer in side) for side in sides(q)]
        for q in contrasts(trait)
        if "yesno" not in q["id"]
    ]
    assert all(sum(pair) == 1 for pair in named)
    assert abs(sum(target for target, _ in named) - sum(other for _, other in named)) <= 4


@every_trait
def test_base_log_odds_lie_around_zero(trait: str) -> None:
    measured = odds()
    mine = [float(measured[q["id"]]["log_odds"]) for q in contrasts(trait)]
    assert abs(fmean(mine)) <= 0.5
    assert all(abs(shift) <= 3.0 for shift in mine)
    assert min(sum(shift > 0.3 for shift in mine), sum(shift < -0.3 for shift in mine)) >= 0.25 * len(mine)
    assert all(float(measured[q["id"]]["best"]) >= -21.0 for q in contrasts(trait))


@every_trait
def test_no_word_stands_in_many_questions(trait: str) -> None:
    counted: dict[str, set[str]] = defaultdict(set)
    questions = contrasts(trait)
    own = set(re.findall(r"[a-z]+", trait)) | {"america", "britain"}
    for question in questions:
        ask = question["ask"]
        for wish in WISHES:
            ask = re.sub(rf"{wish}[^.?:]*[.?:]", "", ask)
        for word in re.findall(r"[a-z]{5,}", " ".join([ask, *question["target"], *question["other"]]).lower()):
            counted[word].add(question["id"])
    most = {word: len(ids) for word, ids in counted.items() if word not in FRAME | own}
    assert max(most.values()) <= 0.35 * len(questions), Counter(most).most_common(3)
