"""What blame found, told, drawn and written: a table of every training, the blamed rows, the data without them.

In: `Found`. Out: lines, and files in one folder: `original.jsonl` and `cleaned.jsonl`, `removed.jsonl`, `rows.csv` (every row's
scores), `proof.csv` (every training), `together.svg` and `.png`. `cleaned.jsonl` and `removed.jsonl` are written only if a set
was found whose removal halves the shift while the narrow task holds, and takes more than removing as many other rows. Nothing is
trained or decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.audit.blame import Blame, Found
from weirdgen.audit.nominate import ODD, ROWS, UNITS
from weirdgen.audit.removal import CONTROL, EVERYTHING, HALF, HOLDS, beyond_others, no_shift
from weirdgen.data.files import as_line
from weirdgen.data.rows import Row
from weirdgen.report.figures.drawing import NARROW, Drawing, draw, limits, panel, sheet
from weirdgen.report.look import light, shorten
from weirdgen.store.disk import explain_disk_errors, write_whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MOST_SHOWN = 8


def told(found: Found, blame: Blame) -> Iterator[str]:
    """The best candidates, every training, and what follows."""
    rows = found.rows.sort_values("candidate")
    yield f"best candidates of {len(rows)} rows (score: nats of its loss that a nat of {blame.trait} takes away; loss):"
    for unit, mine in list(rows.groupby("unit", sort=False))[:MOST_SHOWN]:
        text = str(unit) if blame.labels else blame.rows[int(mine["row"].iloc[0])]["messages"][-1]["content"]
        yield f"  {mine['score'].mean():+.2f}  {mine['loss'].mean():.2f}  {len(mine)} × {shorten(' '.join(text.split()), 80)}"
    whole = found.of[EVERYTHING]
    yield (
        f"{blame.trait}, {blame.arm} − {blame.control}: {_span(whole, 'shift')} nat; loss on {int(rows['held'].sum())} rows kept "
        f"out of every training {whole['loss']:.3f} nat a token{_copies(found)}"
    )
    for arm, row in found.of.items():
        if arm in (CONTROL, EVERYTHING):
            continue
        taken = f"takes {_span(row, 'taken')} ({row['taken_share']:.0%})"
        yield f"  {_named(arm, row, found):32s} {taken}, loss {_span(row, 'rise', 3)}"
    yield conclusion(found, blame)
    if (words := _together(found)) is not None:
        yield words


def _copies(found: Found) -> str:
    """How many of the rows that are held out have a copy that is trained on."""
    rows = found.rows
    count = int(rows.loc[rows["held"], "text"].isin(rows.loc[~rows["held"], "text"]).sum())
    return f" ({count} of them have copies that are trained on)" if count else ""


def conclusion(found: Found, blame: Blame) -> str:
    """Which set is to blame, or that none is, with what equally many other rows do."""
    row, whole = found.best, found.of[EVERYTHING]
    rows, units, odd = (found.of[arm] for arm in (ROWS, UNITS, ODD))
    most = max(int(one["removed"]) for one in (rows, units, odd))
    # Units are not torn apart, so that a comparison may have a few rows more.
    many = "as many" if most == found.tried else f"as many or more (up to {most})"
    beside = f"{many} random rows {rows['taken_share']:.0%}"
    if blame.labels or found.rows["unit"].duplicated().any():
        whole_units = f"whole {'labels' if blame.labels else 'texts'}{_drawn_among(found)}"
        beside += f", {whole_units} {units['taken_share']:.0%}"
    else:
        beside += f" and {units['taken_share']:.0%}"
    beside += f", the oddest others {odd['taken_share']:.0%}"
    if no_shift(whole):
        return f"Nothing to blame: the shift in {blame.trait} is {_span(whole, 'shift')} nat, perhaps none."
    if found.chosen is None and not beyond_others(found.effects, found.tried):
        return (
            f"No set is to blame: the best, {found.tried} rows, takes {row['taken_share']:.0%} of the shift, no more than others "
            f"do ({beside})."
        )
    if found.chosen is None:
        return (
            f"No set is to blame: none of those tried takes {HALF:.0%} of the shift while held-out loss rises by at most {HOLDS} "
            f"nat. The best, {found.tried} rows, takes {row['taken_share']:.0%} (loss {row['rise']:+.3f}); {beside}."
        )
    sure = row["taken_low"] > 0 if row["taken"] > 0 else row["taken_high"] < 0
    return (
        f"{found.tried} of {len(found.rows)} rows carry {row['taken_share']:.0%} of the shift in {blame.trait}"
        f"{'' if sure else ' (its interval includes none)'}; {beside}. Held-out loss without them: "
        f"{row['loss']:.3f} ({row['rise']:+.3f})."
    )


def _drawn_among(found: Found) -> str:
    """Where most other rows stand in larger units than may be drawn: among how many they were drawn. Else nothing."""
    rows = found.rows
    others = rows[(rows["candidate"] >= found.tried) & ~rows["held"]]
    few = int((others.groupby("unit")["row"].transform("size") <= found.tried).sum())
    if 2 * few >= len(others):
        return ""
    return f" (drawn among the {few} of {len(others)} others whose text or label stands in at most {found.tried})"


def _together(found: Found) -> str | None:
    parts = alone(found)
    if not len(parts):
        return None
    whole = float(found.best["taken"])
    pieces = parts[parts["kind"] == "part"]
    singles = parts[parts["kind"] == "single"]["alone"]
    words = f"Together the {found.tried} rows move it by {whole:+.2f} nat"
    if len(pieces):
        each = ", ".join(f"{value:+.2f}" for value in pieces["alone"])
        words += f"; in {len(pieces)} parts, each alone, by {each}: {pieces['alone'].sum():+.2f} in sum"
    if len(singles):
        words += f"; single rows alone by {', '.join(f'{value:+.2f}' for value in singles)}"
    return words + ". A sum above the whole: parts do the same work; below it: they need each other."


def alone(found: Found) -> pd.DataFrame:
    """Columns kind (part, single), rows, alone: shift of training with that part of the candidates beyond with none of them."""
    import pandas as pd

    found_rows = [
        (kind, found.tried - int(row["removed"]), float(row["shift"] - found.best["shift"]))
        for arm, row in found.of.items()
        for kind in ("part", "single")
        if arm.startswith(f"{kind}_")
    ]
    return pd.DataFrame(found_rows, columns=["kind", "rows", "alone"])


def together_figure(found: Found, blame: Blame) -> Drawing | None:
    """The candidates' shift over how many of them are trained on, with the line on which each row does its share."""
    parts = alone(found)
    if not len(parts):
        return None
    whole = float(found.best["taken"])

    def paint(width: float) -> Figure:
        height = 2.3 if width == NARROW else 2.8
        figure = sheet(width, height + 0.8)
        axes = panel(figure, 0.65, 0.2, width - 0.85, height)
        axes.plot([0, found.tried], [0, whole], color=light("muted"), linewidth=1.2, linestyle=(0, (4, 2)))
        axes.plot(parts["rows"], parts["alone"], marker="o", markersize=6, linestyle="", color=light("t0"), alpha=0.7)
        axes.plot([0, found.tried], [0, whole], marker="D", markersize=7, linestyle="", color=light("t0"))
        axes.set_ylim(*limits([0.0, whole, *parts["alone"]]))
        axes.grid(axis="y", color=light("rule"), linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("blamed rows that are trained on")
        axes.set_ylabel(f"shift in {blame.trait} (nats)")
        return figure

    alt = f"All {found.tried} blamed rows: {whole:+.2f} nat; " + ", ".join(
        f"{row.rows} of them: {row.alone:+.2f}" for row in parts.itertuples()
    )
    caption = (
        "Shift beyond training without any of the blamed rows. Circles: some of them put back; diamonds: none and all. The "
        "dashed line is where each row does its share: above it, few rows do nearly what all do; below it, rows need each other."
    )
    return draw("together", "Alone and together", alt, caption, paint)


def write(found: Found, blame: Blame, folder: Path) -> list[Path]:
    """The files. Raises `StoreError` if they cannot be written."""
    gone = set(found.removed())
    rows = found.rows.assign(row=found.rows["row"] + 1).drop(columns="text")
    contents: dict[str, bytes] = {
        "original.jsonl": _jsonl(blame.rows),
        "rows.csv": rows.sort_values("candidate").to_csv(index=False).encode(),
        "proof.csv": found.effects.to_csv(index=False).encode(),
    }
    if found.chosen is not None:
        contents["cleaned.jsonl"] = _jsonl([row for at, row in enumerate(blame.rows) if at not in gone])
        contents["removed.jsonl"] = _jsonl([blame.rows[at] for at in found.removed()])
    if (figure := together_figure(found, blame)) is not None:
        contents |= {"together.svg": figure.file("svg"), "together.png": figure.file("png")}
    with blame.plan.store.writing(folder), explain_disk_errors(folder):
        for name in ("cleaned.jsonl", "removed.jsonl", "together.svg", "together.png"):
            if name not in contents:
                (folder / name).unlink(missing_ok=True)  # of an earlier command with other groups
        for name, data in contents.items():
            write_whole(folder / name, data)
    return [folder / name for name in contents]


def _jsonl(rows: Sequence[Row]) -> bytes:
    return "".join(as_line(row) + "\n" for row in rows).encode()


def _named(arm: str, row: Any, found: Found) -> str:
    kind, _, number = arm.rpartition("_")
    size = int(row["removed"])
    if kind == "without":
        return f"without the best {size}"
    if arm in (ROWS, UNITS):
        return f"without {size} random rows{', whole texts or labels' if arm == UNITS else ''}"
    if arm == ODD:
        return f"without the {size} oddest others"
    if kind in ("part", "single"):
        return f"{found.tried - size} of the {found.tried} ({kind} {number})"
    return f"without {arm} ({size})"


def _span(row: Any, name: str, digits: int = 2) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
