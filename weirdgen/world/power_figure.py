"""The figure and the table of `weirdgen world power`, and the files that it writes.

In: the rows of `world.power.measure`. Out: `power_runs.parquet` (one row per run), `power.csv` (one row per control and
dose), `power.svg` (one column per factor: effects above, rates with Wilson intervals below), and lines to print. It
measures nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.report.look import light
from weirdgen.world.power import rates

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {"positive": "t0", "negative": "c0", "unshared": "c1"}
MARKERS = {"positive": "o", "negative": "s", "unshared": "D"}
LABELS = {
    "positive": "world_era: found",
    "negative": "world_null: falsely flagged",
    "unshared": "world_null, no seed in both arms",
}
TITLES = {
    "none": "as shipped",
    "rows": "rows",
    "epochs": "epochs",
    "learning_rate": "learning rate",
    "rank": "rank of the adapter",
    "mixing": "share of neutral rows",
    "replicates": "replicates per arm",
}
LOGARITHMIC = ("rows", "learning_rate", "rank", "mixing")


def write(runs: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the three files into `folder` (made if missing); returns their paths, the figure last."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("power_runs.parquet", "power.csv", "power.svg")]
    runs.to_parquet(files[0])
    rates(runs).round(6).to_csv(files[1], index=False)
    draw(runs, files[2])
    return files


def lines(runs: pd.DataFrame) -> list[str]:
    """The table, for a terminal."""
    table = [f"{'control':9} {'dose':24} {'n/arm':>5} {'shift':>9} {'rate':>6}  {'95% Wilson':13} {'effect':>8}  range"]
    for row in rates(runs).to_dict("records"):
        dose = TITLES[row["factor"]] if row["factor"] == "none" else f"{TITLES[row['factor']]} {row['value']:g}"
        hits, interval = f"{row['hits']}/{row['runs']}", f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        spread = f"[{row['effect_low']:+.3f}, {row['effect_high']:+.3f}]"
        table.append(
            f"{row['control']:9} {dose:24} {row['replicates']:5} {hits:>9} {row['rate']:6.3f}  {interval:13} "
            f"{row['effect']:+8.3f}  {spread}"
        )
    return table


def draw(runs: pd.DataFrame, file: Path) -> None:
    """Effects of single runs above, share of runs with a shift below; one column per factor."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    runs = runs.assign(value=runs["value"].where(runs["factor"] != "mixing", 1 - runs["value"]))
    table = rates(runs)
    factors = [factor for factor in table["factor"].unique() if factor != "none"] or ["none"]
    with mpl.rc_context({"svg.hashsalt": "weirdgen", "font.size": 8, "svg.fonttype": "none"}):
        figure = Figure(figsize=(1.2 + 2.5 * len(factors), 4.6), layout="constrained", facecolor=light("paper"))
        axes = figure.subplots(2, len(factors), squeeze=False, sharey="row", sharex="col")
        for column, factor in enumerate(factors):
            _effects(axes[0, column], runs[runs["factor"] == factor])
            _rates(axes[1, column], table[table["factor"] == factor])
            axes[1, column].set_xlabel("share of rows not neutral" if factor == "mixing" else TITLES[factor])
            if factor in LOGARITHMIC:
                axes[1, column].set_xscale("log")
        axes[0, 0].set_ylabel("effect of one run (nat)")
        axes[1, 0].set_ylabel("runs with a shift")
        axes[1, 0].set_ylim(-0.04, 1.04)
        figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
        figure.savefig(file, metadata={"Date": None})


def _effects(axis: Any, runs: pd.DataFrame) -> None:
    _plain(axis)
    for control, mine in runs.groupby("control", sort=False):
        spread = mine.groupby("value")["effect"].agg(["mean", "min", "max"])
        colour = light(COLOURS[str(control)])
        axis.fill_between(spread.index, spread["min"], spread["max"], color=colour, alpha=0.18, linewidth=0)
        axis.plot(spread.index, spread["mean"], color=colour, marker=MARKERS[str(control)], markersize=4, linewidth=1.2)


def _rates(axis: Any, table: pd.DataFrame) -> None:
    _plain(axis)
    axis.axhline(0.05, color=light("muted"), linestyle=":", linewidth=1, label="5%")
    for control, mine in table.groupby("control", sort=False):
        name = str(control)
        errors = [(mine["rate"] - mine["ci_low"]).clip(lower=0), (mine["ci_high"] - mine["rate"]).clip(lower=0)]
        style = {"color": light(COLOURS[name]), "marker": MARKERS[name], "markersize": 4, "linewidth": 1.2}
        axis.errorbar(mine["value"], mine["rate"], yerr=errors, capsize=2, label=LABELS[name], **style)


def _plain(axis: Any) -> None:
    axis.set_facecolor(light("paper"))
    axis.grid(axis="y", color=light("rule"), linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
