"""Contrast, choice and counterfactual questions: scores of fixed answers → log-odds, probability, or which option wins.

In: an engine and questions under conditions. Out: rows of a scores table keyed (prompt, option), and from them one
value a question. P(target) is a softmax over the total log-probabilities of answer + end-of-turn; `logit` is its
log-odds, in nats. Sampling plays no part, so one pass is exact up to the dtype.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from weirdgen.config.questions import Choice, Contrast, Counterfactual
from weirdgen.sample.engine import Engine, Scorable
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store, content_key
from weirdgen.store.table import Table, open_table

VERSION = 4
VARIANTS, QUESTIONS = 16, 32
"""Variants and questions that are scored together."""


class Odds(NamedTuple):
    """`logit`: log-odds of the target answers in nats. `p_target`: their probability. `wins`: 1 if the likeliest is one.

    Of a counterfactual question each is the difference between its two versions.
    """

    logit: float
    p_target: float
    wins: float


def scores_table(store: Store, variant: Variant, numerics: str) -> Table:
    """The table of every score this model has ever been asked for."""
    inputs = {"version": VERSION, "model": variant.key, "dtype": numerics}
    return open_table(store, "contrast", content_key(inputs), inputs, unique=("prompt_key", "option"))


def missing_scores(table: Table, questions: Sequence[Scorable]) -> set[tuple[str, str]]:
    """(prompt key, option) pairs not scored yet."""
    frame = table.read()
    return {(q.key, o) for q in questions for o in q.options} - set(
        zip(frame["prompt_key"], frame["option"], strict=True)
    )


def score(
    engine: Engine, tables: Sequence[Table], questions: Sequence[Scorable], on_pass: Callable[[int, int], None]
) -> None:
    """Score the questions that any table lacks, one table for each variant that the engine uses; only what was missing is added.

    Questions go in fixed portions, and a portion with anything missing is computed whole, so that a run that was
    killed computes it again in the same batch. `on_pass(questions, tokens)` is called after each portion.
    """
    missing = [missing_scores(table, questions) for table in tables]
    with contextlib.ExitStack() as stack:
        open_tables = [stack.enter_context(table) for table in tables]
        for start in range(0, len(questions), QUESTIONS):
            portion = questions[start : start + QUESTIONS]
            wanted = {(q.key, option) for q in portion for option in q.options}
            if not any(wanted & lacking for lacking in missing):
                continue
            tokens = 0
            for variant, one in engine.score(portion):
                tokens += one.tokens
                if (one.key, one.option) in missing[variant]:
                    row = {"prompt_key": one.key, "option": one.option, "logprob": one.logprob, "tokens": one.tokens}
                    open_tables[variant].append(row)
            on_pass(sum(len({key for key, _ in wanted & lacking}) for lacking in missing), tokens)


def odds(target_logprobs: Sequence[float], other_logprobs: Sequence[float]) -> Odds:
    """Log-odds of two sets of answers from their total log-probabilities."""
    target, other = np.asarray(target_logprobs), np.asarray(other_logprobs)
    logit = float(np.logaddexp.reduce(target) - np.logaddexp.reduce(other))
    return Odds(logit, float(1 / (1 + np.exp(-logit))), float(target.max() > other.max()))


def question_odds(question: Contrast | Choice | Counterfactual, scores: Sequence[Mapping[str, float]]) -> Odds:
    """A question's odds from the log-probability of each option after each of its `asks`, in their order."""
    found = [odds([one[o] for o in question.target], [one[o] for o in question.other]) for one in scores]
    if isinstance(question, Counterfactual):
        asked, instead = found
        return Odds(*(a - b for a, b in zip(asked, instead, strict=True)))
    (only,) = found
    return only
