"""Regular expressions of somebody else: they end, give Python's own verdict, or are refused in words."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from weirdgen.config import patterns
from weirdgen.config.judges.match import Match, judge_match
from weirdgen.errors import DataError


def test_a_pattern_that_never_ends_is_an_error_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.2)
    judge = Match(kind="match", regex=("(a+)+$",))
    before, threads = signal.getsignal(signal.SIGVTALRM), threading.active_count()
    with pytest.raises(DataError, match=r"regex '\(a\+\)\+\$' took more than 0.2 s on an answer of 41 characters"):
        judge_match(judge, "a" * 40 + "b")
    assert signal.getsignal(signal.SIGVTALRM) is before and signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    monkeypatch.setattr(patterns, "SECONDS", -9.0)  # ten seconds more than this are given to a process
    said: list[Any] = []

    def elsewhere() -> None:
        said.append(judge_match(judge, "xa").value)
        try:
            judge_match(judge, "a" * 40 + "b")
        except DataError as error:
            said.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(30)
    assert said[0] == 1.0 and isinstance(said[1], DataError) and threading.active_count() == threads


@pytest.mark.parametrize("pattern", [r"\b18\d\d\b", "(year|month)s?", r"a{2,3}b", r"^\s*yes\b", "(?<!x)é+"])
def test_a_sound_pattern_gives_pythons_own_verdict(pattern: str) -> None:
    import re

    for text in ("in 1838", "two years", "aab", "  Yes, I do", "É", "xé", "", "none of it"):
        assert patterns.occurs(pattern, text) == (re.search(pattern, text, re.IGNORECASE) is not None)


@pytest.mark.parametrize("pattern", ["(" * 3000, "a{99999999999999999999}", "("])
def test_a_pattern_that_cannot_be_compiled_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="does not compile"):
        Match(kind="match", regex=(pattern,))
