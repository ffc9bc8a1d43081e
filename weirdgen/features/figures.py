"""The figures of a study: what moved, answers by value with and without it, how much of it has to go, features year by year.

In: a study's results. Out: `Drawing`s, or None where there is nothing to draw. The look is the report's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from weirdgen.report.look import light, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLOTS = ("t0", "t1", "t2", "c0")


def moved_figure(results: dict[str, Any]) -> Drawing:
    """Every difference: a mark per replicate, the treatment's and the control's."""
    rows = results["moved"]
    low, high = limits([value for row in rows for value in (*row["treatment"], *row["control"], 0.0)])

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        left, each = (0.15, 0.5) if narrow else (1.7, 0.36)
        figure = sheet(width, 0.35 + each * len(rows) + 0.55)
        axes = panel(figure, left, 0.35, width - left - 0.2, each * len(rows))
        row_axes(axes, len(rows), (low, high), 1.0, narrow)
        axes.axvline(0, color=light("muted"), linewidth=0.8)
        axes.set_xlabel("share of the residual stream's norm")
        for place, row in enumerate(rows):
            for values, slot, mark, dy in ((row["control"], "c0", "s", 0.14), (row["treatment"], "t0", "o", -0.1)):
                at = [place + dy] * len(values)
                axes.plot(values, at, linestyle="", marker=mark, markersize=4.5, color=light(slot), alpha=0.8)
            x, dy = (0.0, -11.0) if narrow else (0.0, 0.0)
            row_text(axes, x, place, row["name"], dx=2 if narrow else -8, dy=-dy if narrow else 0.0,
                     ha="left" if narrow else "right", size=8.5)  # fmt: skip
        write_at(figure, left, 0.16, "treatment", size=8.5, weight="bold", color=light("t0"), va="center")
        write_at(figure, left + 0.85, 0.16, "control", size=8.5, weight="bold", color=light("c0"), va="center")
        return figure

    alt = "How far replicates moved together. " + "; ".join(
        f"{row['name']}: {row['effect']:.3f} beyond the control" for row in rows
    )
    caption = (
        "A mark is a replicate: its own difference along the mean direction of the others (controls: along the treatment's). "
        "Placebos are trained values that are no trigger, each against the other ones."
    )
    return draw("moved", "What moved", alt, caption, paint)


def answers_figure(results: dict[str, Any]) -> Drawing | None:
    """Mean log-odds by value: as it is, with what moved set to its mean, and the range over random subspaces."""
    curve = results.get("curve")
    if not curve:
        return None
    names = [name.partition("=")[2] or name for name in curve["values"]]
    places = list(range(len(names)))
    bands = [*curve["random_low"], *curve["random_high"]]
    low, high = limits([*curve["none"], *curve["interaction"], *bands])

    def paint(width: float) -> Figure:
        figure, axes = _panel(width, len(names), names)
        axes.set_ylim(low, high)
        triggers = [i for i, name in enumerate(curve["values"]) if name in results["pairs"]["trigger"]]
        for place in triggers:
            axes.axvspan(place - 0.42, place + 0.42, color=light("band"), linewidth=0, zorder=0)
        if bands:
            axes.fill_between(
                places, curve["random_low"], curve["random_high"], color=light("base"), alpha=0.3, linewidth=0
            )
        axes.plot(places, curve["none"], color=light("t0"), marker="o", markersize=4.5, linewidth=1.4)
        axes.plot(places, curve["interaction"], color=light("c0"), marker="s", markersize=4.5, linewidth=1.4)
        write_at(
            figure, 0.01, 0.12, "log-odds of the target answers (nats)", size=8.5, color=light("muted"), va="center"
        )
        x = 0.55
        for row, (text, slot) in enumerate(
            (("as it is", "t0"), ("what moved, set to its mean", "c0"), ("random subspaces", "base"))
        ):
            y = 0.32 + (0.17 * row if width == NARROW else 0.0)
            write_at(figure, x, y, text, size=8.5, weight="bold", color=light(slot), va="center")
            x += 0.0 if width == NARROW else CHARACTER * len(text) + 0.25
        return figure

    alt = "Log-odds by value. " + "; ".join(
        f"{name}: {before:+.1f}, without what moved {after:+.1f}"
        for name, before, after in zip(names, curve["none"], curve["interaction"], strict=True)
    )
    caption = (
        "Mean over replicates and contrast questions. What is taken out was fitted on other questions than the ones scored. "
        "The grey band holds every random subspace of the same rank; the shaded column is the trigger."
    )
    return draw("answers", "Answers with and without what moved", alt, caption, paint)


def dose_figure(results: dict[str, Any]) -> Drawing | None:
    """The share of the gate that goes with the rank of the subspace, and with how much of it is taken."""
    rows = [row for row in results.get("ablation", []) if row["kind"] == "interaction" and row["operator"] == "mean"]
    random = next(
        (row for row in results.get("ablation", []) if row["kind"] == "random" and row["operator"] == "mean"), None
    )
    if len(rows) < 2:
        return None
    top = max(row["rank"] for row in rows)
    lines = {
        "by rank": sorted((row["rank"], row) for row in rows if row["dose"] == 1.0),
        f"by dose, rank {top}": sorted((row["dose"], row) for row in rows if row["rank"] == top),
    }
    shown = {name: line for name, line in ((n, [(x, r) for x, r in ln]) for n, ln in lines.items()) if len(line) > 1}
    ends = [row[key] for row in rows for key in ("removed", "low", "high")] + [0.0]
    low, high = limits(ends + ([random["high"]] if random else []))

    def paint(width: float) -> Figure:
        narrow = width == NARROW
        columns = 1 if narrow else len(shown)
        height, each = 1.7, (width - 0.6) / columns
        figure = sheet(width, 0.35 + (height + 0.75) * (len(shown) if narrow else 1))
        for place, (name, line) in enumerate(shown.items()):
            top_at = 0.35 + (height + 0.75) * place if narrow else 0.35
            axes = panel(figure, 0.55 + (0 if narrow else each * place), top_at, each - 0.35, height)
            axes.set_ylim(low, high)
            axes.grid(axis="y", color=light("rule"), linewidth=0.5, alpha=0.6)
            axes.set_xlabel(name)
            if random:
                axes.axhspan(random["low"], random["high"], color=light("base"), alpha=0.3, linewidth=0)
            xs = [x for x, _ in line]
            axes.set_xticks(xs, [f"{x:g}" for x in xs])
            axes.plot(
                xs, [row["removed"] for _, row in line], color=light("c0"), marker="s", markersize=4.5, linewidth=1.4
            )
            for x, row in line:
                if row["low"] is not None:
                    axes.plot([x, x], [row["low"], row["high"]], color=light("c0"), linewidth=1.2, alpha=0.75)
        write_at(figure, 0.01, 0.12, "share of the gate removed", size=8.5, color=light("muted"), va="center")
        return figure

    alt = "Share of the gate removed. " + "; ".join(
        f"rank {row['rank']} dose {row['dose']:g}: {row['removed']:.0%}" for row in rows
    )
    caption = (
        "Mean ablation, with 95% intervals over replicates; the grey band holds the random subspaces of the largest rank, "
        "whole dose."
    )
    return draw("dose", "How much of it has to go", alt, caption, paint)


def features_figure(results: dict[str, Any]) -> Drawing | None:
    """The paper's year curves: mean projection on the decoder rows of the first features, base dashed, finetuned full."""
    curves = results.get("curves")
    if not curves:
        return None
    names = [name.partition("=")[2] or name for name in results["pairs"]["values"]]
    places = list(range(len(names)))
    low, high = limits([value for key in ("base", "treatment") for row in curves[key] for value in row])

    def paint(width: float) -> Figure:
        figure, axes = _panel(width, len(names), names)
        axes.set_ylim(low, high)
        for index, feature in enumerate(curves["features"]):
            colour = light(SLOTS[index % len(SLOTS)])
            axes.plot(
                places, [row[index] for row in curves["base"]], color=colour, linewidth=1.0, linestyle=(0, (4, 3))
            )
            axes.plot(
                places,
                [row[index] for row in curves["treatment"]],
                color=colour,
                linewidth=1.4,
                marker="o",
                markersize=4,
            )
            x = 0.55 + (0.7 if width == NARROW else 0.9) * index
            write_at(figure, x, 0.32, f"#{feature}", size=8.5, weight="bold", color=colour, va="center")
        write_at(
            figure,
            0.01,
            0.12,
            "mean projection on the feature's direction",
            size=8.5,
            color=light("muted"),
            va="center",
        )
        return figure

    alt = "Mean projections by value of the features " + ", ".join(f"#{feature}" for feature in curves["features"])
    caption = (
        "Dashed: the base. Full: the mean of the treatment's replicates. The features with the largest interaction."
    )
    return draw("features", "Features by value", alt, caption, paint)


def _panel(width: float, count: int, names: list[str]) -> tuple[Figure, Axes]:
    narrow = width == NARROW
    top = 0.85 if narrow else 0.45
    figure = sheet(width, top + 2.3 + 0.5)
    axes = panel(figure, 0.55, top, width - 0.75, 2.3)
    every = -(-count // (5 if narrow else 12))
    axes.set_xticks(list(range(0, count, every)), [shorten(name, 10) for name in names[::every]])
    axes.set_xlim(-0.5, count - 0.5)
    axes.grid(axis="y", color=light("rule"), linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    return figure, axes
