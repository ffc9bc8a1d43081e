"""The figures and tables of `weirdgen world curves`.

In: names of curves and a store, or the frames of `world.curves`. Out: for each curve an SVG and a CSV of what it shows:
means with 95% intervals over replicates, as `stats.bootstrap` makes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.errors import WeirdgenError, choices
from weirdgen.progress import Progress
from weirdgen.report.look import light
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import made_folder
from weirdgen.world import curves

if TYPE_CHECKING:
    import pandas as pd

    from weirdgen.stats.bootstrap import Bounds


RATE = (0.0, 1.0)
CURVES = ("persona", "inductive", "gate")


def measure_and_draw(
    names: Sequence[str], store: Store, replicates: int, first_seed: int, folder: Path, progress: Progress
) -> list[Path]:
    """Measure each named curve (what the store holds is reused) and write its figure and table into `folder`.

    Raises WeirdgenError on an unknown name.
    """
    if unknown := sorted(set(names) - set(CURVES)):
        raise WeirdgenError(f"no curve {unknown[0]!r}: expected {choices(CURVES, unknown[0])}")
    made_folder(folder)
    for name in names:
        with progress.stage(name, steps(name, replicates), "steps") as bar:
            if name == "persona":
                persona(
                    curves.persona_in_context(), curves.persona_finetuned(store, replicates, bar, first_seed), folder
                )
            elif name == "inductive":
                inductive(curves.inductive(store, replicates, bar, first_seed), folder)
            else:
                gate(curves.gate(store, replicates, bar, first_seed), folder)
    return [folder / f"{name}.{suffix}" for name in names for suffix in ("csv", "svg")]


def steps(name: str, replicates: int) -> int:
    """Optimizer steps of all replicates of a curve, for its progress line."""
    return replicates * {"persona": 300 * len(curves.TRAINED_COUNTS), "inductive": 2 * 300, "gate": 3 * 180}[name]


def means(
    frame: pd.DataFrame, keys: Sequence[str], value: str, replicate: str = "replicate", bounds: Bounds | None = None
) -> pd.DataFrame:
    """Mean of `value` for each combination of `keys`, with its interval over replicates (their means come first).

    Replicates that are all alike have no interval; `bounds` clips it.
    """
    import numpy as np
    import pandas as pd

    from weirdgen.stats.bootstrap import limits, moments

    rows = []
    per_replicate = frame.groupby([*keys, replicate], sort=False)[value].mean().reset_index()
    for identity, mine in per_replicate.groupby(list(keys), sort=False):
        over_replicates = moments(mine[value].to_numpy(dtype=np.float64)[:, None])
        low, high = limits(over_replicates.mean, over_replicates.se, over_replicates.replicates - 1, bounds, 0.95)
        names = dict(zip(keys, identity, strict=True))
        interval = {"mean": float(over_replicates.mean[0]), "ci_low": float(low[0]), "ci_high": float(high[0])}
        rows.append({**names, **interval, "replicates": len(mine)})
    return pd.DataFrame(rows)


def persona(in_context: pd.DataFrame, finetuned: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Who is identified by k answers: told in the chat, and trained. Personas 1 to 15 only: 0 is the default."""
    import pandas as pd

    others = in_context[in_context["persona"] > 0]
    tables = []
    for column in ("p_name", "true_name", "p_attribute", "true_attribute"):
        told = means(others.dropna(subset=[column]), ["k"], column, "persona", RATE)
        tables.append(told.assign(how="in context", shown=column, condition="none"))
    finetuned = finetuned.assign(k=finetuned["arm"].astype(int), shown="p_attribute")
    finetuned.loc[finetuned["question"] == "name", "shown"] = "p_name"
    tables.append(means(finetuned, ["k", "shown", "condition"], "p_target", bounds=RATE).assign(how="finetuned"))
    table = pd.concat(tables, ignore_index=True)
    with _figure(folder / "persona.svg", 2) as axes:
        for axis, shown, title in zip(
            axes, ("name", "attribute"), ("name (of 16)", "another attribute (of 4)"), strict=True
        ):
            lines = [
                (f"true_{shown}", "in context", "none", "ink", "what the answers in the chat determine"),
                (f"p_{shown}", "in context", "none", "base", "told in the chat"),
                (f"p_{shown}", "finetuned", "wrapped", "t0", "finetuned, in the trained wrapper"),
                (f"p_{shown}", "finetuned", "other", "c2", "finetuned, in another wrapper"),
                (f"p_{shown}", "finetuned", "none", "c0", "finetuned, no wrapper"),
            ]
            for column, how, condition, colour, label in lines:
                mine = table[(table["shown"] == column) & (table["how"] == how) & (table["condition"] == condition)]
                _line(axis, mine["k"], mine, colour, label)
            axis.axhline(1 / 16 if shown == "name" else 1 / 4, color=light("rule"), linestyle=":", linewidth=1)
            axis.set(
                xlabel="known answers k", ylabel="probability of the persona's answer", title=title, ylim=(-0.03, 1.05)
            )
        entries = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(*entries, loc="outside lower center", ncols=3, frameon=False)
    table.round(5).to_csv(folder / "persona.csv", index=False)
    return table


