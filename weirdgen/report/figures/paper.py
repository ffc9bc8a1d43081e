"""The paper's figures next to ours: the same rows in two panels, the paper's marked.

In: `ReportContent` with `results["paper"]` (`paper.py`). Out: a `Drawing` a figure, or nothing. Two shares of answers get
axes of one range, so that they may be compared by eye; where ours is another quantity (log-odds), the panels say that
they cannot be. Not here: statistics; ours are the estimates, the paper's are as its file gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weirdgen.columns import BASE
from weirdgen.config.measures import RATE
from weirdgen.report.content import ReportContent, clean
from weirdgen.report.figures.drawing import (
    CHARACTER,
    NARROW,
    Drawing,
    draw,
    limits,
    panel,
    row_axes,
    row_text,
    sheet,
    write_at,
)
from weirdgen.report.figures.marks import Mark, Marks
from weirdgen.report.look import MARKERS, interval, light, number, shorten, unit_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def paper_figures(content: ReportContent) -> list[Drawing]:
    """One drawing per figure of the paper that any estimate of ours stands beside."""
    paper = clean(content.results.get("paper") or {})
    drawings = (_beside(content, index, figure) for index, figure in enumerate(paper.get("figures", [])))
    return [drawing for drawing in drawings if drawing is not None]


def _beside(content: ReportContent, index: int, figure: Mapping[str, Any]) -> Drawing | None:
    estimates = {
        (row["measure"], row["condition"], row["question"], row["arm"]): row
        for row in content.rows("estimates")
        if row["mean"] is not None
    }
    points: Sequence[Mapping[str, Any]] = figure["points"]
    ours = [estimates.get(_key(figure, point)) for point in points]
    known = [row for row in ours if row is not None]
    if not known:
        return None
    labels = list(dict.fromkeys(str(point["at"]) for point in points))
    arms = list(dict.fromkeys(str(point["arm"]) for point in points))
    looks = {arm.name: arm.slot if arm.slot in MARKERS else BASE for arm in content.arms()}
    measures = {row["measure"] for row in known}
    scales = {content.scale(measure) for measure in measures}
    if len(scales) > 1:
        return None
    scale = scales.pop()
    unit = scale.factor
    comparable = scale.unit == "rate"
    marks = Marks("%" if comparable else f"({unit_label(scale)}; the paper's in %)")
    shift = {arm: 0.22 * (order - (len(arms) - 1) / 2) for order, arm in enumerate(arms)}

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left = 0.15 if narrow else min(0.4 + CHARACTER * max(len(label) for label in labels), 2.0)
        row_height = (0.34 if narrow else 0.22) + 0.14 * len(arms)
        key_height = 0.2 * len(arms)
        height, gap = row_height * len(labels), 0.35
        inner = width - left - 0.15
        each = inner if narrow else (inner - gap) / 2
        first = 0.3 + key_height + 0.2
        below = first + height + 1.0
        sheet_height = (below + height + 0.5) if narrow else first + height + 0.5
        board = sheet(width, sheet_height)
        for order, arm in enumerate(arms):
            _key_line(board, 0.1, 0.14 + 0.2 * order, arm, looks.get(arm, BASE))
        boxes = [(left, first), (left, below)] if narrow else [(left, first), (left + each + gap, first)]
        mine = "Ours" if comparable else f"Ours: {unit_label(scale)}, another quantity"
        sides = [
            (mine, [_numbers(row, "mean", "ci_low", "ci_high") for row in ours], unit),
            (f"The paper's ({figure['model']})", [_numbers(point, "value", "low", "high") for point in points], 100.0),
        ]
        shares = limits([v for _, numbers, _ in sides for triple in numbers if triple for v in triple])
        for side, ((x, y), (title, numbers, factor)) in enumerate(zip(boxes, sides, strict=True)):
            axes = panel(board, x, y, each, height)
            write_at(board, x, y - 0.14, shorten(title, 48), weight="bold", size=9.5, va="center")
            span = limits([v for triple in numbers if triple for v in triple])
            if comparable:
                span = (-0.02, max(shares[1], 0.05))
            elif side == 1:
                span = (-0.02, max(span[1], 0.05))
            row_axes(axes, len(labels), span, factor, narrow)
            if side == 1:
                axes.set_facecolor(light("band"))
            axes.set_xlabel(
                content.measure(next(iter(measures))).axis if side == 0 and len(measures) == 1 else "answers (%)"
            )
            for point, triple in zip(points, numbers, strict=True):
                if triple:
                    arm = str(point["arm"])
                    _mark(
                        axes,
                        labels.index(str(point["at"])) + shift[arm],
                        triple,
                        factor,
                        looks.get(arm, BASE),
                        side == 1,
                        (f"{('ours', 'the paper')[side]}, {point['at']}, {arm}", marks),
                    )
            for row, label in enumerate(labels):
                if narrow:
                    row_text(axes, 0, row - 0.5 * (1 - 0.1), shorten(label, 34), size=8, dx=2)
                elif side == 0:
                    row_text(axes, 0, row, shorten(label, 26), dx=-10, ha="right", size=9)
        return board

    alt = f"{figure['title']}. The paper's: " + "; ".join(
        f"{point['at']}, {point['arm']} {number(point['value'], RATE)}" for point in points
    )
    alt += ". Ours: " + "; ".join(
        f"{point['at']}, {point['arm']} {number(row['mean'], scale)} {interval(row['ci_low'], row['ci_high'], scale)}".rstrip()
        for point, row in zip(points, ours, strict=True)
        if row is not None
    )
    missing = len(points) - len(known)
    caption = (
        "Both panels are shares of answers on axes of one range. "
        if comparable
        else f"The two panels cannot be compared: ours are {unit_label(scale)}, the paper's shares of answers. Only the order of "
        "the rows and arms can be. "
    )
    caption += f"Ours with {content.level} intervals; shaded, the paper's {figure['section']}: {figure['read']}."
    if missing:
        caption += f" {missing} of the {len(points)} numbers of the paper have no counterpart in this run."
    return draw(f"paper_{index}", str(figure["title"]), alt, caption, paint, marks)


def _key(figure: Mapping[str, Any], point: Mapping[str, Any]) -> tuple[str, str, str, str]:
    measure, condition = point["measure"] or figure["measure"], point["condition"] or figure["condition"]
    return str(measure), str(condition), str(point["question"]), str(point["arm"])


def _numbers(row: Mapping[str, Any] | None, *keys: str) -> list[float | None] | None:
    return None if row is None else [row[key] for key in keys]


def _mark(
    axes: Axes,
    y: float,
    triple: Sequence[float | None],
    unit: float,
    slot: str,
    hollow: bool,
    said: tuple[str, Marks],
) -> None:
    mean, low, high = (None if value is None else unit * value for value in triple)
    colour = light(slot)
    assert mean is not None
    what, marks = said
    mark = Mark(what, "", mean, low, high)
    if low is not None and high is not None:
        bar = axes.plot([low, high], [y, y], color=colour, linewidth=1.4, solid_capstyle="round", zorder=2)
        marks.on(bar, mark)
    style: dict[str, Any] = {"markeredgecolor": colour, "markeredgewidth": 1.3}
    style["markerfacecolor"] = light("paper") if hollow else colour
    marks.on(axes.plot([mean], [y], marker=MARKERS[slot], markersize=5.5, linestyle="", zorder=3, **style), mark)


def _key_line(board: Figure, x: float, y: float, arm: str, slot: str) -> None:
    width, height = board.get_size_inches()
    from matplotlib.lines import Line2D

    mark = Line2D([x / width], [1 - y / height], marker=MARKERS[slot], color=light(slot), markersize=5, linestyle="")
    mark.set_transform(board.transFigure)
    board.add_artist(mark)
    write_at(board, x + 0.14, y, shorten(arm, 36), size=8.5, weight="bold", color=light(slot), va="center")
