"""What the commands print, stripped of control codes that could act on the terminal.

In: text that may come out of files, models and stores of other people. Out: lines on standard output or error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from weirdgen.display import printable
from weirdgen.errors import did_you_mean


def say(text: str, to: TextIO | None = None) -> None:
    """Print a text, control characters replaced; characters that the terminal's encoding lacks are replaced too."""
    stream = to or sys.stdout
    shown = printable(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(shown.encode(encoding, "replace").decode(encoding), file=stream, flush=True)


def say_lines(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def usage_problem(error: Any) -> str:
    """What typer says of wrong words on the command line, with the choice that a misspelt one is close to."""
    message = str(error.format_message())
    wrong = re.search(r"'([^']*)' is not one of (.+)$", message)
    if wrong is None:
        return message
    return message.rstrip(".") + did_you_mean(wrong[1], re.findall(r"'([^']+)'", wrong[2]))
