"""From a judging model's reply to a verdict: strict, and never a guess.

In: a judge that asks a model, and a `Reply`. Out: a `Judged`. Only the last line that is not empty is read, and it must hold
the verdict alone. Anything else is `unparseable`; a failed call is `error`; neither becomes a number. Which words and numbers a
judge admits is decided by its kind (`weirdgen.config.judges`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from weirdgen.config.judges import PromptedJudge, Verdict
from weirdgen.judges.model import Reply, Token

VERSION = 2
"""Part of the store's key: raise it when the same reply would give another verdict, also where a kind reads it differently."""
LEAST_CHOICE = 0.05
"""A model that only chooses among the options must put this much probability on replying with one of them at all."""
WRAPPING = " \t\"'`*_.“”‘’"


class Judged(NamedTuple):
    """A verdict and what it rests on. `mass`: probability that the model put on admissible replies; NaN if not given."""

    verdict: Verdict
    mass: float = math.nan


def read_reply(judge: PromptedJudge, reply: Reply) -> Judged:
    """The verdict of one reply."""
    if reply.error is not None:
        return Judged(Verdict("error", None, reply.error[:300]))
    if reply.options is not None:
        return _chosen(judge, reply.options)
    if reply.cut:
        return Judged(Verdict("unparseable", None, "cut at the token limit"))
    line = last_line(reply.text)
    verdict = judge.read(line)
    if judge.weighted and verdict.status == "ok":
        token = _token_of_last_line(reply.tokens, line)
        weighed = judge.weigh(line, token.alternatives) if token else None
        if weighed is not None:
            return Judged(*weighed)
    return Judged(verdict)


def last_line(text: str) -> str:
    """The last line that is not empty, without the quotes, stars and full stops that models wrap around a word."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].strip(WRAPPING) if lines else ""


def _token_of_last_line(tokens: tuple[Token, ...], line: str) -> Token | None:
    """The one token that is the whole last line, or None if it has several."""
    for token in reversed(tokens):
        text = token.text.strip(WRAPPING + "\n\r")
        if text:
            return token if text == line else None
    return None


def _chosen(judge: PromptedJudge, options: Mapping[str, float]) -> Judged:
    """Of a model that chose among options: the judge's choice, if a reply with any of them is likely at all."""
    total = float(sum(math.exp(logprob) for logprob in options.values()))
    if total < LEAST_CHOICE:
        return Judged(Verdict("unparseable", None, f"any admissible reply has probability {total:.1g}"), total)
    return Judged(judge.choose(options), total)
