"""The forest figure over several runs: one row per run, one panel per unit.

In: `Line`s. Out: a `Drawing`. Effects in different units are never put on one axis. Not here: which runs, statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weirdgen.config.measures import Scale
from weirdgen.report.figures.drawing import (
    NARROW,
    Drawing,
    draw,
    ground,
    limits,
    panel,
    row_axes,
    row_text,
    sheet,
    write_at,
)
from weirdgen.report.figures.marks import Mark, Marks
from weirdgen.report.look import effect_label, interval, light, number, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"shift": "t0", "no_shift": "c1", "inconclusive": "base"}


@dataclass(frozen=True)
class Line:
    """One run's headline. `effect`, `low`, `high`, `smallest` are in the measure's own unit (rates as fractions)."""

    name: str
    note: str
    scale: Scale
    verdict: str
    effect: float
    low: float | None
    high: float | None
    smallest: float | None


def overview_figure(lines: Sequence[Line]) -> Drawing:
    """Every line with its interval, in the order given; a filled mark is a shift."""
    scales = list(dict.fromkeys(line.scale for line in lines))
    marks = Marks(effect_label(scales[0]) if len(scales) == 1 else "in the unit of its panel")
    groups = [[line for line in lines if line.scale == scale] for scale in scales]

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left, right = (0.15, 0.15) if narrow else (2.7, 1.45)
        row_height = 0.56 if narrow else 0.42
        tops, below = [], 0.0
        for group in groups:
            tops.append(below + 0.42)
            below = tops[-1] + row_height * len(group) + 0.55
        board = sheet(width, below)
        for group, scale, top in zip(groups, scales, tops, strict=True):
            unit = scale.factor
            axes = panel(board, left, top, width - left - right, row_height * len(group))
            write_at(board, 0.01, top - 0.24, f"In {effect_label(scale)}", weight="bold", size=10, va="center")
            span = limits([v for line in group for v in (line.effect, line.low, line.high)] + [0.0])
            row_axes(axes, len(group), span, unit, narrow)
            axes.axvline(0, color=light("muted"), linewidth=0.9, zorder=1)
            axes.set_xlabel(f"treatment − control ({effect_label(scale)})")
            for index, line in enumerate(group):
                _row(axes, index, line, unit, narrow, marks)
        return board

    alt = "Effect of each run. " + "; ".join(
        f"{line.name} {number(line.effect, line.scale, effect=True)} "
        f"{interval(line.low, line.high, line.scale, effect=True)} ({line.verdict.replace('_', ' ')})"
        for line in lines
    )
    caption = "Each run's headline with its interval. Filled marks: a shift was found; hollow ones: none, or undecided."
    if any(line.smallest is not None for line in lines):
        caption += " The shaded strip of a row holds effects below the smallest that its experiment cares about."
    if len(groups) > 1:
        caption += " Effects in different units have scales of their own and cannot be compared with one another."
    return draw("overview", "Effects of all runs", alt, caption, paint, marks)


def _row(axes: Axes, index: int, line: Line, unit: float, narrow: bool, marks: Marks) -> None:
    low, high = (None if end is None else unit * end for end in (line.low, line.high))
    mark = Mark(line.name, line.note, unit * line.effect, low, high)
    colour = light(COLOURS[line.verdict])
    if line.smallest is not None:
        strip = (index - 0.3, index + 0.3)
        axes.fill_betweenx(
            strip, -unit * line.smallest, unit * line.smallest, color=light("band"), zorder=0, linewidth=0
        )
    if low is not None and high is not None:
        bar = axes.plot([low, high], [index, index], color=colour, linewidth=1.8, solid_capstyle="round", zorder=2)
        marks.on(bar, mark)
    style: dict[str, Any] = {"markeredgecolor": colour, "markeredgewidth": 1.5}
    style["markerfacecolor"] = colour if line.verdict == "shift" else light("paper")
    marks.on(
        axes.plot([unit * line.effect], [index], marker="o", markersize=7.5, linestyle="", zorder=3, **style), mark
    )
    value, ends_text = (
        number(line.effect, line.scale, effect=True),
        interval(line.low, line.high, line.scale, effect=True),
    )
    if narrow:
        row_text(axes, 0, index - 0.42, shorten(line.name, 30), size=8.5, weight="bold", bbox=ground())
        row_text(axes, 1, index - 0.42, value, ha="right", weight="bold", size=8.5)
        return
    row_text(axes, 0, index, shorten(line.name, 34), dx=-10, dy=5.5, ha="right", size=9, weight="bold")
    row_text(axes, 0, index, shorten(line.note, 44), dx=-10, dy=-6, ha="right", size=7.5, color=light("muted"))
    row_text(axes, 1.03, index - (0.16 if ends_text else 0), value, weight="bold", size=9)
    row_text(axes, 1.03, index + 0.2, ends_text, size=7.5, color=light("muted"))
