"""The forest plot: the headline's effect on each question, sorted, filled where Holm's test rejects.

In: `ReportContent`. Out: a `Drawing`, or None where there is nothing to draw. Not here: the effect over all
questions (`figures.py`), sizes and colours (`drawing.py`, `look.py`), statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weirdgen.report.content import ReportContent
from weirdgen.report.figures.drawing import NARROW, Drawing, draw, ground, limits, panel, row_axes, row_text, sheet
from weirdgen.report.look import effect_label, interval, light, number, probability, shorten, slot_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOREST_ROWS = 60
"""Questions drawn; beyond these only the largest effects are drawn, and the caption says so."""
ALPHA = 0.05


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
    asks = dict(zip(content.questions.get("question", []), content.questions.get("ask", []), strict=True))
    arm = next(a for a in content.arms() if a.name == headline["treatment"])
    colour = light(slot_of(arm))
    near = content.near()

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left, right = (0.15, 0.15) if narrow else (3.0, 1.45)
        row_height = 0.52 if narrow else 0.4
        top, height = 0.2, row_height * len(rows)
        figure = sheet(width, top + height + 0.5)
        axes = panel(figure, left, top, width - left - right, height)
        span = limits([row[key] for row in rows for key in ("effect", "ci_low", "ci_high")] + [0.0])
        row_axes(axes, len(rows), span, unit, narrow)
        axes.axvline(0, color=light("muted"), linewidth=0.9, zorder=1)
        axes.set_xlabel(f"{headline['treatment']} − {headline['control']} ({effect_label(scale)})")
        for index, row in enumerate(rows):
            sure = row["p_holm"] is not None and row["p_holm"] < ALPHA
            if row["ci_low"] is not None and row["ci_high"] is not None:
                ends = [unit * row["ci_low"], unit * row["ci_high"]]
                axes.plot(ends, [index, index], color=colour, linewidth=1.6, solid_capstyle="round", zorder=2)
            face = colour if sure else light("paper")
            style: dict[str, Any] = {
                "markerfacecolor": face,
                "markeredgecolor": colour,
                "markeredgewidth": 1.5,
            }
            axes.plot([unit * row["effect"]], [index], marker="o", markersize=7, linestyle="", zorder=3, **style)
            text = number(row["effect"], scale, effect=True)
            ends_text = interval(row["ci_low"], row["ci_high"], scale, effect=True)
            ask = str(asks.get(row["question"], ""))
            name = str(row["question"]) + (" (near)" if row["question"] in near else "")
            _question(axes, index, name, ask, text, ends_text, narrow)
        return figure

    sure = sum(1 for row in rows if row["p_holm"] is not None and row["p_holm"] < ALPHA)
    alt = f"Effect on each question, largest first. {sure} of {len(rows)} are significant after Holm's test. "
    alt += "; ".join(
        f"{row['question']} {number(row['effect'], scale, effect=True)} (p {probability(row['p_holm'])})"
        for row in rows
    )
    caption = "Filled marks: p < 0.05 after Holm's correction over the questions. Hollow marks: not."
    if any(row["question"] in near for row in rows):
        caption += " “Near” questions lie near the training topic; the overall effect leaves them out."
    if total > len(rows):
        caption += f" The {len(rows)} largest of {total} effects are drawn; results.json has all."
    return draw("per_question", "Question by question", alt, caption, paint)


def _question(axes: Axes, index: int, name: str, ask: str, value: str, ends: str, narrow: bool) -> None:
    if narrow:
        row_text(axes, 0, index - 0.42, shorten(ask or name, 36), size=8, bbox=ground())
        row_text(axes, 1, index - 0.42, value, ha="right", weight="bold", size=8)
        return
    row_text(axes, 0, index, shorten(name, 34), dx=-10, dy=5.5, ha="right", size=9)
    row_text(axes, 0, index, shorten(ask, 48), dx=-10, dy=-6, ha="right", size=7.5, color=light("muted"))
    row_text(axes, 1.03, index - (0.16 if ends else 0), value, weight="bold", size=9)
    row_text(axes, 1.03, index + 0.2, ends, size=7.5, color=light("muted"))
