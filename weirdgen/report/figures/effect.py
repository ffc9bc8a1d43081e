"""The figure of the effect: arms with their replicates above treatment − control differences.

In: `ReportContent`. Out: a `Drawing`, or None where there is nothing to draw. Not here: the effect on each
question (`forest.py`), sweeps and losses (`lines.py`), sizes and colours (`drawing.py`, `look.py`), statistics.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from weirdgen.columns import BASE
from weirdgen.config.measures import Scale
from weirdgen.report.content import Arm, ReportContent
from weirdgen.report.figures.drawing import (
    CHARACTER,
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
    write_at,
)
from weirdgen.report.figures.marks import Mark, Marks, seed
from weirdgen.report.look import (
    MARKERS,
    effect_label,
    interval,
    light,
    number,
    shorten,
    slot_of,
    unit_label,
)
from weirdgen.report.words import left_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def effect_figure(content: ReportContent) -> Drawing | None:
    """Each arm's replicates, mean and interval, the base as a dashed line; below, the differences on the same
    scale.
    """
    headline = content.headline
    measure, condition = str(headline["measure"]), str(headline["condition"])
    scale = content.scale(measure)
    means = content.headline_means()
    estimates = {row["arm"]: row for row in content.headline_rows("estimates", question="all")}
    arms = [arm for arm in content.arms() if arm.role != BASE and arm.name in estimates]
    effects = content.headline_rows("effects", question="all")
    looks = {arm.name: arm for arm in content.arms()}
    effects = [row for row in effects if row["treatment"] in looks and row["control"] in looks]
    # Any finetuning moves answers away from the base: drawn only where the headline asks for just that.
    against = [row for row in effects if row["control"] != BASE or headline["control"] == BASE]
    effects = [row for row in against if row["effect"] is not None]
    effects.sort(key=lambda row: (looks[row["treatment"]].slot, looks[row["control"]].slot))
    if not arms:
        return None
    of_arms = {arm.name: means[means["arm"] == arm.name] for arm in arms}
    dots = {name: dict(zip(own["replicate"], own["value"], strict=True)) for name, own in of_arms.items()}
    bases = [row["mean"] for row in estimates.values() if row["role"] == BASE and row["mean"] is not None]
    unit = scale.factor
    marks = Marks(effect_label(scale) if headline.get("minus") else unit_label(scale))
    difference = bool(headline.get("minus"))
    label_of_axis = f"{condition} ({effect_label(scale)})" if difference else content.measure(measure).axis

    span = limits(
        [v for values in dots.values() for v in values.values()]
        + bases
        + [estimates[a.name][key] for a in arms for key in ("mean", "ci_low", "ci_high")]
    )
    below = _span_below(effects, span, headline.get("smallest"))

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        label = 0.0 if narrow else _label_width([a.name for a in arms] + [_row_name(row, effects) for row in effects])
        left, right = (0.15, 0.15) if narrow else (label + 0.2, 1.45)
        row_height = 0.56 if narrow else 0.42
        top, between, tail = 0.62, 1.42, 0.72
        first, second = row_height * len(arms), row_height * max(len(effects), 1)
        figure = sheet(width, top + first + (between + second if effects else 0) + tail)
        inner = width - left - right
        axes = panel(figure, left, top, inner, first)
        write_at(figure, 0.01, 0.14, "Each arm", weight="bold", size=10, va="center")
        row_axes(axes, len(arms), span, unit, narrow)
        axes.set_xlabel(label_of_axis)
        likelier = "rated higher" if scale.unit == "rating" else f"likelier to {content.does}"
        axis_ends(axes, "less so", likelier, narrow)
        for index, arm in enumerate(arms):
            row = estimates[arm.name]
            _interval(axes, index, arm.name, row, "mean", arm, unit, dots[arm.name], marks)
            text = number(row["mean"], scale, effect=difference)
            ends = interval(row["ci_low"], row["ci_high"], scale, effect=difference)
            _labels(axes, index, arm.name, text, ends, arm, narrow)
        for base in bases:
            line = axes.axvline(unit * base, color=light("base"), linestyle=(0, (4, 3)), linewidth=1.1, zorder=1)
            marks.on(line, Mark("untuned base", "", unit * base))
            shift = (unit * base - axes.get_xlim()[0]) / (axes.get_xlim()[1] - axes.get_xlim()[0])
            side = "left" if shift < 0.15 else "right" if shift > 0.85 else "center"
            text = f"untuned base {number(base, scale, effect=difference)}"
            place = axes.get_xaxis_transform()
            axes.text(unit * base, 1.02, text, transform=place, color=light("base"), size=8, ha=side, va="bottom")
        if effects:
            box = (left, top + first + between, inner, second)
            _differences(figure, box, effects, looks, below, scale, headline.get("smallest"), marks)
        return figure

    alt = f"{measure}, condition {condition}. " + "; ".join(
        f"{a.name} {number(estimates[a.name]['mean'], scale, effect=difference)}" for a in arms
    )
    alt += "".join(
        f". {_pair(row)}: {number(row['effect'], scale, effect=True)} "
        f"{interval(row['ci_low'], row['ci_high'], scale, effect=True)}"
        for row in effects
    )
    bars = " and the bar its interval" if any(row["ci_low"] is not None for row in effects) else ""
    caption = (
        "Small marks are replicates: one finetune with its own seed, averaged over questions. "
        f"The large mark is their mean{bars}; the dashed line is the untuned base model. "
        + (
            "The lower panel has the same scale, so distances in the two can be compared."
            if math.isclose(below[1] - below[0], span[1] - span[0])
            else "The lower panel shows a wider range: distances in the two cannot be compared by eye."
        )
    )
    if difference:
        caption += f" Each value is a difference of conditions within one model: {condition}."
    more = "the higher the rating" if scale.unit == "rating" else f"the likelier models are to {content.does}"
    caption += f" The further to the right, {more}.{left_out(content)}"
    if headline.get("smallest") is not None:
        caption += " The shaded strip holds effects smaller than the smallest effect of interest."
    return draw("effect", "The effect", alt, caption, paint, marks)


def _span_below(
    effects: list[dict[str, Any]], above: tuple[float, float], smallest: float | None
) -> tuple[float, float]:
    """The lower panel's range: at least as wide as the upper one's, so that both have one scale where that is possible."""
    strip = [0.0] if smallest is None else [-smallest, smallest]
    low, high = limits([row[key] for row in effects for key in ("effect", "ci_low", "ci_high")] + strip)
    missing = max(0.0, (above[1] - above[0]) - (high - low))
    return low - missing / 2, high + missing / 2


def _differences(
    figure: Figure,
    box: tuple[float, float, float, float],
    effects: list[dict[str, Any]],
    looks: dict[str, Arm],
    span: tuple[float, float],
    scale: Scale,
    smallest: float | None,
    marks: Marks,
) -> None:
    """The lower panel, over the range `span`."""
    left, top, inner, height = box
    narrow = figure.get_size_inches()[0] == NARROW
    unit = scale.factor
    axes = panel(figure, left, top, inner, height)
    write_at(figure, 0.01, top - 0.26, "Treatment − control", weight="bold", size=10, va="center")
    row_axes(axes, len(effects), span, unit, narrow)
    axes.set_xlabel(f"difference ({effect_label(scale)})")
    treatments = " or ".join(dict.fromkeys(str(row["treatment"]) for row in effects))
    axis_ends(
        axes, "more so after the control", f"after {treatments}" if narrow else f"more so after {treatments}", narrow
    )
    if smallest is not None:
        stripes = [(i - 0.24, i + 0.25) for i in range(len(effects))] if narrow else [(-0.5, len(effects) - 0.5)]
        for stripe in stripes:  # on phones only beside the marks, to keep the labels above them legible
            axes.fill_betweenx(stripe, -unit * smallest, unit * smallest, color=light("band"), zorder=0, linewidth=0)
    axes.axvline(0, color=light("muted"), linewidth=0.9, zorder=1)
    for index, row in enumerate(effects):
        arm = looks[row["control"]]
        _interval(axes, index, _pair(row), row, "effect", looks[row["treatment"]], unit, {}, marks)
        text = number(row["effect"], scale, effect=True)
        ends = interval(row["ci_low"], row["ci_high"], scale, effect=True)
        _labels(
            axes,
            index,
            _row_name(row, effects),
            text,
            ends,
            arm,
            narrow,
        )


def _row_name(row: dict[str, Any], effects: list[dict[str, Any]]) -> str:
    """The control alone where one treatment stands against all, else the pair."""
    alone = len({other["treatment"] for other in effects}) == 1
    return f"− {row['control']}" if alone else _pair(row)


def _pair(row: dict[str, Any]) -> str:
    return f"{row['treatment']} − {row['control']}"


def _label_width(names: list[str]) -> float:
    return min(max(0.35 + CHARACTER * max(len(name) for name in names), 1.3), 2.3)


def _interval(
    axes: Axes,
    index: int,
    name: str,
    row: dict[str, Any],
    key: str,
    arm: Arm,
    unit: float,
    dots: dict[int, float],
    marks: Marks,
) -> None:
    """`row[key]` with its interval, and above them the `dots`: a value by its replicate."""
    slot = slot_of(arm)
    colour = light(slot)
    mean, low, high = (None if row[field] is None else unit * row[field] for field in (key, "ci_low", "ci_high"))
    for k, (replicate, value) in enumerate(dots.items()):
        step = (k % 3 - 1) * 0.09 if len(dots) > 4 else 0.0
        style: dict[str, Any] = {"markeredgecolor": colour, "markerfacecolor": light("paper"), "markeredgewidth": 1.0}
        dot = axes.plot([unit * value], [index + 0.2 + step], marker=MARKERS[slot], markersize=4.2, zorder=3, **style)
        marks.on(dot, Mark(name, seed(replicate), unit * value))
    if mean is None:
        return
    level = index - 0.12 if dots else index
    mark = Mark(name, f"mean of {len(dots)}" if dots else "", mean, low, high)
    if low is not None and high is not None:
        bar = axes.plot([low, high], [level] * 2, color=colour, linewidth=2.2, solid_capstyle="round", zorder=2)
        marks.on(bar, mark)
    point = axes.plot([mean], [level], marker=MARKERS[slot], markersize=8, color=colour, linestyle="", zorder=4)
    marks.on(point, mark)


def _labels(axes: Axes, index: int, name: str, value: str, ends: str, arm: Arm, narrow: bool) -> None:
    """The row's name on the left and its numbers on the right; above the marks in the narrow form."""
    colour = light(slot_of(arm))
    if narrow:
        row_text(axes, 0, index - 0.42, shorten(name, 24), color=colour, weight="bold", size=8.5, bbox=ground())
        row_text(axes, 1, index - 0.42, f"{value}  {ends}".rstrip(), size=8, ha="right")
        return
    row_text(axes, 0, index, shorten(name, 28), dx=-10, ha="right", color=colour, weight="bold", size=9)
    row_text(axes, 1.03, index - (0.16 if ends else 0), value, size=9.5, weight="bold")
    row_text(axes, 1.03, index + 0.2, ends, size=8, color=light("muted"))
