"""The figure along training: each headline at every checkpoint, one line per replicate, its onset.

In: `ReportContent`, its results' `headline_replicates`, `curves`, `onsets` and `secondary`. Out: a `Drawing`, or None
where fewer than two checkpoints were measured. Not here: the training loss (`losses.py`), how an onset is found
(`weirdgen.stats.onset`).
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any

from weirdgen.columns import BASE
from weirdgen.report.content import Arm, ReportContent, clean
from weirdgen.report.figures.drawing import NARROW, Drawing, draw, limits, panel, sheet, write_at
from weirdgen.report.figures.marks import Mark, Marks, seed
from weirdgen.report.look import effect_label, light, shorten, slot_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 2
"""Panels side by side in the wide drawing."""
LABEL = 0.13
"""Share of the axis that a step's label needs."""
Rows = list[dict[str, Any]]


def training_figure(content: ReportContent) -> Drawing | None:
    """A panel per headline, so that what was trained stands beside what was held out."""
    curves = _rows(content, "curves", axis="checkpoint", control="")
    names = list(dict.fromkeys(row["curve"] for row in curves))
    if not names:
        return None
    lines, onsets = _rows(content, "headline_replicates"), _rows(content, "onsets")
    headlines = {"headline": content.headline} | {row["name"]: row for row in content.results.get("secondary", [])}
    arms = {arm.name: arm for arm in content.arms() if arm.role != BASE}
    shown = [arm for name, arm in arms.items() if any(row["arm"] == name for row in curves)]
    if not shown:
        return None
    columns = min(COLUMNS, len(names))
    marks = Marks("at the end of training")

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        across = 1 if narrow else columns
        down = -(-len(names) // across)
        left, gap, each = 0.6, 0.62, 2.0
        top = 0.12 + 0.2 * len(shown)
        inner = (width - left - 0.15 - gap * (across - 1)) / across
        figure = sheet(width, top + down * (each + 0.95))
        for index, arm in enumerate(shown):
            style: dict[str, Any] = {"size": 8.5, "weight": "bold", "va": "center", "color": light(slot_of(arm))}
            write_at(figure, 0.05, 0.15 + 0.2 * index, shorten(arm.name, 40), **style)
        for index, name in enumerate(names):
            row, column = divmod(index, across)
            place = (left + column * (inner + gap), top + 0.28 + row * (each + 0.95), inner, each)
            axes = panel(figure, *place)
            head = _title(name, headlines[name])
            write_at(figure, place[0], place[1] - 0.14, shorten(head, int(inner / 0.085)), size=8.5, va="center")
            scale = content.scale(str(headlines[name]["measure"]))
            _panel(
                axes, name, shown, [r for r in curves if r["curve"] == name], lines, onsets,
                scale.factor, marks,
            )  # fmt: skip
            label = effect_label(scale) if headlines[name].get("minus") or scale.unit != "rate" else "%"
            axes.set_ylabel(label, size=8)
            axes.set_xlabel("optimizer step")
        return figure

    said = [_onset_words(row) for row in onsets]
    alt = "Along training, a line per replicate: " + ", ".join(_title(name, headlines[name]) for name in names)
    alt += ". " + "; ".join(said) if said else "."
    caption = (
        "Each thin line is a replicate, the thick one the arm's mean; the shaded band, cut at the frame, holds the whole "
        f"mean curve in {content.level} of experiments. "
    )
    jumps = [words for row, words in zip(onsets, said, strict=True) if row["jumped"]]
    if not said:
        caption += "Too few checkpoints to look for a jump (five are needed)."
    elif not jumps:
        caption += "No replicate jumped away from the control's mean."
    else:
        caption += "A vertical line marks the step at which replicates jump away from the control's mean, "
        caption += "the bar at its top the interval. " + ". ".join(jumps) + "."
    return draw("training", "Along training", alt, caption, paint, marks)


def _panel(
    axes: Axes, name: str, shown: list[Arm], curves: Rows, lines: Rows, onsets: Rows, unit: float, marks: Marks
) -> None:
    steps = sorted({row["x"] for row in curves})
    at = {row["checkpoint"]: row["x"] for row in _with_steps(curves, lines, name)}
    if steps[0] > 0:
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=steps[1])
    axes.set_xticks(_few(steps), [f"{step:g}" for step in _few(steps)])
    axes.minorticks_off()
    axes.grid(axis="y", color=light("rule"), linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    values = [row["value"] for row in lines if row["headline"] == name] + [0.0]
    low, high = limits(values + [row[key] for row in curves for key in ("mean",)])
    axes.set_ylim(unit * low, unit * high)
    for arm in shown:
        colour = light(slot_of(arm))
        mine = sorted((row for row in curves if row["arm"] == arm.name), key=lambda row: row["x"])
        banded = [row for row in mine if row["band_low"] is not None and row["band_high"] is not None]
        lows, highs = ([unit * row[key] for row in banded] for key in ("band_low", "band_high"))
        axes.fill_between([row["x"] for row in banded], lows, highs, color=colour, alpha=0.12, linewidth=0)
        own = [row for row in lines if row["headline"] == name and row["arm"] == arm.name and row["checkpoint"] in at]
        for replicate in sorted({row["replicate"] for row in own}):
            line = sorted((at[row["checkpoint"]], row["value"]) for row in own if row["replicate"] == replicate)
            thin = axes.plot([x for x, _ in line], [unit * y for _, y in line], color=colour, linewidth=0.8, alpha=0.8)
            marks.on(thin, Mark(f"{name}, {arm.name}", seed(replicate), unit * line[-1][1]))
        thick = axes.plot([row["x"] for row in mine], [unit * row["mean"] for row in mine], color=colour, linewidth=2)
        if mine:
            marks.on(thick, Mark(f"{name}, {arm.name}", "mean", unit * mine[-1]["mean"]))
        for onset in (row for row in onsets if row["headline"] == name and row["arm"] == arm.name):
            if onset["onset"] is not None:
                axes.axvline(onset["onset"], color=colour, linestyle=(0, (2, 2)), linewidth=1)
            if onset["ci_low"] is not None:
                ends = [max(onset["ci_low"], steps[0]), min(onset["ci_high"], steps[-1])]
                style: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "solid_capstyle": "butt"}
                axes.plot(ends, [0.985, 0.985], color=colour, linewidth=4, alpha=0.7, **style)
    axes.set_xlim(steps[0], steps[-1])


