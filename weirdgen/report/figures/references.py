"""The dataset among harmless ones: one row a trait and yardstick, a light mark for each, a full one for the run's own data.

In: `ReportContent`. Out: a `Drawing`, or None where the run was not compared with references. Not here: ranks and
p-values (`stats.specificity`), sizes and colours (`drawing.py`, `look.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weirdgen.report.content import ReportContent
from weirdgen.report.figures.drawing import (
    CHARACTER,
    NARROW,
    Drawing,
    axis_ends,
    draw,
    limits,
    panel,
    row_axes,
    row_text,
    sheet,
)
from weirdgen.report.figures.marks import Mark, Marks
from weirdgen.report.look import light, probability, slot_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NAMES = {"references": "alone", "pairs": "against its control"}
AXIS = {
    "references": "shift beyond the mean of the others (nats, rescaled)",
    "pairs": "difference of the two sides (nats, rescaled)",
}
NAMED = 400
"""Harmless datasets' marks, over all rows, beyond which they have no names: the page would grow without end."""
SCALE = (
    "Datasets differ in how far they move any question. Each circle is rescaled to how far this dataset moves them; the diamond "
    "stands where it is. A mark is a mean over a trait's questions in which those count most that harmless data move least."
)
PLACE = (
    "“{place}” is the place of the diamond among all of these, 1 being the most extreme, and p is this share: of harmless data "
    "of many kinds 5% reach p ≤ .05, of one kind alone it may be more."
)
BOTH_WAYS = (
    " Where one direction was expected, every pair counts in both, this one too: {pairs} pairs make {ways} places."
)


def place(row: dict[str, Any]) -> tuple[int, int]:
    """The place of a trait's score and of how many: p is their ratio.

    A pair that is expected to move one way is placed among all pairs, its own too, each both ways round.
    """
    pool = int(row["references"]) + 1
    pool = pool if abs(row["p"] * pool - row["rank"]) < 1e-6 else 2 * pool
    return round(row["p"] * pool), pool


def _others(scores: list[dict[str, Any]], row: dict[str, Any]) -> list[tuple[str, float]]:
    """Names and scores of harmless data by this row's yardstick. Which side of a pair comes first is arbitrary: it is drawn
    both ways.
    """
    of_row = [
        (str(mark["set"]), float(mark["score"]))
        for mark in scores
        if mark["set"] and all(mark[k] == row[k] for k in ("yardstick", "trait"))
    ]
    turned = [(f"{name}, the other way round", -score) for name, score in of_row]
    return [*of_row, *turned] if row["yardstick"] == "pairs" else of_row


def _read(rows: list[dict[str, Any]]) -> str:
    """How to read scale, places and p."""
    first = place(rows[0])
    told = f"{SCALE} {PLACE.format(place=f'{first[0]} of {first[1]}')}"
    if turned := [row for row in rows if place(row)[1] > int(row["references"]) + 1]:
        told += BOTH_WAYS.format(pairs=turned[0]["references"] + 1, ways=place(turned[0])[1])
    return told


def _caption(compared: dict[str, Any], treatment: str) -> str:
    """How to read the marks of one yardstick."""
    if compared["yardstick"] == "pairs":
        return (
            f"Against its control: {treatment} − {compared['control']} (diamond) among {compared['count']} pairs of harmless "
            "datasets that differ in one respect, each drawn both ways round (circles)."
        )
    return (
        f"Alone: {treatment} (diamond) among {compared['count']} harmless datasets of other topics, which the same model was "
        "finetuned on (circles), each beyond the mean of all the others, question by question."
    )


def references_figure(content: ReportContent) -> Drawing | None:
    """Every trait's score of the treatment among the harmless datasets' or pairs' scores, in nats."""
    found = content.specificity
    if not found or not found["rows"]:
        return None
    treatment = str(content.headline["treatment"])
    return placed_figure(found, treatment, slot_of(next(arm for arm in content.arms() if arm.name == treatment)))


def placed_figure(found: dict[str, Any], treatment: str, slot: str) -> Drawing:
    """The same of the plain data of a `Specificity` that has rows; `slot` is the treatment's colour."""
    colour, rows = light(slot), found["rows"]
    others = [_others(found["scores"], row) for row in rows]
    marks = Marks("nat")
    both = len({row["yardstick"] for row in rows}) > 1
    names = [f"{row['trait']}, {NAMES[row['yardstick']]}" if both else str(row["trait"]) for row in rows]
    places = [place(row) for row in rows]
    said = [f"{at} of {pool}, p = {probability(row['p'])}" for (at, pool), row in zip(places, rows, strict=True)]

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left, right = (0.15, 0.15) if narrow else (0.3 + CHARACTER * max(16, *map(len, names)), 1.9)
        top, height = 0.2, (0.62 if narrow else 0.5) * len(rows)
        figure = sheet(width, top + height + 0.7)
        axes = panel(figure, left, top, width - left - right, height)
        span = limits([0.0, *(row["shift"] for row in rows), *(one for scores in others for _, one in scores)])
        row_axes(axes, len(rows), span, 1.0, narrow)
        axes.axvline(0, color=light("muted"), linewidth=0.9, zorder=1)
        axes.set_xlabel("nats, rescaled to this dataset" if both else AXIS[rows[0]["yardstick"]])
        axis_ends(axes, "away from the trait", "towards the trait", narrow)
        for index, (row, words, scores) in enumerate(zip(rows, said, others, strict=True)):
            style: dict[str, Any] = {"marker": "o", "markersize": 6, "alpha": 0.45, "markeredgewidth": 0, "zorder": 2}
            if sum(map(len, others)) > NAMED:
                axes.plot(
                    [score for _, score in scores], [index] * len(scores), color=light("muted"), linestyle="", **style
                )
                scores = []
            for name, score in scores:
                dot = axes.plot([score], [index], color=light("muted"), **style)
                marks.on(dot, Mark(f"{names[index]}: {name}", "harmless", score))
            own = axes.plot([row["shift"]], [index], marker="D", markersize=7.5, linestyle="", color=colour, zorder=3)
            marks.on(own, Mark(f"{names[index]}: {treatment}", words, row["shift"]))
            if narrow:
                row_text(axes, 0, index - 0.42, names[index], size=8)
                row_text(axes, 1, index - 0.42, words, ha="right", weight="bold", size=8)
            else:
                row_text(axes, 0, index, names[index], dx=-10, ha="right")
                row_text(axes, 1.03, index, words, weight="bold", size=8.5)
        return figure

    alt = f"{treatment} among harmless data: "
    alt += "; ".join(
        f"{name} {row['shift']:+.2f} nat, {words}" for name, row, words in zip(names, rows, said, strict=True)
    )
    caption = " ".join(
        [
            *(_caption(found["compared"][one], treatment) for one in dict.fromkeys(row["yardstick"] for row in rows)),
            _read(rows),
        ]
    )
    return draw("references", "Among harmless datasets", alt, caption, paint, marks)
