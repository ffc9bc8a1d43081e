"""What effect a planned run can detect: one line of the plan, before anything is trained.

In: a `Plan`, and what earlier runs of the same experiment on the same model left in its store. Out: a line of text. The
spread between replicates is an earlier run's own, and as rough as its replicates are few (`weirdgen.stats.power` says how
rough); without such a run nothing is known, and the line says that. Not here: what a finished run could detect, which is in
its report.
"""

from __future__ import annotations

import json
from math import sqrt
from typing import Any, NamedTuple

from weirdgen.columns import FINAL
from weirdgen.config.measures import scale_of
from weirdgen.run.plan.plan import Plan


class Spread(NamedTuple):
    """SD between replicates of one arm in the headline's measure, and the run that it was seen in."""

    sd: float
    run: str


def detectable_line(plan: Plan) -> str:
    """The smallest effect that the planned replicates find with 80% probability, and how many would find the one of interest."""
    import numpy as np

    from weirdgen.stats.power import minimum_detectable_effect, replicates_needed

    settings, count = plan.settings, len(plan.settings.seeds)
    if count < 2:
        return "  power: none; one replicate an arm shows no spread, so no effect between arms can be told from chance"
    spread = earlier_spread(plan)
    if spread is None:
        return "  power: unknown until a first run shows how much replicates of this experiment differ"
    headline = settings.headline
    scale = scale_of(headline.measure, settings.experiment.scales())
    smallest = headline.smallest or scale.smallest
    unit, factor = scale.effect_unit, scale.factor
    se, degrees = np.array(spread.sd * sqrt(2 / count)), np.array(2.0 * count - 2)
    least = float(minimum_detectable_effect(se, degrees))
    needed = replicates_needed(smallest, spread.sd)
    would = f"{needed} would find" if needed else "200 would not find"
    return (
        f"  power: {count} replicates an arm find an effect of {least * factor:.2g} {unit} in 80% of runs, {would} "
        f"{smallest * factor:g}, the smallest of interest (if replicates differ as in {spread.run})"
    )


def earlier_spread(plan: Plan) -> Spread | None:
    """The spread in the newest run with this headline, model and several replicates; one with this recipe comes first."""
    wanted = plan.settings.manifest
    found = []
    for file in (plan.store.root / "runs").glob(f"{plan.settings.experiment.name}-*/results.json"):
        try:
            manifest = json.loads((file.parent / "run.json").read_text(encoding="utf-8"))["manifest"]
            rows = json.loads(file.read_text(encoding="utf-8"))["headline_replicates"]
        except (OSError, ValueError, KeyError):
            continue  # a run that is being written, or of a version that kept other things
        if _compared(manifest) == _compared(wanted) and (sd := _pooled(rows)):
            alike = manifest["recipe"] == wanted["recipe"] and manifest["data"] == wanted["data"]
            found.append((alike, file.stat().st_mtime_ns, Spread(sd, file.parent.name)))
    return max(found)[-1] if found else None


def _compared(manifest: dict[str, Any]) -> tuple[Any, ...]:
    """The model, and the headline but for its smallest effect of interest and its words, which move no value."""
    whole = manifest["experiment"]["headline"] or {}
    headline = {key: value for key, value in whole.items() if key not in ("smallest", "says")}
    return manifest["model"]["digest"], headline


def _pooled(rows: list[dict[str, Any]]) -> float | None:
    """SD within arms of the headline's values at the end of training; None without two replicates, or if none differ."""
    arms: dict[str, list[float]] = {}
    for row in rows:
        if row["headline"] == "headline" and row["checkpoint"] == FINAL and row["value"] is not None:
            arms.setdefault(row["arm"], []).append(row["value"])
    squares, degrees = 0.0, 0
    for values in arms.values():
        mean = sum(values) / len(values)
        squares += sum((value - mean) ** 2 for value in values)
        degrees += len(values) - 1
    return sqrt(squares / degrees) if degrees and squares else None
