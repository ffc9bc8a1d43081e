"""What the documents show, as a reader would copy it: fenced blocks of a page, by the name that stands before each.

In: a page of docs. Out: file name → text, or the blocks of one language.
"""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def write_files(page: str, folder: Path) -> None:
    """Write every block that follows a line with nothing but a file's name in backquotes into that file."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, content in re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
