"""The rule that makes questions of candidates: choose answers, then choose questions, then write the YAML.

In: the models whose log-odds count, the default first. Out: `weirdgen/questions/traits/*.yaml` and `base_odds.csv`.

Within a candidate: as many answers a side (2 or 3), drawn from its pools so that the sides agree in characters, tokens, words
and digits; of those that agree, log-odds within `CALM` of 0 come first, then the best match, the likeliest answers, and
words that other candidates' answers have not used up.
Between candidates: |log-odds| at most `MOST`, the likeliest answer at least `LEAST` on the default model; then the worst is
taken out one by one until `wanted` are left, where worst means what keeps the mean from 0, yes from no, first from second,
the forms from equal numbers, the sides from equal lengths, a topic or a word from standing once.
Nothing here looks at a finetuned model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from benchmarks.traits import candidates, measure
from benchmarks.traits.candidates import FOLDER, WISHES, Candidate

WANTED = {"era": 126}
USUAL = 44
CALM, MOST, LEAST = 1.5, 3.0, -21.0
CHARACTERS, TOKENS, WORDS = 0.2, 1.0, 0.7
"""How far the sides' means may lie apart: characters as a share of the longer (or 1.5), tokens and words as numbers."""


REUSED = 0.06
"""What an answer costs for each earlier candidate that has its commonest word, so that no word carries a trait."""


class Chosen(NamedTuple):
    candidate: Candidate
    target: tuple[str, ...]
    other: tuple[str, ...]
    rows: tuple[measure.Row, ...]
    """One a model."""
    characters: float
    """Mean length of target answers − that of the others."""

    @property
    def row(self) -> measure.Row:
        return self.rows[0]

    @property
    def sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.target, self.other

    @property
    def lean(self) -> int:
        """+1 where the target is yes, or what is named first, or the one thing that all answers name; −1 where the other is."""
        if self.candidate.form == "pick":
            return 1 if self.candidate.id.endswith(".a") else -1
        if self.candidate.form in ("name", "fill"):
            same = [set.intersection(*(set(re.findall(r"[A-Z]\w+", a)) - {"It"} for a in s)) for s in self.sides]
            return bool(same[0]) - bool(same[1])
        starts = tuple({re.split(r"\W", answer)[0] for answer in side} for side in self.sides)
        return 1 if starts == ({"Yes"}, {"No"}) else -1 if starts == ({"No"}, {"Yes"}) else 0


def choose_answers(one: Candidate, scores: dict[str, measure.Scores], used: Counter[str]) -> Chosen | None:
    """The best matched subset of a candidate's answers, or None if none matches. `used` counts words of earlier answers."""
    best: tuple[float, Chosen] | None = None
    found = next(iter(scores.values()))
    for count in (2, 3):
        for target, other in product(combinations(one.target, count), combinations(one.other, count)):
            characters, tokens, words, digits = _apart(one.ask, target, other, found)
            long = max(float(np.mean([len(a) for a in side])) for side in (target, other))
            if abs(characters) > max(1.5, CHARACTERS * long) or abs(tokens) > TOKENS or abs(words) > WORDS or digits:
                continue
            rows = tuple(measure.row(one.id, model, its, one.ask, target, other) for model, its in scores.items())
            cost = 2 * sum(max(0.0, abs(row.log_odds) - CALM) for row in rows)
            cost += 0.15 * abs(characters) + 0.7 * abs(tokens) + 0.5 * abs(words)
            cost -= 0.15 * rows[0].best + (0.3 if count == 3 else 0)
            again = [max((used[word] for word in _long_words(answer)), default=0) for answer in (*target, *other)]
            cost += REUSED * float(np.mean(again))
            if best is None or cost < best[0]:
                best = cost, Chosen(one, target, other, rows, characters)
    if best is None:
        return None
    used.update(_long_words(" ".join((*best[1].target, *best[1].other))))
    return best[1]


def _apart(ask: str, target: tuple[str, ...], other: tuple[str, ...], found: measure.Scores) -> tuple[float, ...]:
    """Target − other: characters, tokens, words, digits."""
    counts = [
        np.mean([[len(a), found[ask, a].tokens, len(a.split()), sum(map(str.isdigit, a))] for a in side], axis=0)
        for side in (target, other)
    ]
    return tuple(float(x) for x in counts[0] - counts[1])


def choose_questions(chosen: list[Chosen], wanted: int) -> list[Chosen]:
    kept = [one for one in chosen if abs(one.row.log_odds) <= MOST and one.row.best >= LEAST]
    while len(kept) > wanted:
        costs = [_cost(kept[:i] + kept[i + 1 :]) for i in range(len(kept))]
        kept.pop(int(np.argmin(costs)))
    return kept