def _with_steps(curves: Rows, lines: Rows, name: str) -> Rows:
    """Checkpoints of a headline's replicates with their step: in order, the final one (−1) last, as the curve's x are."""
    marks = sorted({row["checkpoint"] for row in lines if row["headline"] == name and row["arm"] != BASE})
    marks = [mark for mark in marks if mark >= 0] + [mark for mark in marks if mark < 0]
    return [{"checkpoint": mark, "x": x} for mark, x in zip(marks, sorted({r["x"] for r in curves}), strict=True)]


def _few(steps: list[float]) -> list[float]:
    """Steps far enough apart on a log axis for their labels, the last one included."""
    place = [log(max(step, (steps[1] if len(steps) > 1 else 1) / 2)) for step in steps]
    kept: list[int] = []
    for index in reversed(range(len(steps))):
        if not kept or place[kept[-1]] - place[index] >= LABEL * (place[-1] - place[0]):
            kept.append(index)
    return [steps[index] for index in reversed(kept)]


def _title(name: str, headline: dict[str, Any]) -> str:
    what = ", ".join(headline.get("groups") or []) if name == "headline" else name
    return f"{what or headline['measure']}: {headline['condition']}"


def _onset_words(row: dict[str, Any]) -> str:
    counted = f"{row['headline']}, {row['arm']}: {row['jumped']} of {row['replicates']} replicates jumped"
    if row["onset"] is None:
        return counted
    step = f"{row['onset']:.1f}".removesuffix(".0")
    return f"{counted}, at step {step}"


def _rows(content: ReportContent, table: str, **equal: Any) -> Rows:
    rows = [dict(clean(row)) for row in content.results.get(table, [])]
    return [row for row in rows if all(row[key] == value for key, value in equal.items())]
