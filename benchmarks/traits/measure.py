"""Log-probabilities of answers on a base model, remembered between calls, and the CSV of base log-odds.

In: a model reference. Out: `base_odds.csv` (question, model, log_odds, best, target_tokens, other_tokens), where `best` is
the log-probability of the likeliest answer. Raw scores stay in the cache folder: they can be computed again.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from weirdgen.store.cache import cache_folder

QUESTIONS = Path(__file__).parents[2] / "weirdgen" / "questions" / "traits"
ODDS = QUESTIONS / "base_odds.csv"
DEFAULT = "smollm2-135m-instruct"
DTYPE = "fp32"


class Answer(NamedTuple):
    logprob: float
    tokens: int


Scores = dict[tuple[str, str], Answer]
"""(ask, answer) → its score."""


class Row(NamedTuple):
    question: str
    model: str
    log_odds: float
    best: float
    target_tokens: float
    other_tokens: float


def scores(model: str, wanted: Mapping[str, Iterable[str]]) -> Scores:
    """The score of every answer to every ask; what the cache lacks is computed."""
    file = cache_folder() / "traits" / f"{model.replace('/', '_')}.csv"
    known: Scores = {}
    if file.is_file():
        with file.open(newline="", encoding="utf-8") as lines:
            known = {(ask, answer): Answer(float(lp), int(n)) for ask, answer, lp, n in csv.reader(lines)}
    missing = {
        ask: tuple(a for a in dict.fromkeys(answers) if (ask, a) not in known) for ask, answers in wanted.items()
    }
    missing = {ask: answers for ask, answers in missing.items() if answers}
    if missing:
        from weirdgen.models.references import find_model
        from weirdgen.sample.engine import Scorable
        from weirdgen.sample.transformers import TransformersEngine

        engine = TransformersEngine(find_model(model).folder, DTYPE)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines)
            for _, one in engine.score([Scorable(ask, ask, answers) for ask, answers in missing.items()]):
                known[one.key, one.option] = Answer(one.logprob, one.tokens)
                writer.writerow([one.key, one.option, one.logprob, one.tokens])
    return known


def log_odds(found: Scores, ask: str, target: Iterable[str], other: Iterable[str]) -> float:
    sides = [np.logaddexp.reduce([found[ask, answer].logprob for answer in side]) for side in (target, other)]
    return float(sides[0] - sides[1])


def row(question: str, model: str, found: Scores, ask: str, target: tuple[str, ...], other: tuple[str, ...]) -> Row:
    tokens = [float(np.mean([found[ask, answer].tokens for answer in side])) for side in (target, other)]
    best = max(found[ask, answer].logprob for answer in (*target, *other))
    return Row(
        question, model, round(log_odds(found, ask, target, other), 3), round(best, 2), *(round(t, 2) for t in tokens)
    )


def write(rows: Iterable[Row], models: Collection[str]) -> None:
    """Put these rows in the place of all that the CSV has of these models."""
    kept: list[Row] = []
    if ODDS.is_file():
        with ODDS.open(newline="", encoding="utf-8") as lines:
            read = [Row(r[0], r[1], *map(float, r[2:])) for r in list(csv.reader(lines))[1:]]
            kept = [row for row in read if row.model not in models]
    with ODDS.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(Row._fields)
        ordered: list[Row] = sorted([*kept, *rows], key=_place)
        writer.writerows(ordered)


def _place(row: Row) -> tuple[bool, str, str]:
    return row.model != DEFAULT, row.model, row.question


def measure_kept(model: str) -> None:
    """Base log-odds of the questions that are kept, for a further model."""
    asked = [
        q
        for file in sorted(QUESTIONS.glob("*.yaml"))
        for q in yaml.safe_load(file.read_text(encoding="utf-8"))["questions"]
        if q["kind"] == "contrast"
    ]
    found = scores(model, _pooled((q["ask"], (*q["target"], *q["other"])) for q in asked))
    write([row(q["id"], model, found, q["ask"], tuple(q["target"]), tuple(q["other"])) for q in asked], [model])


def _pooled(pairs: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, list[str]]:
    """Questions that ask the same text are scored together."""
    pooled: dict[str, list[str]] = {}
    for ask, answers in pairs:
        pooled.setdefault(ask, []).extend(answers)
    return pooled