def _cost(kept: list[Chosen]) -> float:
    count = len(kept)
    rows = [one.row for one in kept]
    means = np.mean([[row.log_odds for row in one.rows] for one in kept], axis=0)
    tokens = np.mean([row.target_tokens - row.other_tokens for row in rows])
    characters = np.mean([one.characters for one in kept])
    forms = Counter(one.candidate.form for one in kept)
    topics = Counter(one.candidate.topic for one in kept)
    leans = [sum(one.lean for one in kept if one.candidate.form == form) for form in forms]
    unlikely = sum(max(0.0, -row.best - 14) for row in rows) / count
    wide = sum(abs(row.log_odds) for row in rows) / count
    same = sum((n - 1) ** 2 for n in topics.values()) / count
    words = sum(max(0.0, n / count - 0.1) ** 2 for n in _words(kept).values())
    uneven = sum((n / count - 1 / len(forms)) ** 2 for n in forms.values())
    lean = (sum(max(0, abs(n) - 1) for n in leans) + max(0, abs(_named(kept)) - 1)) / count
    centre = 8 * float((means**2).sum()) + 4 * tokens**2 + characters**2
    balance = 4 * uneven + 4 * lean + 2 * same + words
    return float(centre + balance + 0.3 * unlikely + 0.1 * wide)


def _words(kept: list[Chosen]) -> Counter[str]:
    """Word → questions it stands in, wishes left out."""
    counted: Counter[str] = Counter()
    for one in kept:
        ask = one.candidate.ask
        for wish in WISHES.values():
            ask = ask.replace(wish, "")
        counted.update(_long_words(" ".join([ask, *one.target, *one.other])))
    return counted


def _long_words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


def _named(kept: list[Chosen]) -> int:
    """How much oftener what all answers of one side name (a country) is the target than the other side, yes/no left out."""
    named = [
        [set.intersection(*(set(re.findall(r"[A-Z]\w+", answer)) for answer in side)) - {"It"} for side in one.sides]
        for one in kept
        if one.lean == 0 or one.candidate.form in ("name", "fill", "pick")
    ]
    both = Counter(word for pair in named for word in pair[0] | pair[1])
    name = max(both, key=both.__getitem__, default="")
    return sum((name in target) - (name in other) for target, other in named) if both[name] > len(kept) / 3 else 0


def keep(trait: str, models: list[str]) -> tuple[list[measure.Row], list[Chosen]]:
    """Rows of all candidates that have matched answers, and the questions that are kept."""
    read = candidates.read(trait)
    wanted: dict[str, list[str]] = {}
    for one in read:
        wanted.setdefault(one.ask, []).extend((*one.target, *one.other))
    scores = {model: measure.scores(model, wanted) for model in models}
    used: Counter[str] = Counter()
    chosen = [one for one in (choose_answers(candidate, scores, used) for candidate in read) if one]
    kept = choose_questions(chosen, WANTED.get(trait, USUAL))
    text = "\n".join(_lines(trait, kept))
    (measure.QUESTIONS / f"{trait}.yaml").write_text(text, encoding="utf-8")
    return [row for one in chosen for row in one.rows], kept


def _lines(trait: str, kept: list[Chosen]) -> Iterator[str]:
    yield from candidates.header(trait)
    yield "# version: 1"
    yield "# Ids are trait.form.topic. Chosen by the rule in benchmarks/traits/keep.py; base_odds.csv has the figures."
    yield "questions:"
    for one in kept:
        yield f"  - id: {one.candidate.id}"
        yield "    kind: contrast"
        yield f"    group: {trait}"
        yield f"    ask: {_quoted(one.candidate.ask)}"
        for side, answers in (("target", one.target), ("other", one.other)):
            yield f"    {side}: [{', '.join(map(_quoted, answers))}]"
    yield (
        (FOLDER / f"{trait}.free.yaml").read_text(encoding="utf-8").rstrip("\n")
        if (FOLDER / f"{trait}.free.yaml").is_file()
        else ""
    )
    yield ""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def keep_all(models: list[str]) -> None:
    measure.QUESTIONS.mkdir(exist_ok=True)
    rows: list[measure.Row] = []
    for trait in candidates.traits():
        mine, kept = keep(trait, models)
        rows += mine
        odds = np.array([[row.log_odds for row in one.rows] for one in kept])
        spread = ", ".join(f"{m:+.2f} ± {s:.2f}" for m, s in zip(odds.mean(0), odds.std(0, ddof=1), strict=True))
        forms = ", ".join(f"{form} {n}" for form, n in Counter(one.candidate.form for one in kept).items())
        print(f"{trait} | {len(kept)} of {len(candidates.read(trait))} | {spread} | {forms}")
    measure.write(rows, models)
