"""What ablations did, as tables: gates, what share of a gate went, answers by value.

In: scored trials (`intervene.Trials.run`). Out: frames and plain data. The gate is the mean log-odds under the trigger minus that
under the reference values, in nats. Intervals are over replicates; of random ablations the range over draws is told instead.
What may be said of them is `verdict`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from weirdgen.features.difference import interval
from weirdgen.features.harvest import Pairs
from weirdgen.features.verdict import Gate, Removed
from weirdgen.stats.bootstrap import FloatArray, difference, difference_from_base, moments

if TYPE_CHECKING:
    import pandas as pd


def closing(trials: pd.DataFrame, pairs: Pairs) -> pd.DataFrame:
    """One row per ablation and replicate: `gate` (mean log-odds under the trigger − under reference values), what share of the
    replicate's own gate was `removed`, and `side`: what the ablation did under the reference values, in nats.
    """
    triggers = {pairs.names[i] for i in pairs.trigger}
    references = {pairs.names[i] for i in pairs.reference}
    keys = ["kind", "operator", "rank", "dose", "draw", "replicate"]
    means = {
        name: trials[trials["condition"].isin(which)].groupby(keys, sort=False)["logit"].mean()
        for name, which in (("trigger", triggers), ("reference", references))
    }
    frame = (means["trigger"] - means["reference"]).rename("gate").reset_index()
    frame["reference"] = means["reference"].to_numpy()
    before = frame[frame["kind"] == "none"].set_index("replicate")
    frame["removed"] = 1 - frame["gate"] / frame["replicate"].map(before["gate"])
    frame["side"] = frame["reference"] - frame["replicate"].map(before["reference"])
    return frame


def gate_of(treatment: pd.DataFrame, control: pd.DataFrame | None, base: pd.DataFrame) -> Gate:
    """The treatment's gate, and how far it is beyond the control's or, without a control, beyond the base's own.

    Frames as `closing` makes them; only rows without an ablation are looked at.
    """
    mine, theirs = (_gates(frame) for frame in (treatment, base if control is None else control))
    size, low, high = interval(mine[:, 0].tolist())
    if control is None:
        beyond = difference_from_base(moments(mine), theirs.mean(0), np.ones(1))
    else:
        beyond = difference(moments(mine), moments(theirs))
    return Gate(size, low, high, float(theirs.mean()), float(beyond.low[0]), len(mine), control is not None)


def _gates(closed: pd.DataFrame) -> FloatArray:
    """[R, 1]."""
    gates: FloatArray = closed[closed["kind"] == "none"]["gate"].to_numpy(np.float64)[:, None]
    return gates


def removed_of(closed: pd.DataFrame, kind: str, control: str, rank: int) -> Removed:
    """What the mean ablation of one kind removes at its largest rank, beside its random controls."""
    of_mean = closed[(closed["operator"] == "mean") & (closed["rank"] == rank) & (closed["dose"] == 1.0)]
    ours = of_mean[of_mean["kind"] == kind]
    random = of_mean[of_mean["kind"] == control].groupby("draw")["removed"].mean()
    share, low, high = interval(ours["removed"].tolist())
    return Removed(share, low, high, tuple(map(float, random)), float(ours["side"].mean()))


def summary(closed: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per ablation, random draws together: gate, share removed (interval over replicates, or range over draws), side."""
    rows = []
    for (kind, operator, rank, dose), part in closed.groupby(["kind", "operator", "rank", "dose"], sort=False):
        row: dict[str, Any] = {"kind": kind, "operator": operator, "rank": int(str(rank)), "dose": float(str(dose))}
        row |= {"gate": float(part["gate"].mean()), "side": float(part["side"].mean())}
        if str(kind).startswith("random"):
            draws = part.groupby("draw")["removed"].mean()
            row |= {"removed": float(draws.median()), "low": float(draws.min()), "high": float(draws.max())}
            row["draws"] = len(draws)
        else:
            row["removed"], row["low"], row["high"] = interval(part["removed"].tolist())
            row["draws"] = 1
        if operator == "steer":  # it opens the gate everywhere, which is told by `side`
            row |= dict.fromkeys(("removed", "low", "high"), float("nan"))
        rows.append(row)
    return rows


def curve_of(frame: pd.DataFrame, pairs: Pairs, rank: int) -> dict[str, Any]:
    """Mean log-odds by value: as it is, without what moved, and the range over random subspaces."""
    mean = frame[(frame["operator"] == "mean") & (frame["rank"] == rank) & (frame["dose"] == 1.0)]

    def by_value(part: pd.DataFrame) -> list[float]:
        found = part.groupby("condition")["logit"].mean()
        return [float(found[name]) for name in pairs.names]

    draws = [by_value(part) for _, part in mean[mean["kind"] == "random"].groupby("draw")]
    return {
        "values": list(pairs.names),
        "none": by_value(frame[frame["kind"] == "none"]),
        "interaction": by_value(mean[mean["kind"] == "interaction"]),
        "random_low": [min(values) for values in zip(*draws, strict=True)],
        "random_high": [max(values) for values in zip(*draws, strict=True)],
    }
