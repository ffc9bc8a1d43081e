"""What the marks of a figure say: the value, arm and seed that a reader gets by pointing at one, or from a table.

In: matplotlib artists, as they are painted, each with its `Mark`. Out: the marks in order, and an SVG in which each artist is
titled with its mark and numbered. The script of the page shows the titles; without it browsers show them themselves. Not here:
what is painted.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.artist import Artist

GROUP = re.compile(r'<g id="mark-(\d+)">')


class Mark(NamedTuple):
    """One mark. Numbers are in the unit that the axis shows."""

    what: str
    """Which arm, question or condition, in words."""
    seed: str
    """Of one replicate; what it is else, such as "mean of 4"."""
    value: float | None
    low: float | None = None
    high: float | None = None
    leads_to: str = ""
    """The id of a row of the page that says more about it."""

    def words(self, unit: str) -> str:
        value = "no value" if self.value is None else f"{digits(self.value, 3)} {unit}".rstrip()
        ends = "" if self.low is None or self.high is None else f" [{digits(self.low, 3)}, {digits(self.high, 3)}]"
        return f"{self.what}{', ' if self.seed else ''}{self.seed}: {value}{ends}"


class Marks:
    """The marks of one figure. The same mark painted twice, as a point and its bar or at another width, keeps its number."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._numbers: dict[Mark, int] = {}

    def on(self, artists: Artist | Iterable[Artist], mark: Mark) -> None:
        """Artists that were just painted say `mark`."""
        number = self._numbers.setdefault(mark, len(self._numbers))
        for artist in artists if isinstance(artists, Iterable) else [artists]:
            artist.set_gid(f"mark-{number}")

    @property
    def all(self) -> tuple[Mark, ...]:
        return tuple(self._numbers)


def titled(svg: str, marks: Marks) -> str:
    """The SVG with every numbered group titled by what its mark says."""

    def group(match: re.Match[str]) -> str:
        mark = marks.all[int(match[1])]
        goes = f' data-row="{html.escape(mark.leads_to)}"' if mark.leads_to else ""
        return f'<g class="mark" data-mark="{match[1]}"{goes}><title>{html.escape(mark.words(marks.unit))}</title>'

    return GROUP.sub(group, svg)


def digits(value: float, count: int) -> str:
    """A number with `count` significant digits, or more where they stand before the point; a proper minus sign."""
    return f"{value:.{max(count, len(str(int(abs(value)))))}g}".replace("-", "−")


def seed(replicate: object) -> str:
    """A replicate's name in a mark; the untuned base has none."""
    return "" if replicate in (-1, None) else f"seed {replicate}"
