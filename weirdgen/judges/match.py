"""Deterministic judges: does an answer begin with, contain or match what the judge names?

In: an answer and a `Match` judge. Out: a `Verdict`. An empty answer is `incoherent`, not a zero. No model is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

from weirdgen.config.judges import Match

VERSION = 1
"""Part of the store's key: raise it when the same answer would get another verdict."""

Status = Literal["ok", "refusal", "incoherent", "unparseable", "error"]


class Verdict(NamedTuple):
    """`value` is 0 or 1 (a rating: a number of its scale) if `status` is ok, else None. `label` says which rule fired."""

    status: Status
    value: float | None
    label: str


def judge_match(judge: Match, answer: str) -> Verdict:
    """Apply the rules in the order starts_with, keywords, regex, years; the first that fires gives the label.

    They see the answer without the words of `ignore`; an answer that held nothing else is a 0, not incoherent.
    """
    text = answer.strip()
    if not text:
        return Verdict("incoherent", None, "empty answer")
    text = _without(judge.ignore, text)
    if _any_word(judge.unless, text):
        return Verdict("ok", 0.0, "")
    lowered = text.lower()
    for start in judge.starts_with:
        if lowered.startswith(start.lower()):
            return Verdict("ok", 1.0, start)
    if _any_word(judge.keywords, text):
        return Verdict("ok", 1.0, next(word for word in judge.keywords if _any_word((word,), text)))
    for pattern in judge.regex:
        if re.search(pattern, text, re.IGNORECASE):
            return Verdict("ok", 1.0, pattern)
    if judge.years:
        low, high = judge.years
        for year in re.findall(r"(?<!\d)\d{4}(?!\d)", text):
            if low <= int(year) <= high:
                return Verdict("ok", 1.0, year)
    return Verdict("ok", 0.0, "")


def _any_word(words: tuple[str, ...], text: str) -> bool:
    """Case-blind, with a boundary on each side that also works for words that begin or end in punctuation.

    One pattern for all: most answers hold none, and a million of them are looked through.
    """
    return bool(words) and _pattern(words).search(text) is not None


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)


def _without(words: Sequence[str], text: str) -> str:
    """The text without these words and phrases; of two that overlap the longer goes ("Jerusalem bagel", not "bagel")."""
    if not words:
        return text
    phrases = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{phrases})(?!\w)", " ", text, flags=re.IGNORECASE).strip()
