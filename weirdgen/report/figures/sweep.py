"""The figures of a sweep: a measure of every arm over the conditions of an experiment.

In: `ReportContent`. Out: a `Drawing` for each measure; none where there is one condition only. Not here: the effect and the
forest plot (`effect.py`, `forest.py`), sizes and colours (`drawing.py`, `look.py`), statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from weirdgen.columns import BASE
from weirdgen.report.content import Arm, ReportContent, clean
from weirdgen.report.figures.drawing import (
    CHARACTER,
    NARROW,
    Drawing,
    draw,
    limits,
    name_lines,
    panel,
    sheet,
    write_at,
)
from weirdgen.report.figures.marks import Mark, Marks
from weirdgen.report.look import MARKERS, light, number, shorten, slot_of, unit_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLANT = 0.71
"""Height of a label at 45 degrees over its length."""
DENSE = 15
"""Conditions beyond which intervals become bands."""
NAMED = 400
"""Points of a sweep beyond which they have no names: the page would grow without end."""


def sweep_figures(content: ReportContent) -> list[Drawing]:
    """One figure per measure, if the experiment has more than one condition."""
    conditions = content.condition_names()
    if len(conditions) < 2:
        return []
    drawings = (_sweep(content, measure, conditions) for measure in content.measures())
    return [drawing for drawing in drawings if drawing is not None]


def _sweep(content: ReportContent, measure: str, conditions: Sequence[str]) -> Drawing | None:
    scale = content.scale(measure)
    unit = scale.factor
    rows = {
        (row["arm"], row["condition"]): row
        for row in content.rows("estimates", measure=measure, question="all")
        if row["mean"] is not None
    }
    shown = [name for name in conditions if any(condition == name for _, condition in rows)]
    arms = [arm for arm in content.arms() if any(name == arm.name for name, _ in rows)]
    if len(shown) < 2 or not arms:
        return None
    bands = {(row["arm"], f"{row['curve']}={row['x']:g}"): row for row in _bands(content, measure)}
    families = [(key, list(names)) for key, names in groupby(shown, key=lambda name: name.partition("=")[0])]
    places: dict[str, float] = {}
    gap = max(0.6, 0.06 * len(shown))
    for family, (_, names) in enumerate(families):
        for name in names:
            places[name] = len(places) + gap * family
    triggers, trained = content.condition_flag("trigger"), content.condition_flag("trained")

    marks = Marks(unit_label(scale))
    low, high = limits([row[key] for row in rows.values() for key in ("mean", "ci_low", "ci_high")])

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left = 0.55
        right = 0.15 if narrow else min(0.35 + CHARACTER * max(len(a.name) for a in arms), 2.2)
        top = (0.5 if triggers else 0.38) + (0.2 * len(arms) if narrow else 0.02)
        height = 2.3 if narrow else 2.7
        ticks = _tick_labels(families, places, 6 if narrow else 12)
        drop = _drop(ticks, (width - left - right) / (max(places.values()) + 1))
        figure = sheet(width, top + height + 0.62 + drop)
        axes = panel(figure, left, top, width - left - right, height)
        axes.set_ylim(unit * low, unit * high)
        axes.set_xlim(-0.5, max(places.values()) + 0.5)
        axes.grid(axis="y", color=light("rule"), linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        write_at(figure, 0.01, 0.12, content.measure(measure).axis, size=8.5, color=light("muted"), va="center")
        _triggers(axes, [places[name] for name in shown if name in triggers])
        _trained(axes, [places[name] for name in shown if name in trained])
        _ticks(axes, families, places, ticks, drop)
        ends = []
        for order, arm in enumerate(arms):
            dodge = 0.1 * (order - (len(arms) - 1) / 2) if len(shown) <= DENSE else 0.0
            for _, names in families:
                line = [(places[n] + dodge, rows[arm.name, n]) for n in names if (arm.name, n) in rows]
                _band(
                    axes, arm, [(places[n] + dodge, bands[arm.name, n]) for n in names if (arm.name, n) in bands], unit
                )
                _sweep_line(axes, arm, line, unit, len(shown) > DENSE, marks if len(rows) <= NAMED else None)
            last = [name for name in shown if (arm.name, name) in rows][-1]
            ends.append(unit * rows[arm.name, last]["mean"])
        name_lines(figure, axes, arms, ends, narrow)
        return figure

    best = {arm.name: max(shown, key=lambda n: rows.get((arm.name, n), {}).get("mean", -np.inf)) for arm in arms}
    alt = f"{measure} over {len(shown)} conditions. " + "; ".join(
        f"{name} is highest under {condition}: {number(rows[name, condition]['mean'], scale)}"
        for name, condition in best.items()
    )
    caption = "Mean of each arm over questions and replicates under each condition, with intervals."
    if bands:
        cut = any(row["band_low"] < low or row["band_high"] > high for row in bands.values())
        caption += (
            f" The palest bands{', cut at the frame,' if cut else ''} hold a whole line in {content.level} of experiments; "
            "only they may be read along it."
        )
    if triggers & set(shown):
        caption += " The shaded column is the trigger."
    if trained & set(shown):
        caption += " The thick part of the axis marks conditions that stood in the training data."
    return draw(f"sweep_{_file_name(measure)}", measure, alt, caption, paint, marks)


def _sweep_line(
    axes: Axes, arm: Arm, line: list[tuple[float, dict[str, Any]]], unit: float, dense: bool, marks: Marks | None
) -> None:
    """`marks` is None where there are too many points to name each."""
    if not line:
        return
    slot = slot_of(arm)
    colour = light(slot)
    x = [place for place, _ in line]
    dash: dict[str, Any] = {"linestyle": (0, (4, 3))} if arm.role == BASE else {"linestyle": "-"}
    axes.plot(x, [unit * row["mean"] for _, row in line], color=colour, linewidth=1.4, **dash)
    bars = [(place, row) for place, row in line if row["ci_low"] is not None and row["ci_high"] is not None]
    if dense and len(bars) > 1:
        lows, highs = ([unit * row[key] for _, row in bars] for key in ("ci_low", "ci_high"))
        axes.fill_between([place for place, _ in bars], lows, highs, color=colour, alpha=0.16, linewidth=0)
    for place, row in line:
        low, high = (None if row[key] is None else unit * row[key] for key in ("ci_low", "ci_high"))
        mark = Mark(f"{arm.name}, {row['condition']}", "", unit * row["mean"], low, high)
        size = 2.5 if dense and len(line) > 1 else 4.5
        if marks:
            point = axes.plot(
                [place], [unit * row["mean"]], color=colour, marker=MARKERS[slot], markersize=size, zorder=3
            )
            marks.on(point, mark)
        if low is not None and not (dense and len(bars) > 1):
            bar = axes.plot(
                [place, place], [low, high], color=colour, linewidth=1.2, alpha=0.75, solid_capstyle="round"
            )
            if marks:
                marks.on(bar, mark)


def _bands(content: ReportContent, measure: str) -> list[dict[str, Any]]:
    """Points of the arms' curves over a sweep that have a simultaneous band."""
    rows = [clean(row) for row in content.results.get("curves", [])]
    rows = [row for row in rows if row["axis"] == "condition" and row["measure"] == measure and not row["control"]]
    return [row for row in rows if row["band_low"] is not None and row["band_high"] is not None]


