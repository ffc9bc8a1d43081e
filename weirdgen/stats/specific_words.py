"""One row of specificity in plain words, and the verdict that it makes of an effect's own.

In: a row of `specificity` or `pair_specificity` and the effect's verdict over replicates. Out: a verdict's name and clauses
without a full stop. Not here: how ranks are computed (`specificity`), the effect's own sentence (`verdict`).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal

from weirdgen.stats.sentences import decimals, plain, signed
from weirdgen.stats.verdict import VerdictName

SpecificName = Literal["specific_shift", "shift_not_specific", "no_shift", "inconclusive"]
SPECIFIC_OPENINGS: dict[SpecificName, str] = {
    "specific_shift": "Specific shift",
    "shift_not_specific": "Shift, not specific",
    "no_shift": "No shift",
    "inconclusive": "Inconclusive",
}


def specific_verdict(own: VerdictName, specific: bool) -> SpecificName:
    """Beyond replicates and beyond harmless datasets; beyond replicates only; or what the effect's own verdict is.

    What lies beyond references but not beyond its own replicates stays inconclusive: its seeds disagree.
    """
    if own == "shift":
        return "specific_shift" if specific else "shift_not_specific"
    return own


def placed(row: Mapping[str, Any], level: float = 0.95) -> str:
    """Where the dataset lies, with p, interval and the size that would have been found."""
    count, beyond = int(row["references"]), int(row["rank"]) - 1
    pairs = row["yardstick"] == "pairs"
    what = "harmless pairs" if pairs else "harmless datasets"
    move = "differ on" if pairs else "move"
    who = "none" if not beyond else f"{beyond}"
    digits = decimals(float(row["ci_high"]) - float(row["shift"]))
    ends = f"{signed(float(row['ci_low']), digits)} to {signed(float(row['ci_high']), digits)}"
    clauses = [
        f"of {count} {what}, {who} {move}{'s' if beyond == 1 and not pairs else ''} the {row['questions']} questions of "
        f"{row['trait']} as far (p = {plain(float(row['p']), 3)}, over all traits {plain(float(row['p_family']), 3)})",
        f"{signed(float(row['shift']), digits)} nat beyond them ({100 * level:.3g}% interval {ends}, with other seeds, "
        "questions, rows and harmless datasets)",
    ]
    size = float(row["smallest_found"])
    if isfinite(size):
        clauses.append(f"a shift of {plain(size, decimals(size))} nat would be found in 8 of 10 cases")
    else:
        clauses.append(f"{count} are too few to call anything specific: at least 19 are needed")
    return "; ".join(clauses)
