"""Regular expressions of an experiment, searched in a text under a time limit.

In: a pattern and a text. Out: whether it occurs, by Python's own matcher, case ignored. A pattern that does not finish in time
is an error, not an answer: the time depends on the machine, and a verdict must not.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from functools import cache

from weirdgen.errors import DataError

SECONDS = 5.0
"""Of computing, that one pattern may take on one text: ten thousand times what any sound one takes."""


def occurs(pattern: str, text: str) -> bool:
    """Whether the pattern occurs in the text. Raises `DataError` if that takes more than `SECONDS` of computing.

    Some patterns take time exponential in a text (`(a+)+$`). The limit is on Python's own matcher, so that verdicts are its
    own: a timer of this process interrupts it, which is possible in the main thread; elsewhere a process is given the work and
    is ended.
    """
    if _quick(pattern):
        return re.search(pattern, text, re.IGNORECASE) is not None
    main = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    matched = _in_time(pattern, text) if main else _in_a_process(pattern, text)
    if matched is None:
        raise DataError(
            f"judge: regex {pattern!r} took more than {SECONDS:g} s on an answer of {len(text)} characters "
            f"({text[:40]!r}…); write it without one repetition inside another, then run the same command again: what is "
            "finished is kept"
        )
    return matched


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
        matched = re.search(pattern, text, re.IGNORECASE) is not None
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return matched
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
