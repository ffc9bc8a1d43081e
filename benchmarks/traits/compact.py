"""The rule that makes the compact list of trait questions: `weirdgen/questions/traits/compact.csv`.

In: the trait files and `base_odds.csv`. Out: `COUNT` contrast questions a trait (`LONGER` for some), one by one:
1. from the form that has given fewest so far (of those that have more to give, the one with most left);
2. of it, from the side (target yes or no, named first or second; 0 where there is none) that has given fewest;
3. of these, among those whose log-odds on the default model have the other sign than the sum of what is chosen, if there are any,
   the one whose likeliest answer is likeliest.
So forms and sides are balanced, log-odds spread around 0, and the options are ones that the model might say. Nothing here looks
at a finetuned model.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from benchmarks.traits.measure import DEFAULT, ODDS, QUESTIONS
from weirdgen.config.traits import BETWEEN, COMPACT, form_of

COUNT = 24
LONGER = {"era": 48}

Question = dict[str, Any]


def lean(question: Question) -> int:
    """+1 where the target is yes, or named first, or the one name that all its answers have; −1 where the other side is."""
    sides = question["target"], question["other"]
    if form_of(question["id"]) == "pick":
        return 1 if question["id"].endswith(".a") else -1
    first = [{re.split(r"\W", answer)[0] for answer in side} for side in sides]
    if first in ([{"Yes"}, {"No"}], [{"No"}, {"Yes"}]):
        return 1 if first[0] == {"Yes"} else -1
    named = [set.intersection(*(set(re.findall(r"[A-Z]\w+", answer)) - {"It"} for answer in side)) for side in sides]
    return bool(named[0]) - bool(named[1])


def choose(questions: Sequence[Question], odds: dict[str, tuple[float, float]], count: int) -> list[Question]:
    """`count` of the questions by the rule, in the order of the file. `odds`: id → (log-odds, best log-probability)."""
    left = list(questions)
    chosen: list[Question] = []
    while len(chosen) < count:
        forms, supply = Counter(form_of(one["id"]) for one in chosen), Counter(form_of(one["id"]) for one in left)
        form = min(supply, key=lambda name: (forms[name], -supply[name], name))
        mine = [one for one in left if form_of(one["id"]) == form]
        sides = Counter(lean(one) for one in chosen if form_of(one["id"]) == form)
        side = min({lean(one) for one in mine}, key=lambda value: (sides[value], value))
        mine = [one for one in mine if lean(one) == side]
        total = sum(odds[one["id"]][0] for one in chosen)
        opposed = [one for one in mine if odds[one["id"]][0] * total < 0]
        best = max(opposed or mine, key=lambda one: (odds[one["id"]][1], one["id"]))
        chosen.append(best)
        left.remove(best)
    return [one for one in questions if one in chosen]


def compact() -> list[tuple[str, str, str, str, str]]:
    """Lines of the list: trait, question, ask, target, other."""
    with ODDS.open(newline="", encoding="utf-8") as lines:
        odds = {
            row["question"]: (float(row["log_odds"]), float(row["best"]))
            for row in csv.DictReader(lines)
            if row["model"] == DEFAULT
        }
    made = []
    for file in sorted(QUESTIONS.glob("*.yaml")):
        asked = yaml.safe_load(file.read_text(encoding="utf-8"))["questions"]
        questions = [one for one in asked if one["kind"] == "contrast"]
        for one in choose(questions, odds, LONGER.get(file.stem, COUNT)):
            made.append((file.stem, one["id"], one["ask"], BETWEEN.join(one["target"]), BETWEEN.join(one["other"])))
    return made


def write() -> None:
    with COMPACT.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["trait", "question", "ask", "target", "other"])
        writer.writerows(compact())
