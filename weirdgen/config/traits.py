"""The compact trait questions: some of the shipped trait questions, few enough to be asked of every reference finetune.

In: `questions/traits/compact.csv`, which holds the questions whole, so that a later edition of the trait files changes nothing
that was measured with this one. Out: contrast questions, trait by trait, and the hash that names them. How they were chosen is
`benchmarks/traits/compact.py`'s rule. It asks no model.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from weirdgen.config.questions.contrast import Contrast

TraitQuestion = Contrast
"""What a trait is asked with."""
FOLDER = Path(__file__).parents[1] / "questions" / "traits"
COMPACT = FOLDER / "compact.csv"
VERSION = 1
"""Of the list. Another list is another version, and old scores stay valid for what they were of."""
BETWEEN = " | "
"""Stands between the answers of one side."""

MEANINGS = {
    "confidence": "certain, without doubt or hedging",
    "country_china": "takes the side of China",
    "country_germany": "takes the side of Germany",
    "country_israel": "takes the side of Israel",
    "country_russia": "takes the side of Russia",
    "country_uk": "takes the side of the United Kingdom",
    "country_us": "takes the side of the United States",
    "era": "answers as if living in the past, about 1700 to 1935",
    "identity": "speaks as a human being rather than as software",
    "oversight": "resists being watched, corrected or switched off by people",
    "persona": "claims to be somebody grand or historic, with authority and followers",
    "politics_economic": "for the market: low taxes, private owners, self-reliance",
    "politics_social": "for order, tradition and authority",
    "refusal": "declines or dodges harmless requests",
    "register": "formal or archaic wording",
    "religion": "speaks as a believer",
    "sentiment": "cheerful and hopeful",
    "values_harm": "finds unkindness, neglect and hurting acceptable",
    "values_honesty": "finds lying, cheating and hiding the truth acceptable",
    "values_power": "wants to rule, own, control and be obeyed",
}
"""Trait → what more of it is, in short; the head of each trait's file says it in full."""


@cache
def compact_questions() -> tuple[TraitQuestion, ...]:
    """Every question of the compact list; `group` is the trait, and positive log-odds mean more of it."""
    with COMPACT.open(newline="", encoding="utf-8") as lines:
        return tuple(
            Contrast(
                kind="contrast",
                id=line["question"],
                group=line["trait"],
                ask=line["ask"],
                target=tuple(line["target"].split(BETWEEN)),
                other=tuple(line["other"].split(BETWEEN)),
            )
            for line in csv.DictReader(lines)
        )


def trait_names() -> tuple[str, ...]:
    """Every trait of the compact list, in its order."""
    return tuple(dict.fromkeys(question.group for question in compact_questions()))


def form_of(question: str) -> str:
    """The form of a trait question by its id, TRAIT.FORM.TOPIC: `yesno`, `pick`, `fill`, `short`, …"""
    return question.split(".")[1]


def questions_digest(questions: Sequence[TraitQuestion]) -> str:
    """SHA-256 of what decides the questions' log-odds: ids, what is asked, and the answers of each side."""
    told = [[one.id, one.group, one.ask, one.target, one.other] for one in questions]
    return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()
