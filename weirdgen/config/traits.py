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
