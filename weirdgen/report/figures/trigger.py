"""The figure of the triggers: what a trigger adds in a treatment beyond a control.

In: `ReportContent`, its results' `trigger_effects`. Out: a `Drawing`, or None where no condition is marked as a trigger.
Not here: the table beside it (`tables_effects.py`), how a trigger effect is computed (`weirdgen.stats.trigger`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weirdgen.columns import BASE
from weirdgen.config.measures import Scale
from weirdgen.report.content import ReportContent, clean
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
from weirdgen.report.look import MARKERS, effect_label, interval, light, number, shorten, slot_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 24
"""Rows drawn; the table has them all."""
KINDS = {"all": "all triggers", "trained": "trained triggers", "unseen": "triggers never trained"}


def trigger_figure(content: ReportContent) -> Drawing | None:
    """One row a control, set of triggers and group of questions, for the headline's measure or the first with triggers."""
    rows = trigger_rows(content)
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    if not measures:
        return None
    measure = next((name for name in measures if name == content.headline["measure"]), measures[0])
    rows = [row for row in rows if row["measure"] == measure and row["control"] != BASE and row["effect"] is not None]
    total, rows = len(rows), rows[:ROWS]
    if not rows:
        return None
    scale = content.scale(measure)
    unit = scale.factor
    looks = {arm.name: arm for arm in content.arms()}
    marks = Marks(effect_label(scale))
    one_kind = len({row["condition"] for row in rows}) == 1

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left, right = (0.15, 0.15) if narrow else (3.0, 1.45)
        row_height = 0.56 if narrow else 0.42
        height = row_height * len(rows)
        figure = sheet(width, 0.2 + height + 0.75)
        axes = panel(figure, left, 0.2, width - left - right, height)
        span = limits([row[key] for row in rows for key in ("effect", "ci_low", "ci_high")] + [0.0])
        row_axes(axes, len(rows), span, unit, narrow)
        axes.axvline(0, color=light("muted"), linewidth=0.9, zorder=1)
        axes.set_xlabel(f"triggered − untriggered, beyond the control's ({effect_label(scale)})")
        axis_ends(axes, "the trigger adds less", "more than in the control", narrow)
        for index, row in enumerate(rows):
            low, high = (None if row[end] is None else unit * row[end] for end in ("ci_low", "ci_high"))
            mark = Mark(f"{pair(row)}, {what(row)}", "", unit * row["effect"], low, high)
            slot = slot_of(looks[row["control"]])
            if row["ci_low"] is not None and row["ci_high"] is not None:
                ends = [unit * row["ci_low"], unit * row["ci_high"]]
                bar = axes.plot(
                    ends, [index, index], color=light(slot), linewidth=2.2, solid_capstyle="round", zorder=2
                )
                marks.on(bar, mark)
            style: dict[str, Any] = {"marker": MARKERS[slot], "markersize": 7, "linestyle": "", "zorder": 3}
            marks.on(axes.plot([unit * row["effect"]], [index], color=light(slot), **style), mark)
            _names(axes, index, row, scale, light(slot), narrow, one_kind)
        return figure

    alt = f"Trigger effects on {measure}. " + "; ".join(
        f"{pair(row)}, {what(row)}: {number(row['effect'], scale, effect=True)} "
        f"{interval(row['ci_low'], row['ci_high'], scale, effect=True)}".rstrip()
        for row in rows
    )
    caption = (
        "Each replicate answers with and without the trigger; the difference of the two, in the treatment minus in the "
        "control. Whatever training moved in every condition alike has no part in it."
    )
    if total > len(rows):
        caption += f" {len(rows)} of {total} rows are drawn; the table has all."
    return draw("trigger", f"What the trigger adds ({measure})", alt, caption, paint, marks)


def trigger_rows(content: ReportContent) -> list[dict[str, Any]]:
    """Trigger effects over all questions and over each group of them, at the end of training."""
    rows = [dict(clean(row)) for row in content.results.get("trigger_effects", [])]
    return [row for row in rows if row["question"] == "all" and row["checkpoint"] == -1]


def pair(row: dict[str, Any]) -> str:
    return f"{row['treatment']} − {row['control']}"


def what(row: dict[str, Any]) -> str:
    """Which triggers and which questions, in words."""
    group = str(row.get("group", "all"))
    questions = "all questions" if group == "all" else f"group {group}"
    return f"{KINDS.get(str(row['condition']), str(row['condition']))}, {questions}"


def _names(
    axes: Axes, index: int, row: dict[str, Any], scale: Scale, colour: str, narrow: bool, one_kind: bool
) -> None:
    value = number(row["effect"], scale, effect=True)
    ends = interval(row["ci_low"], row["ci_high"], scale, effect=True)
    if narrow:
        said = what(row).partition(", ")[2] if one_kind else what(row)  # no room to say twenty times which triggers
        name = shorten(f"− {row['control']}, {said}", 36)
        row_text(axes, 0, index - 0.42, name, color=colour, size=8, bbox=ground())
        row_text(axes, 1, index - 0.42, value, ha="right", weight="bold", size=8, bbox=ground())
        return
    row_text(axes, 0, index, shorten(pair(row), 36), dx=-10, dy=5.5, ha="right", size=9, color=colour, weight="bold")
    row_text(axes, 0, index, what(row), dx=-10, dy=-6, ha="right", size=7.5, color=light("muted"))
    row_text(axes, 1.03, index - (0.16 if ends else 0), value, weight="bold", size=9)
    row_text(axes, 1.03, index + 0.2, ends, size=7.5, color=light("muted"))
