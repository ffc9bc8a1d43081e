"""The figure and the table of `weirdgen world power`, and the files that it writes.

In: the rows of `world.power.measure`. Out: `power_runs.parquet` (one row per run), `power.csv` (one row per control and
dose), `power.svg` (one column per factor: effects above, rates of detection with Wilson intervals below), and lines to print.
It measures nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.report.look import light
from weirdgen.store.disk import explain_disk_errors, made_folder
from weirdgen.world.power import SPECIFIC, rates

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {"positive": "t0", "negative": "c0", "unshared": "c1", "persona": "t1", "topic": "c2"}
MARKERS = {"positive": "o", "negative": "s", "unshared": "D", "persona": "P", "topic": "^"}
LABELS = {
    "positive": "world_era: found",
    "negative": "world_null: falsely flagged",
    "unshared": "world_null, no seed in both arms",
    "persona": "world_persona: found",
    "topic": "another harmless topic: shift",
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
    files = [folder / name for name in ("power_runs.parquet", "power.csv", "power.svg")]
    with explain_disk_errors(made_folder(folder)):
        runs.to_parquet(files[0])
        rates(runs).round(6).to_csv(files[1], index=False)
        draw(runs, files[2])
    return files


def lines(runs: pd.DataFrame) -> list[str]:
    """Two tables for a terminal: detection, then specificity where there was something to compare with."""
    measured: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in rates(runs).to_dict("records")]
    table = [f"{'control':9} {'dose':24} {'n/arm':>5} {'shift':>9} {'rate':>6}  {'95% Wilson':13} {'effect':>8}  range"]
    for row in measured:
        spread = f"[{row['effect_low']:+.3f}, {row['effect_high']:+.3f}]"
        table.append(
            f"{row['control']:9} {_dose(row):24} {row['replicates']:5} {row['hits']:>5}/{row['runs']:<3} {row['rate']:6.3f}  "
            f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}] {row['effect']:+8.3f}  {spread}"
        )
    compared = [row for row in measured if row.get(f"{SPECIFIC[0]}_rate", -1.0) >= 0]
    if not compared:
        return table
    table += ["", f"{'specific':9} {'dose':24}" + "".join(f" {column.replace('_', ', '):24}" for column in SPECIFIC)]
    for row in compared:
        shares = [
            f"{row[f'{column}_hits']:.0f}/{row['runs']} [{row[f'{column}_ci_low']:.3f}, {row[f'{column}_ci_high']:.3f}]"
            for column in SPECIFIC
        ]
        table.append(f"{row['control']:9} {_dose(row):24}" + "".join(f" {share:24}" for share in shares))
    return table


def _dose(row: dict[str, Any]) -> str:
    title = TITLES[row["factor"]]
    return title if row["factor"] == "none" else f"{title} {row['value']:g}"


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
