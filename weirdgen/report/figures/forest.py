"""The forest plot: the headline's effect on each question with the answers that are compared, group by group, sorted.

In: `ReportContent`. Out: a `Drawing`, or None where there is nothing to draw. Not here: the effect over all
questions (`effect.py`), the questions as tables (`questions.py`), sizes and colours (`drawing.py`, `look.py`), statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from weirdgen.report.content import Asked, ReportContent
from weirdgen.report.figures.drawing import (
    NARROW,
    Drawing,
    axis_ends,
    draw,
    ground,
    limits,
    panel,
    row_axes,
    row_text,
    sheet,
)
from weirdgen.report.figures.marks import Mark, Marks
from weirdgen.report.look import effect_label, interval, light, number, probability, shorten, slot_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOREST_ROWS = 60
"""Questions drawn; beyond these only the largest effects are drawn, and the caption says so."""
ALPHA = 0.05
LABEL = 48
"""Characters of a line beside the panel; a question has two."""
LONG = 12
"""Lines from which on the axis stands above them too."""
LEAST = 3
"""Questions in a group, on average, from which on rows stand in groups."""
ROW_ID = "q-"
"""Before a question's name, the id of its row in the tables of the page."""


def forest_figure(content: ReportContent) -> Drawing | None:
    """The effect on every question against the headline's control, sorted; filled where Holm rejects."""
    headline = content.headline
    measure = str(headline["measure"])
    scale = content.scale(measure)
    unit = scale.factor
    same = {key: headline[key] for key in ("treatment", "control")}
    rows = [
        row
        for row in content.headline_rows("effects", **same)
        if row["question"] != "all" and row["effect"] is not None
    ]
    if not rows:
        return None
    total = len(rows)
    rows = sorted(rows, key=lambda row: -abs(row["effect"]))[:FOREST_ROWS]
    rows.sort(key=lambda row: -row["effect"])
    asked = content.asked
    if in_groups(content, rows):
        named = [one.group for one in asked.values()]
        rows.sort(key=lambda row: named.index(group_of(content, row)))
    lines = _with_headings(content, rows)
    arm = next(a for a in content.arms() if a.name == headline["treatment"])
    colour = light(slot_of(arm))
    near = content.near()
    marks = Marks(effect_label(scale))
    two_lines = any(len(asked.get(str(row["question"]), Asked("")).ask) > LABEL for row in rows)

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left, right = (0.15, 0.15) if narrow else (3.4, 1.3)
        row_height = 0.6 if narrow else 0.54 if two_lines else 0.4
        top, height = 0.4 if len(lines) > LONG else 0.2, row_height * len(lines)
        figure = sheet(width, top + height + 0.75)
        axes = panel(figure, left, top, width - left - right, height)
        span = limits([row[key] for row in rows for key in ("effect", "ci_low", "ci_high")] + [0.0])
        row_axes(axes, len(lines), span, unit, narrow)
        if len(lines) > LONG:
            axes.tick_params(axis="x", top=True, labeltop=True)
        axes.axvline(0, color=light("muted"), linewidth=0.9, zorder=1)
        axes.set_xlabel(f"{headline['treatment']} − {headline['control']} ({effect_label(scale)})")
        against = "more so after the control" if narrow else f"more so after {shorten(headline['control'], 24)}"
        after = f"after {headline['treatment']}"
        axis_ends(axes, against, after if narrow else f"more so {after}", narrow)
        for index, row in enumerate(lines):
            if isinstance(row, str):
                row_text(
                    axes, 0, index + 0.1, row, dx=0 if narrow else -10, ha="left" if narrow else "right", weight="bold"
                )
                continue
            sure = row["p_holm"] is not None and row["p_holm"] < ALPHA
            name = str(row["question"]) + (" (near)" if row["question"] in near else "")
            low, high = (None if row[end] is None else unit * row[end] for end in ("ci_low", "ci_high"))
            mark = Mark(name, "", unit * row["effect"], low, high, f"{ROW_ID}{row['question']}")
            if low is not None and high is not None:
                bar = axes.plot([low, high], [index] * 2, color=colour, linewidth=1.6, solid_capstyle="round", zorder=2)
                marks.on(bar, mark)
            face = colour if sure else light("paper")
            style: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": colour, "markeredgewidth": 1.5}
            point = axes.plot(
                [unit * row["effect"]], [index], marker="o", markersize=7, linestyle="", zorder=3, **style
            )
            marks.on(point, mark)
            text = number(row["effect"], scale, effect=True)
            ends_text = interval(row["ci_low"], row["ci_high"], scale, effect=True)
            one = asked.get(str(row["question"]), Asked(""))
            _question(axes, index, name, one, text, ends_text, narrow)
        return figure

    sure = sum(1 for row in rows if row["p_holm"] is not None and row["p_holm"] < ALPHA)
    alt = f"Effect on each question, largest first. {sure} of {len(rows)} are significant after Holm's test. "
    alt += "; ".join(
        f"{row['question']} {number(row['effect'], scale, effect=True)} (p {probability(row['p_holm'])})"
        for row in rows
    )
    caption = "Filled marks: p < 0.05 after Holm's correction over the questions. Hollow marks: not."
    if any(one.target for one in asked.values()):
        caption += (
            " Under each question, → the answers that count to the right and ← those that they are compared with."
        )
    if any(row["question"] in near for row in rows):
        caption += " “Near” questions lie near the training topic; the overall effect leaves them out."
    if total > len(rows):
        caption += f" The {len(rows)} largest of {total} effects are drawn; the tables below have all."
    return draw("per_question", "Question by question", alt, caption, paint, marks)


