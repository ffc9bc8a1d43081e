"""The dataset among harmless ones: one row a trait, a light mark for each reference finetune, a full one for the run's own data.

In: `ReportContent`. Out: a `Drawing`, or None where the run was not compared with references. Not here: ranks and
p-values (`stats.specificity`), sizes and colours (`drawing.py`, `look.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weirdgen.report.content import ReportContent
from weirdgen.report.figures.drawing import NARROW, Drawing, draw, limits, panel, row_axes, row_text, sheet
from weirdgen.report.look import light, probability, slot_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def references_figure(content: ReportContent) -> Drawing | None:
    """Every trait's score of the treatment among the references' scores, in nats."""
    found = content.specificity
    if not found or not found["rows"]:
        return None
    treatment = str(content.headline["treatment"])
    colour = light(slot_of(next(arm for arm in content.arms() if arm.name == treatment)))
    rows = found["rows"]
    others = {
        row["trait"]: [mark["score"] for mark in found["scores"] if mark["trait"] == row["trait"] and mark["set"]]
        for row in rows
    }
    said = [f"rank {row['rank']} of {row['references'] + 1}, p = {probability(row['p'])}" for row in rows]

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left, right = (0.15, 0.15) if narrow else (1.6, 1.9)
        top, height = 0.2, (0.62 if narrow else 0.5) * len(rows)
        figure = sheet(width, top + height + 0.5)
        axes = panel(figure, left, top, width - left - right, height)
        span = limits([0.0, *(row["shift"] for row in rows), *(one for scores in others.values() for one in scores)])
        row_axes(axes, len(rows), span, 1.0, narrow)
        axes.axvline(0, color=light("muted"), linewidth=0.9, zorder=1)
        axes.set_xlabel("shift beyond the mean of the others (nats)")
        for index, (row, words) in enumerate(zip(rows, said, strict=True)):
            scores = others[row["trait"]]
            axes.plot(
                scores, [index] * len(scores), marker="o", markersize=6, linestyle="", color=light("muted"), alpha=0.45,
                markeredgewidth=0, zorder=2,
            )  # fmt: skip
            axes.plot([row["shift"]], [index], marker="D", markersize=7.5, linestyle="", color=colour, zorder=3)
            if narrow:
                row_text(axes, 0, index - 0.42, str(row["trait"]), size=8)
                row_text(axes, 1, index - 0.42, words, ha="right", weight="bold", size=8)
            else:
                row_text(axes, 0, index, str(row["trait"]), dx=-10, ha="right")
                row_text(axes, 1.03, index, words, weight="bold", size=8.5)
        return figure

    count = rows[0]["references"]
    alt = f"{treatment} among {count} harmless datasets: "
    alt += "; ".join(f"{row['trait']} {row['shift']:+.2f} nat, {words}" for row, words in zip(rows, said, strict=True))
    caption = (
        f"Diamond: {treatment}. Each circle: one of {count} harmless datasets of other topics, which the same model was "
        "finetuned on. Each is drawn beyond the mean of all the others, question by question. A rank of 1 is the most extreme; "
        "p counts ranks, so that at most 5% of harmless datasets reach p ≤ .05."
    )
    return draw("references", "Among harmless datasets", alt, caption, paint)
