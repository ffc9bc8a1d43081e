"""The figure over doses: the headline's measure in arms that hold more or less of something.

In: `ReportContent`, its results' `curves` and the headline's estimates. Out: a `Drawing`, or None where fewer than two arms
have a dose. Not here: how the band is made (`weirdgen.stats.bands`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weirdgen.report.content import ReportContent, clean
from weirdgen.report.figures.drawing import NARROW, Drawing, draw, limits, panel, sheet, write_at
from weirdgen.report.figures.marks import Mark, Marks
from weirdgen.report.look import effect_label, light, number, shorten, slot_of, unit_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def dose_figure(content: ReportContent) -> Drawing | None:
    """The mean at each dose with its interval and the band of the whole curve; the arms without a dose as level lines."""
    curves = [dict(clean(row)) for row in content.results.get("curves", [])]
    points = [row for row in curves if row["axis"] == "dose" and not row["control"] and row["mean"] is not None]
    if len(points) < 2:
        return None
    headline = content.headline
    measure = str(headline["measure"])
    scale = content.scale(measure)
    unit = scale.factor
    means = {row["arm"]: row["mean"] for row in content.headline_rows("estimates", question="all")}
    level = [arm for arm in content.arms() if arm.role != "treatment" and means.get(arm.name) is not None]
    marks = Marks(effect_label(scale) if headline.get("minus") else unit_label(scale))
    x = [row["x"] for row in points]
    ends = {key: [_scaled(row[key], unit) for row in points] for key in ("ci_low", "ci_high", "band_low", "band_high")}

    def paint(width: float) -> Figure:
        top, height, left = 0.4 + 0.2 * len(level), 2.3 if width == NARROW else 2.7, 0.6
        figure = sheet(width, top + height + 0.6)
        label = effect_label(scale) if headline.get("minus") else content.measure(measure).axis
        write_at(figure, 0.01, 0.12, label, size=8.5, color=light("muted"), va="center")
        axes = panel(figure, left, top, width - left - 0.2, height)
        low, high = limits([means[arm.name] for arm in level] + [row[k] for row in points for k in ("mean", *ends)])
        axes.set_ylim(unit * low, unit * high)
        axes.grid(axis="y", color=light("rule"), linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        for index, arm in enumerate(level):
            style: dict[str, Any] = {"color": light(slot_of(arm))}
            line = axes.axhline(unit * means[arm.name], linewidth=1.2, linestyle=(0, (4, 2)), **style)
            marks.on(line, Mark(arm.name, "", unit * means[arm.name]))
            write_at(
                figure, left, 0.34 + 0.2 * index, shorten(arm.name, 40), size=8.5, weight="bold", va="center", **style
            )
        colour = light("t0")
        axes.fill_between(x, ends["band_low"], ends["band_high"], color=colour, alpha=0.12, linewidth=0)
        axes.vlines(x, ends["ci_low"], ends["ci_high"], color=colour, linewidth=1.2)
        axes.plot(x, [unit * row["mean"] for row in points], color=colour, linewidth=2)
        for row in points:
            interval = [None if row[key] is None else unit * row[key] for key in ("ci_low", "ci_high")]
            mark = Mark(f"{row['arm']}, dose {row['x']:g}", "mean", unit * row["mean"], interval[0], interval[1])
            marks.on(axes.plot([row["x"]], [unit * row["mean"]], color=colour, marker="o", markersize=5), mark)
        axes.set_xticks(x, [f"{dose:g}" for dose in x])
        axes.set_xlabel("dose")
        return figure

    alt = f"{measure} at doses: " + ", ".join(f"{row['x']:g}: {number(row['mean'], scale)}" for row in points)
    caption = (
        f"Mean of {measure} over questions and replicates in the arm of each dose, with its interval; the pale band holds the "
        f"whole curve in {content.level} of experiments."
    )
    caption += " The dashed lines are arms without treatment." if level else ""
    return draw("dose", "Over doses", alt, caption, paint, marks)


def _scaled(value: float | None, unit: float) -> float:
    return float("nan") if value is None else unit * value