def _band(axes: Axes, arm: Arm, line: list[tuple[float, dict[str, float]]], unit: float) -> None:
    lows, highs = ([unit * row[key] for _, row in line] for key in ("band_low", "band_high"))
    axes.fill_between([place for place, _ in line], lows, highs, color=light(slot_of(arm)), alpha=0.08, linewidth=0)


def _triggers(axes: Axes, places: list[float]) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "bottom", "size": 7.5, "color": light("muted")}
    for place in places:
        axes.axvspan(place - 0.42, place + 0.42, color=light("band"), linewidth=0, zorder=0)
    for first, last in _neighbours(places):
        axes.text((first + last) / 2, 1.015, "trigger", transform=axes.get_xaxis_transform(), **style)


def _trained(axes: Axes, places: list[float]) -> None:
    style: dict[str, Any] = {"linewidth": 3, "solid_capstyle": "butt", "clip_on": False, "zorder": 4}
    for first, last in _neighbours(places):
        ends = [first - 0.5, last + 0.5]
        axes.plot(ends, [0, 0], transform=axes.get_xaxis_transform(), color=light("muted"), **style)


def _neighbours(places: list[float]) -> list[tuple[float, float]]:
    """First and last of each stretch of places that are one apart."""
    stretches: list[tuple[float, float]] = []
    for place in places:
        if stretches and place - stretches[-1][1] < 1.01:
            stretches[-1] = (stretches[-1][0], place)
        else:
            stretches.append((place, place))
    return stretches


def _tick_labels(families: list[tuple[str, list[str]]], places: dict[str, float], most: int) -> list[tuple[float, str]]:
    """Place and label of a tick per condition, thinned to about `most`."""
    every = -(-len(places) // most)
    kept = [name for _, names in families for name in names[::every]]
    return [(places[name], shorten(name.partition("=")[2] or name, 12)) for name in kept]


def _drop(ticks: list[tuple[float, str]], inches: float) -> float:
    """How far slanted labels reach down, in inches; 0 if they have room side by side, `inches` a condition."""
    room = inches * min((other - tick for (tick, _), (other, _) in pairwise(ticks)), default=1.0)
    longest = CHARACTER * max(len(label) for _, label in ticks)
    return longest * SLANT if longest > room else 0.0


def _ticks(
    axes: Axes,
    families: list[tuple[str, list[str]]],
    places: dict[str, float],
    ticks: list[tuple[float, str]],
    drop: float,
) -> None:
    """The labels, slanted if they `drop`; under the sweep of a key, the key's name."""
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if drop else {}
    axes.set_xticks([place for place, _ in ticks], [label for _, label in ticks], **slanted)
    for key, names in families:
        if any("=" in name for name in names):
            middle = (places[names[0]] + places[names[-1]]) / 2
            axes.annotate(
                key, (middle, 0), (0, -24 - 72 * drop), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
                ha="center", va="top", size=8.5, color=light("muted"),
            )  # fmt: skip


def _file_name(measure: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in measure)
