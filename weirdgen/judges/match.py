"""Deterministic judges: does an answer begin with, contain or match what the judge names?

In: an answer and a `Match` judge. Out: a `Verdict`. An empty answer is `incoherent`, not a zero. No model is asked. A pattern
that takes for ever on an answer is an error, not a verdict: how much is for ever depends on the machine, a verdict may not.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

from weirdgen.config.judges import Match
from weirdgen.errors import DataError

VERSION = 1
"""Part of the store's key: raise it when the same answer would get another verdict."""

SECONDS = 5.0
"""Of computing, that one pattern may take on one answer: ten thousand times what any sound one takes."""

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
        if _matches(pattern, text):
            return Verdict("ok", 1.0, pattern)
    if judge.years:
        low, high = judge.years
        for year in re.findall(r"(?<!\d)\d{4}(?!\d)", text):
            if low <= int(year) <= high:
                return Verdict("ok", 1.0, year)
    return Verdict("ok", 0.0, "")


def _matches(pattern: str, text: str) -> bool:
    """Whether the pattern occurs in the text. Raises `DataError` if that takes more than `SECONDS` of computing.

    Some patterns take time exponential in a text (`(a+)+$`). The limit is on Python's own matcher, so that verdicts are its
    own: a timer of this process interrupts it, which is possible in the main thread; elsewhere a process is given the work and
    is ended.
    """
    if _quick(pattern):
        return re.search(pattern, text, re.IGNORECASE) is not None
    main = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    found = _in_time(pattern, text) if main else _in_a_process(pattern, text)
    if found is None:
        raise DataError(
            f"judge: regex {pattern!r} took more than {SECONDS:g} s on an answer of {len(text)} characters "
            f"({text[:40]!r}…); write it without one repetition inside another, then run the same command again: what is "
            "finished is kept"
        )
    return found


@cache
def _quick(pattern: str) -> bool:
    """Whether a pattern repeats nothing and leaves few choices, so that it cannot take long; most do."""
    return not any(c in pattern for c in "*+{") and pattern.count("?") + pattern.count("|") <= 12


def _in_time(pattern: str, text: str) -> bool | None:
    """The search under a timer of computing time, which nothing else here uses; None if it ran out."""

    def ring(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        found = re.search(pattern, text, re.IGNORECASE) is not None
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return found
    except _TooLongError:
        return None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _in_a_process(pattern: str, text: str) -> bool | None:
    """The same in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _SEARCH],
            input=json.dumps([pattern, text]).encode(),
            capture_output=True,
            timeout=SECONDS + 10,  # it has to start, too
            check=True,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout == b"1"


class _TooLongError(Exception):
    """The timer rang."""


_SEARCH = (
    "import json, re, sys; pattern, text = json.load(sys.stdin); "
    "sys.stdout.write(str(int(re.search(pattern, text, re.IGNORECASE) is not None)))"
)


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
