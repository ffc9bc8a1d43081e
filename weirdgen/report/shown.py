"""What a report shows as text, piece by piece, each with its place.

In: the HTML of a page. Out: (place, text) pairs: headings, cells with their row's and table's name, labels of figures,
and the answers in the data script. It reads pages that `page.py` wrote; it is not a general reader of HTML.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import NamedTuple

NUMBER = re.compile(r"[−+-]?\d+(?:[.,]\d+)*(?:e[−+-]?\d+)?")
ANSWER = "transcripts · answer "
VOID = frozenset({"meta", "link", "input", "br", "hr", "img", "use", "path", "rect", "line", "circle", "image"})


class Shown(NamedTuple):
    """One piece of text and where it stands, in words: section, table or figure, row, column."""

    place: str
    text: str


def shown_texts(page: str) -> list[Shown]:
    """Every visible piece of text of the page, in its order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.texts


def numbers_in(texts: list[Shown]) -> int:
    """How many numbers the texts hold."""
    return sum(len(NUMBER.findall(text)) for _, text in texts)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[Shown] = []
        self._open: list[str] = []
        self._section = "head of the page"
        self._frame = ""
        self._row = ""
        self._heads: list[str] = []
        self._column = -1
        self._script: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._section, self._frame, self._row = names.get("id") or self._section, "", ""
        elif tag == "figure":
            self._frame = (names.get("id") or "").replace("-", " ")
        elif tag == "table":
            self._frame, self._heads, self._row = "table", [], ""
        elif tag == "tr":
            self._row, self._column = "", -1
        elif tag in ("th", "td"):
            self._column += 1
        elif tag == "script":
            self._script = names.get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None
        if tag in ("figure", "table"):
            self._frame = self._row = ""
        while self._open and tag not in VOID:
            if self._open.pop() == tag:
                break

    def handle_data(self, data: str) -> None:
        if self._script == "data":
            self.texts += _answers(data)
        text = " ".join(data.split())
        if not text or self._script is not None or "style" in self._open:
            return
        if "thead" in self._open:
            self._heads.append(text)
        elif "caption" in self._open and self._frame == "table":  # what follows is a note
            self._frame = f"table “{text}”"
        elif "tbody" in self._open and self._column == 0 and "small" not in self._open:
            self._row = text
        column = self._heads[self._column] if "tbody" in self._open and 0 < self._column < len(self._heads) else ""
        place = " · ".join(part for part in (self._section, self._frame, self._row if column else "", column) if part)
        self.texts.append(Shown(place, text))


def _answers(data: str) -> list[Shown]:
    """One piece a transcript, and one for the lists that the rows point into."""
    try:
        held = json.loads(data)
        rows = held.pop("rows")
    except (json.JSONDecodeError, KeyError, AttributeError):
        return [Shown("transcripts", data)]
    lists = Shown("transcripts · lists", json.dumps(held, sort_keys=True))
    return [lists, *(Shown(f"{ANSWER}{index}", json.dumps(row)) for index, row in enumerate(rows))]
