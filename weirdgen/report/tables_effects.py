"""Tables of effects other than the headline: secondary headlines, triggers, onsets in training.

In: `ReportContent`. Out: `Table`s, or None where there is nothing. Not here: the headline's own tables (`tables.py`).
"""

from __future__ import annotations

from typing import Any

from weirdgen.config.measures import Scale
from weirdgen.report.content import ReportContent, clean
from weirdgen.report.figures.trigger import KINDS, pair, trigger_rows
from weirdgen.report.look import interval, number, probability
from weirdgen.report.tables import VERDICT_WORDS, Cell, Table


def secondary_table(content: ReportContent) -> Table | None:
    """The other effects that the experiment names, with Holm's p over them."""
    rows = [dict(clean(row)) for row in content.results.get("secondary", [])]
    if not rows:
        return None
    body = []
    for row in rows:
        scale = content.scale(str(row["measure"]))
        measured = Cell(str(row["measure"]), ", ".join(row["groups"]))
        cells = [Cell(str(row["name"])), measured, Cell(str(row["condition"]))]
        body.append((*cells, Cell(pair(row)), *_numbers(row, scale, "p_holm")))
    head = ("name", "measure and questions", "condition", "arms", "effect and interval", "p", "p (Holm)", "verdict")
    return Table("Further effects that the experiment names, in numbers", head, tuple(body))


def trigger_table(content: ReportContent) -> Table | None:
    """Trigger effects of every measure: over all questions and over each group."""
    rows = trigger_rows(content)
    if not rows:
        return None
    body = tuple(
        (
            Cell(str(row["measure"])),
            Cell(KINDS.get(str(row["condition"]), str(row["condition"]))),
            Cell("all" if row.get("group", "all") == "all" else str(row["group"])),
            Cell(pair(row)),
            *_numbers(row, content.scale(str(row["measure"])), "q"),
        )
        for row in rows
    )
    head = ("measure", "triggers", "questions", "arms", "effect and interval", "p", "p (BH)", "verdict")
    return Table("Triggered − untriggered, treatment − control", head, body)


def onset_table(content: ReportContent) -> Table | None:
    """For each headline and arm: how many replicates jumped, and at which step."""
    rows = [dict(clean(row)) for row in content.results.get("onsets", [])]
    jumps = [dict(clean(row)) for row in content.results.get("jumps", [])]
    if not rows:
        return None
    body = []
    for row in rows:
        seeds = [
            str(jump["replicate"])
            for jump in jumps
            if jump["headline"] == row["headline"] and jump["arm"] == row["arm"] and jump["jumped"]
        ]
        share = f"[{100 * row['share_low']:.0f}, {100 * row['share_high']:.0f}]%"
        step = "–" if row["onset"] is None else f"{row['onset']:.0f}"
        ends = "" if row["ci_low"] is None else f"[{row['ci_low']:.0f}, {row['ci_high']:.0f}]"
        body.append(
            (
                Cell(str(row["headline"])),
                Cell(str(row["arm"])),
                Cell(f"{row['jumped']} of {row['replicates']}", share, numeric=True),
                Cell(step, ends, numeric=True),
                Cell(", ".join(seeds) or "–"),
            )
        )
    head = ("effect", "arm", "replicates that jumped", "step of the jump", "their seeds")
    return Table("Jumps along training", head, tuple(body))


def _numbers(row: dict[str, Any], scale: Scale, other_p: str) -> tuple[Cell, ...]:
    ends = interval(row["ci_low"], row["ci_high"], scale, effect=True)
    return (
        Cell(number(row["effect"], scale, effect=True), ends, numeric=True),
        Cell(probability(row["p"]), numeric=True),
        Cell(probability(row.get(other_p)), numeric=True),
        Cell(
            VERDICT_WORDS.get(str(row["verdict"]), str(row["verdict"])) if row["control"] != "base" else "descriptive"
        ),
    )
