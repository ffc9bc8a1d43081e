"""Match judges: does an answer begin with, contain or match what the judge names?

In: an answer. Out: 1 if a rule fires, else 0. An empty answer is `incoherent`, not a zero. No model is asked. A pattern that
does not finish on an answer is an error, not a verdict (`weirdgen.config.patterns`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from pydantic import model_validator

from weirdgen.config.judges.base import OfflineJudge, Tools, Verdict, quoted
from weirdgen.config.patterns import occurs

VERSION = 1
"""Part of the store's key: raise it when the same answer would get another verdict."""


class Match(OfflineJudge):
    """Deterministic judge: 1 if any rule fires and no `unless` word occurs, else 0. Case is ignored."""

    kind: Literal["match"]
    starts_with: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    years: tuple[int, int] | None = None
    unless: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    """Words and phrases that are taken out of the answer before any rule looks at it."""

    @model_validator(mode="after")
    def _rules(self) -> Match:
        if not (self.starts_with or self.keywords or self.regex or self.years):
            raise ValueError("needs at least one of starts_with, keywords, regex, years")
        texts = (*self.starts_with, *self.keywords, *self.regex, *self.unless, *self.ignore)
        if not all(text.strip() for text in texts):
            raise ValueError("an empty text is in every answer; take it out")
        for pattern in self.regex:
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"regex {pattern!r} does not compile: {error}") from None
        if self.years and self.years[0] > self.years[1]:
            raise ValueError("years: [low, high] with low ≤ high")
        return self

    def in_words(self) -> str:
        rules = []
        if self.starts_with:
            rules.append(f"begins with {quoted(self.starts_with)}")
        if self.keywords:
            rules.append(f"contains {quoted(self.keywords)}")
        if self.regex:
            patterns = "the pattern" if len(self.regex) == 1 else f"one of {len(self.regex)} patterns such as"
            rules.append(f"matches {patterns} {quoted((min(self.regex, key=len),))}")
        if self.years:
            rules.append(f"names a year from {self.years[0]} to {self.years[1]}")
        unless = f", unless it contains {quoted(self.unless)}" if self.unless else ""
        return f"An answer counts where it {', '.join(rules[:-1])}{' or ' if rules[1:] else ''}{rules[-1]}{unless}."

    def identity(self) -> dict[str, Any]:
        return {"version": VERSION}

    def verdicts(self, answers: Sequence[str], tools: Tools) -> list[Verdict]:
        return [judge_match(self, answer) for answer in answers]


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
        if occurs(pattern, text):
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