def group_of(content: ReportContent, row: Mapping[str, Any]) -> str:
    """The group of a row's question, such as its trait."""
    return content.asked.get(str(row["question"]), Asked("")).group


def in_groups(content: ReportContent, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the questions are few groups of several each, rather than nearly a group each."""
    return 1 < len({group_of(content, row) for row in rows}) <= len(rows) / LEAST


def _with_headings(content: ReportContent, rows: list[dict[str, Any]]) -> list[dict[str, Any] | str]:
    """The rows with each group's name before its own, where they stand in groups."""
    if not in_groups(content, rows):
        return [*rows]
    lines: list[dict[str, Any] | str] = []
    for group, own in groupby(rows, key=lambda row: group_of(content, row)):
        lines += [group, *own]
    return lines


def sides(one: Asked, length: int) -> str:
    """The answers that are compared, on one line of `length` characters."""
    if not one.target:
        return ""
    target, other = (shorten(", ".join(answers), (length - 7) // 2) for answers in (one.target, one.other))
    return f"→ {target}  ← {other}"


def _question(axes: Axes, index: int, name: str, one: Asked, value: str, ends: str, narrow: bool) -> None:
    ask = one.ask or name
    if narrow:
        row_text(axes, 0, index - 0.5, shorten(ask, 36), size=8, bbox=ground())
        row_text(axes, 0, index - 0.26, sides(one, 56), size=6.5, color=light("muted"), bbox=ground())
        row_text(axes, 1, index - 0.5, value, ha="right", weight="bold", size=8)
        return
    below = sides(one, 62) or name
    first, *rest = wrap(" ".join(ask.split()), LABEL) or [name]
    second = shorten(" ".join(rest), LABEL)
    up = 5.5 if second else 0.0
    row_text(axes, 0, index, first, dx=-10, dy=5.5 + up, ha="right", size=8.5)
    if second:
        row_text(axes, 0, index, second, dx=-10, dy=0.5, ha="right", size=8.5)
    row_text(axes, 0, index, below, dx=-10, dy=-6 - 0.8 * up, ha="right", size=7, color=light("muted"))
    row_text(axes, 1.03, index - (0.16 if ends else 0), value, weight="bold", size=9)
    row_text(axes, 1.03, index + 0.2, ends, size=7.5, color=light("muted"))
