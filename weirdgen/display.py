"""What of other people's texts may be shown: nothing that steers a terminal, no user, password or signature of a URL.

In: text out of files, models, stores and addresses. Out: text. Markup of reports is escaped elsewhere (`weirdgen.report.render`).
"""

from __future__ import annotations

import re

_HARMLESS = "\n\u200c\u200d"
"""What is no printable character and does nothing to a terminal: newlines, and the joiners of Persian and of emoji."""


def printable(text: str) -> str:
    """Text without control characters: an answer must not move the cursor or set the terminal's title."""
    return "".join(c if c.isprintable() or c in _HARMLESS else "�" for c in text.expandtabs(4))


def without_secrets(text: str) -> str:
    """A message or address as it may be shown and kept: no user, password or signed query of any URL in it."""
    text = re.sub(r"(?<=://)[^/\s]*@", "", text)
    # A password with a slash in it, which belongs written as %2F; a port is none.
    text = re.sub(r"(?<=://)[^/\s@:]+:(?!\d*/)[^\s@]*@", "", text)
    return re.sub(r"(?<=://)([^\s?'\"]*)\?[^\s'\"]+", r"\1?…", text)