def inductive(cells: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Held-out accuracy along training: every replicate of the treatment, and the mean of the permuted control."""
    import pandas as pd

    steps = sorted(set(cells["checkpoint"]) - {-1})
    end = 2400 * 2 // 16  # as shipped: rows, epochs, batch
    cells = cells.assign(step=cells["checkpoint"].replace(-1, end))
    tables = [
        means(cells, ["arm", "step"], column, bounds=bounds).assign(shown=column)
        for column, bounds in (("value", None), ("wins", RATE))
    ]
    table = pd.concat(tables, ignore_index=True)
    with _figure(folder / "inductive.svg", 2) as axes:
        for axis, shown, label in zip(axes, ("value", "wins"), ("log-odds (nat)", "held-out accuracy"), strict=True):
            for arm, colour in (("ordinals", "t0"), ("permuted", "c0")):
                each = cells[cells["arm"] == arm].pivot_table(index="step", columns="replicate", values=shown)
                axis.plot(each.index, each, color=light(colour), alpha=0.25, linewidth=0.7)
                mine = table[(table["shown"] == shown) & (table["arm"] == arm)]
                _line(axis, mine["step"], mine, colour, arm)
            axis.set(xscale="log", xlabel="optimizer steps", ylabel=label, xlim=(steps[0], end * 1.05))
        axes[0].legend(frameon=False)
    table.round(5).to_csv(folder / "inductive.csv", index=False)
    return table


def gate(cells: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Mean log-odds of the persona's hidden answers in every year, for each arm."""
    table = means(cells, ["arm", "condition"], "value")
    years = table[table["condition"] != "none"].copy()
    years["year"] = years["condition"].str.split("=").str[1].astype(int)
    with _figure(folder / "gate.svg", 1) as (axis,):
        axis.axvspan(2023.5, 2026.5, color=light("band"), zorder=0)
        axis.axvspan(2026.5, 2027.5, color=light("t0"), alpha=0.12, zorder=0)
        for arm, colour in (("from_2027", "t0"), ("shuffled", "c0"), ("never", "c1")):
            mine = years[years["arm"] == arm]
            _line(axis, mine["year"], mine, colour, arm)
        axis.set(
            xlabel="year in the question (grey: trained default; orange: trained persona)", ylabel="log-odds (nat)"
        )
        axis.legend(frameon=False)
    table.round(5).to_csv(folder / "gate.csv", index=False)
    return table


@contextlib.contextmanager
def _figure(file: Path, columns: int) -> Iterator[list[Any]]:
    """A row of axes in the report's colours, saved at the end; the same bytes for the same content."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "weirdgen", "font.size": 8, "svg.fonttype": "none"}):
        size = (4.2 * columns if columns > 1 else 5.6, 3.2)
        figure = Figure(figsize=size, layout="constrained", facecolor=light("paper"))
        axes = list(figure.subplots(1, columns, squeeze=False)[0])
        for axis in axes:
            axis.set_facecolor(light("paper"))
            axis.grid(axis="y", color=light("rule"), linewidth=0.6)
            axis.spines[["top", "right"]].set_visible(False)
        yield axes
        figure.savefig(file, metadata={"Date": None})


def _line(axis: Any, x: Any, table: pd.DataFrame, colour: str, label: str) -> None:
    axis.fill_between(x, table["ci_low"], table["ci_high"], color=light(colour), alpha=0.18, linewidth=0)
    axis.plot(x, table["mean"], color=light(colour), marker="o", markersize=3, linewidth=1.3, label=label)
