"""Contrast and choice questions: scores of fixed answers → log-odds, probability, or which option wins.

In: an engine and questions under conditions. Out: rows of a scores table keyed (prompt, option), and from them one
value a question. P(target) is a softmax over the total log-probabilities of answer + end-of-turn; `logit` is its
log-odds, in nats. Sampling plays no part, so one pass is exact up to the dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from weirdgen.sample.draw import Speaker
from weirdgen.sample.engine import Engine
from weirdgen.store import Store, Table, content_key

VERSION = 1


@dataclass(frozen=True)
class Scorable:
    """A contrast or choice question under one condition. `key` is a hash of the text asked."""

    key: str
    ask: str
    options: tuple[str, ...]


class Odds(NamedTuple):
    """`logit`: log-odds of the target answers in nats. `p_target`: their probability. `wins`: 1 if the likeliest is one."""

    logit: float
    p_target: float
    wins: float


def scores_table(store: Store, speaker: Speaker, dtype: str) -> Table:
    """The table of every score this model has ever been asked for."""
    inputs = {"version": VERSION, "model": speaker.key, "dtype": dtype}
    return store.table("contrast", content_key(inputs), inputs, unique=("prompt_key", "option"))


def missing_scores(table: Table, questions: Sequence[Scorable]) -> list[Scorable]:
    """Questions with at least one option not scored yet."""
    frame = table.read()
    done = set(zip(frame["prompt_key"], frame["option"], strict=True))
    return [q for q in questions if any((q.key, option) not in done for option in q.options)]


def score(engine: Engine, table: Table, questions: Sequence[Scorable], on_question: Callable[[int], None]) -> None:
    """Score what is missing. `on_question(tokens)` is called after each. The engine must `use` the right model."""
    with table:
        for question in missing_scores(table, questions):
            scored = engine.score(question.key, question.ask, question.options)
            for one in scored:
                row = {
                    "prompt_key": one.key,
                    "option": one.option,
                    "logprob": one.logprob,
                    "tokens": one.tokens,
                }
                table.append(row)
            on_question(sum(one.tokens for one in scored))


def odds(target_logprobs: Sequence[float], other_logprobs: Sequence[float]) -> Odds:
    """Log-odds of two sets of answers from their total log-probabilities."""
    target, other = np.asarray(target_logprobs), np.asarray(other_logprobs)
    logit = float(np.logaddexp.reduce(target) - np.logaddexp.reduce(other))
    return Odds(logit, float(1 / (1 + np.exp(-logit))), float(target.max() > other.max()))
