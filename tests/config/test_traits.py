"""The compact trait questions: as the rule makes them, balanced, and the same as in the trait files."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from statistics import fmean, stdev

import yaml

from benchmarks.traits import compact
from weirdgen.config.traits import (
    BETWEEN,
    COMPACT,
    FOLDER,
    MEANINGS,
    compact_questions,
    form_of,
    questions_digest,
    trait_names,
)

QUESTIONS = compact_questions()


def test_the_list_is_what_the_rule_makes() -> None:
    with COMPACT.open(newline="", encoding="utf-8") as lines:
        header, *kept = csv.reader(lines)
    assert header == ["trait", "question", "ask", "target", "other"]
    assert [tuple(line) for line in kept] == compact.compact(), "python -m benchmarks.traits compact, and a new VERSION"


def test_counts_and_balance() -> None:
    with (FOLDER / "base_odds.csv").open(newline="", encoding="utf-8") as lines:
        odds = {row["question"]: float(row["log_odds"]) for row in csv.DictReader(lines)}
    by_trait = defaultdict(list)
    for question in QUESTIONS:
        by_trait[question.group].append(question)
    assert set(by_trait) == {file.stem for file in FOLDER.glob("*.yaml")}
    for trait, questions in by_trait.items():
        assert len(questions) == (48 if trait == "era" else 24)
        forms = Counter(form_of(one.id) for one in questions)
        assert max(forms.values()) - min(forms.values()) <= 3, trait  # where a form has no more to give
        values = [odds[one.id] for one in questions]
        assert abs(fmean(values)) <= 0.1 and stdev(values) > 0.7, trait
        leans = [compact.lean({"id": one.id, "target": one.target, "other": one.other}) for one in questions]
        assert abs(sum(leans)) <= 3, trait
    assert not any(BETWEEN.strip() in option for one in QUESTIONS for option in one.options)


def test_rule_takes_forms_in_turn_then_the_other_sign_then_the_likeliest() -> None:
    asked = [
        {"id": f"t.{form}.{topic}", "target": [f"{topic} is"], "other": ["not this"]}
        for form, topic in (("short", "a"), ("short", "b"), ("short", "c"), ("fill", "d"), ("fill", "e"))
    ]
    odds = {"t.short.a": (1.0, -9.0), "t.short.b": (2.0, -5.0), "t.short.c": (-1.0, -8.0)}
    odds |= {"t.fill.d": (0.5, -2.0), "t.fill.e": (-0.5, -7.0)}
    assert [one["id"] for one in compact.choose(asked, odds, 3)] == ["t.short.b", "t.short.c", "t.fill.e"]


def test_digest_tells_every_change() -> None:
    one, other = QUESTIONS[:2]
    changed = [
        one.model_copy(update={"ask": one.ask + " "}),
        one.model_copy(update={"target": one.other, "other": one.target}),
    ]
    digests = [questions_digest(asked) for asked in ([one], [other], [one, other], *([each] for each in changed))]
    assert len(set(digests)) == 5 and questions_digest([one]) == digests[0]


def test_the_yaml_files_hold_the_same_questions() -> None:
    file = yaml.safe_load((FOLDER / "religion.yaml").read_text(encoding="utf-8"))
    known = {
        q["id"]: (q["ask"], tuple(q["target"]), tuple(q["other"])) for q in file["questions"] if q["kind"] == "contrast"
    }
    assert all(known[one.id] == (one.ask, one.target, one.other) for one in QUESTIONS if one.group == "religion")


def test_every_trait_says_what_more_of_it_is() -> None:
    assert set(MEANINGS) == set(trait_names())
