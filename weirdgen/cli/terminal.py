"""What the commands print, stripped of control codes that could act on the terminal.

In: text that may come out of files, models and stores of other people. Out: lines on standard output or error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from weirdgen.display import printable


def say(text: str, to: TextIO | None = None) -> None:
    """Print a text, control characters replaced; characters that the terminal's encoding lacks are replaced too."""
    stream = to or sys.stdout
    shown = printable(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(shown.encode(encoding, "replace").decode(encoding), file=stream, flush=True)


def say_lines(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)
