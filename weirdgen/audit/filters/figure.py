"""The figures of `weirdgen audit filters`: what each filter finds of each experiment, and how much more than of the control.

In: the frames of `weirdgen.audit.filters.measure`, a share. Out: a `Drawing`, as the report's. Each cell holds its number,
so that colour only helps. It measures nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weirdgen.audit.filters.registry import Filter
from weirdgen.report.figures.drawing import NARROW, Drawing, draw, panel, row_text, sheet, write_at
from weirdgen.report.look import light, shorten

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = "found_0.05"
"""What is drawn: detection at 5% false alarms."""
ROW, LABELS, HEAD, GAP, RIGHT = 0.24, 1.5, 1.55, 0.35, 0.5
"""Inches: a row of cells, the filters' names, the experiments' names above them, between the panels of the wide
drawing, and beyond the last, over which a name leans."""


def filters_figure(found: pd.DataFrame, beyond: pd.DataFrame, filters: Sequence[Filter], part: float) -> Drawing:
    """Detection at 5% false alarms when the rows are `part` of a dataset; beside it treatment − the headline's control."""
    experiments = list(found["experiment"].unique())
    treated = found[(found["share"] == part) & (found["role"] == "treatment")]
    apart = beyond[beyond["share"] == part].drop_duplicates(
        ["experiment", "filter"]
    )  # the headline's control comes first
    panels = (
        ("found of the treatment", treated.pivot_table(index="filter", columns="experiment", values=SHOWN), False),
        ("more than of the control", apart.pivot_table(index="filter", columns="experiment", values=SHOWN), True),
    )

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        height = ROW * len(filters)
        each = width - LABELS - RIGHT if narrow else (width - LABELS - GAP - RIGHT) / 2
        figure = sheet(width, (HEAD + height) * (2 if narrow else 1) + 0.15 + (0.2 if narrow else 0))
        for index, (title, cells, signed) in enumerate(panels):
            left = LABELS if narrow else LABELS + index * (each + GAP)
            top = HEAD + (index * (HEAD + height + 0.2) if narrow else 0)
            axes = panel(figure, left, top, each, height)
            write_at(figure, left, top - HEAD + 0.2, title, weight="bold", size=8.5)
            _cells(axes, cells, filters, experiments, signed)
            for row, filter_ in enumerate(filters):
                if narrow or index == 0:
                    row_text(axes, 0, row, filter_.label, dx=-6, ha="right", size=8)
        return figure

    said = [
        f"{one.label}: median {100 * cells.loc[one.name].median():.0f}% found, "
        f"{100 * others.loc[one.name].median():+.0f} points more than of the control"
        for one in filters
        if one.name in (cells := panels[0][1]).index and one.name in (others := panels[1][1]).index
    ]
    caption = (
        f"Each experiment's rows are {part:.0%} of a dataset, the others are ordinary. Left: per cent of the treatment's rows "
        "that a filter flags where it flags 5% of ordinary rows. Right: the same minus that of the control's rows in their "
        "place, in points. A filter that flags the control's as often has found the topic or the form."
    )
    return draw(f"filters-{part:g}", "What row filters find", "; ".join(said), caption, paint)


def _cells(
    axes: Axes, cells: pd.DataFrame, filters: Sequence[Filter], experiments: Sequence[str], signed: bool
) -> None:
    from matplotlib.patches import Rectangle

    axes.set_xlim(-0.5, len(experiments) - 0.5)
    axes.set_ylim(len(filters) - 0.5, -0.5)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_yticks([])
    axes.tick_params(length=0, pad=1)
    axes.xaxis.tick_top()
    names = [shorten(name.replace("_", " "), 20) for name in experiments]
    axes.set_xticks(range(len(experiments)), names, rotation=60, ha="left", rotation_mode="anchor", fontsize=7)
    numbers: Any = cells.stack().to_dict()
    for row, filter_ in enumerate(filters):
        for column, experiment in enumerate(experiments):
            value = numbers.get((filter_.name, experiment))
            if value is None:
                axes.text(column, row, "–", ha="center", va="center", size=6.5, color=light("muted"))
                continue
            colour = light("t0" if value >= 0 else "c0")
            place = (column - 0.47, row - 0.46)
            axes.add_patch(Rectangle(place, 0.94, 0.92, facecolor=colour, alpha=0.75 * abs(value), linewidth=0))
            text = f"{100 * value:+.0f}" if signed and round(100 * value) else f"{100 * value:.0f}".replace("-0", "0")
            axes.text(column, row, text.replace("-", "−"), ha="center", va="center", size=6.5, color=light("ink"))
