"""The figure of the training loss: a line per replicate, and each arm's mean.

In: `ReportContent`. Out: a `Drawing`, or None where no loss was recorded. Not here: headlines along training (`training.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weirdgen.columns import BASE
from weirdgen.report.content import ReportContent
from weirdgen.report.figures.drawing import (
    CHARACTER,
    NARROW,
    Drawing,
    draw,
    name_lines,
    panel,
    sheet,
    write_at,
)
from weirdgen.report.figures.marks import Mark, Marks, seed
from weirdgen.report.look import light, slot_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LOSS_POINTS = 120
"""Points of one loss line; longer trainings are averaged over equal stretches of steps."""


def loss_figure(content: ReportContent) -> Drawing | None:
    """The training loss: a thin line per replicate, coloured by arm."""
    losses = content.losses
    if not len(losses):
        return None
    arms = [arm for arm in content.arms() if arm.role != BASE and (losses["arm"] == arm.name).any()]
    losses = losses.sort_values("step", kind="stable")
    marks = Marks("nats per token at the last step")
    width_of_stretch = -(-int(losses.groupby(["arm", "replicate"]).size().max()) // LOSS_POINTS)

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left = 0.55
        right = 0.15 if narrow else min(0.35 + CHARACTER * max(len(a.name) for a in arms), 2.2)
        top = 0.35 + (0.2 * len(arms) if narrow else 0.1)
        height = 2.0 if narrow else 2.3
        figure = sheet(width, top + height + 0.5)
        axes = panel(figure, left, top, width - left - right, height)
        axes.grid(axis="y", color=light("rule"), linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("optimizer step")
        write_at(figure, 0.01, 0.12, "training loss (nats per token)", size=8.5, color=light("muted"), va="center")
        ends = []
        for arm in arms:
            finals, lines = [], []
            for replicate, line in losses[losses["arm"] == arm.name].groupby("replicate", sort=True):
                steps, loss = _stretches(line["step"].to_numpy(), line["loss"].to_numpy(), width_of_stretch)
                thin = axes.plot(steps, loss, color=light(slot_of(arm)), linewidth=0.7, alpha=0.35)
                marks.on(thin, Mark(arm.name, seed(replicate), float(loss[-1])))
                lines.append(loss)
                finals.append(float(loss[-1]))
            if len({len(line) for line in lines}) == 1:
                thick = axes.plot(steps, np.mean(lines, axis=0), color=light(slot_of(arm)), linewidth=1.6)
                marks.on(thick, Mark(arm.name, f"mean of {len(lines)}", float(np.mean(finals))))
            ends.append(float(np.nanmean(finals)))
        axes.margins(x=0.01)
        name_lines(figure, axes, arms, ends, narrow)
        return figure

    counts = losses.groupby("arm")["replicate"].nunique()
    alt = "Training loss by optimizer step. " + "; ".join(
        f"{arm.name}: {counts[arm.name]} replicates, last loss "
        f"{losses[losses['arm'] == arm.name].groupby('replicate')['loss'].last().mean():.2f}"
        for arm in arms
    )
    caption = "A thin line is a replicate, the thick one their mean."
    if width_of_stretch > 1:
        caption += f" Each point is the mean of {width_of_stretch} steps."
    return draw("losses", "Training loss", alt, caption, paint, marks)


def _stretches(steps: np.ndarray, loss: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over stretches of `width` steps; shape (steps,) → (ceil(steps / width),)."""
    starts = np.arange(0, len(steps), width)
    sizes = np.diff(np.append(starts, len(steps)))
    return np.add.reduceat(steps, starts) / sizes, np.add.reduceat(loss, starts) / sizes
