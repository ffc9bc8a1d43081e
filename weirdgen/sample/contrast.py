"""Scored questions: the log-probability of every fixed answer, where the store lacks it.

In: an engine and questions under conditions. Out: rows of a scores table keyed (prompt, option): the total log-probability
of answer + end-of-turn, in nats. Sampling plays no part, so one pass is exact up to the dtype. What a question makes of its
scores (log-odds, probability, which option wins) is decided by its kind (`weirdgen.config.questions`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from weirdgen.config.questions import scored_kinds
from weirdgen.sample.engine import Engine, Scorable
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key
from weirdgen.store.table import Table, open_table

if TYPE_CHECKING:
    import pandas as pd

VERSION = 4
VARIANTS, QUESTIONS = 16, 32
"""Variants and questions that are scored together."""


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


def count_missing(missing: Collection[tuple[str, str]], questions: Sequence[Scorable]) -> int:
    """How many of the questions lack a score. Two that ask the same with other answers are two."""
    return sum(any((q.key, o) in missing for o in q.options) for q in questions)


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
            for variant, scored in engine.score(portion):
                tokens += scored.tokens
                if (scored.key, scored.option) in missing[variant]:
                    row = {
                        "prompt_key": scored.key,
                        "option": scored.option,
                        "logprob": scored.logprob,
                        "tokens": scored.tokens,
                    }
                    open_tables[variant].append(row)
            on_pass(sum(count_missing(lacking, portion) for lacking in missing), tokens)


def measured(contrasts: pd.DataFrame) -> pd.Series:
    """Of each row with a `kind` and its `Odds`, the one of the odds that is the measure of that kind."""
    values = contrasts["logit"].copy()
    for kind, noun in scored_kinds().items():
        values = values.mask(contrasts["kind"] == kind, contrasts[noun.value])
    return values
