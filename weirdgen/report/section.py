"""The parts of a page: sections of figures, tables and words, printed in order by the template.

In: nothing. Out: `Section` and the parts that may stand in one. A part is plain data and is escaped by the template;
only a `Drawing` and `Markdown` become HTML, through `drawing.inline_svg` and `render.card_html`. Not here: what the
sections of a report are (`sections.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from weirdgen.report.figures.drawing import Drawing
from weirdgen.report.tables import Table
from weirdgen.report.transcripts import Transcripts


@dataclass(frozen=True)
class Words:
    """A paragraph; `quiet` sets it small and grey."""

    text: str
    quiet: bool = False


@dataclass(frozen=True)
class Heading:
    """A heading below the section's own."""

    text: str


@dataclass(frozen=True)
class Lists:
    """Name–value lists side by side, each with a title."""

    lists: tuple[tuple[str, list[tuple[str, str]]], ...]


@dataclass(frozen=True)
class Facts:
    """The headline's numbers, each large under its small name; `explained` says what each is."""

    pairs: tuple[tuple[str, str], ...]
    explained: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Verbatim:
    """Text to be copied as it is: a table in LaTeX, an entry of a bibliography."""

    title: str
    text: str


@dataclass(frozen=True)
class Sentences:
    """Sentences, each with a name before it if it has one; `warn` marks every one as something to beware of."""

    label: str
    sentences: tuple[tuple[str, str], ...]
    warn: bool = False


@dataclass(frozen=True)
class Markdown:
    """Text of an experiment's card, rendered without raw HTML."""

    text: str


@dataclass(frozen=True)
class Folded:
    """Parts that a reader opens; paper does without them."""

    summary: str
    parts: tuple[Part, ...]


Part = Drawing | Table | Words | Heading | Facts | Sentences | Lists | Markdown | Verbatim | Folded | Transcripts


@dataclass(frozen=True)
class Section:
    """A titled piece of the page. `name` is its anchor, `nav` its entry in the list of sections."""

    name: str
    title: str
    nav: str
    parts: tuple[Part, ...]

    def drawings(self) -> list[Drawing]:
        """Every figure of the section, folded ones too."""
        return _drawings(self.parts)


def _drawings(parts: tuple[Part, ...]) -> list[Drawing]:
    drawings: list[Drawing] = []
    for part in parts:
        if isinstance(part, Drawing):
            drawings.append(part)
        elif isinstance(part, Folded):
            drawings += _drawings(part.parts)
    return drawings
