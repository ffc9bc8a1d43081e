"""Whether answers without a usable verdict decide an effect: a rate is over usable answers, and arms may differ in how many.

In: tidy `cells` with `n_all` and `value_all`, tables over usable and over all answers. Out: which effects would have another
verdict over all answers, and a clause for `verdict.decide`. Not here: which answers are usable (`weirdgen.judges`), and ratings,
which are not defined over answers without one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weirdgen.columns import ALL
from weirdgen.config.measures import Measure
from weirdgen.stats.estimate import Tables
from weirdgen.stats.sentences import signed

DIFFER = 0.05
"""Arms that differ by at most this in the share of usable answers are taken for alike: so much moves no rate further."""


def over_all_answers(cells: pd.DataFrame) -> pd.DataFrame | None:
    """The cells with judges' rates as shares of all answers; None where every answer was usable or nobody counted."""
    if "value_all" not in cells:
        return None
    partly = cells["value_all"].notna() & (cells["n"] < cells["n_all"])
    if not partly.any():
        return None
    known = cells["value_all"].notna()
    counted = {name: cells[name].mask(known, cells[f"{name}_all"]) for name in ("value", "n")}
    return cells.assign(**counted)


def compared(found: Tables, of_all: Tables, smallest: Mapping[str, float]) -> pd.DataFrame:
    """`share_treatment, share_control, apart, undecided` for each row of `found.effects`; both tables are of the same cells.

    Shares are those of an arm's answers that its mean rests on, `apart` whether they differ by more than `DIFFER`. Such an effect
    is undecided where over all answers it has another verdict or sign, or lies inside `smallest` (by measure) only there.
    """
    keys = ["measure", "condition", "checkpoint", "question"]
    n, n_all = (table.estimates.set_index([*keys, "arm"])["n"] for table in (found, of_all))
    share = n / n_all.reindex(n.index).replace(0, np.nan)
    effects, other = found.effects, of_all.effects
    sides = {
        f"share_{side}": share.reindex(pd.MultiIndex.from_frame(effects[[*keys, side]])).to_numpy()
        for side in ("treatment", "control")
    }
    apart = np.abs(sides["share_treatment"] - sides["share_control"]) > DIFFER
    bound = effects["measure"].map(smallest)
    inside, other_inside = (table[["ci_low", "ci_high"]].abs().max(axis=1) <= bound for table in (effects, other))
    changed = effects["verdict"].ne(other["verdict"]) | np.sign(effects["effect"]).ne(np.sign(other["effect"]))
    changed |= other_inside & ~inside
    return pd.DataFrame({**sides, "apart": apart, "undecided": apart & changed.to_numpy()}, index=effects.index)


def aside(
    found: Tables, of_all: Tables, smallest: float, treatment: str, control: str, measure: Measure
) -> tuple[str, bool]:
    """`aside` and `undecided` of `verdict.decide` for the effect over all questions; the tables hold one condition."""
    effects = found.effects
    own = effects["treatment"].eq(treatment) & effects["control"].eq(control) & effects["question"].eq(ALL)
    told = compared(found, of_all, {measure.name: smallest})[own]
    if not told["apart"].any():
        return "", False
    row, effect = told.iloc[0], float(of_all.effects.loc[own, "effect"].iloc[0])
    shares = " and ".join(
        f"{100 * row[side]:.0f}% of the answers of {arm}"
        for side, arm in (("share_treatment", treatment), ("share_control", control))
    )
    size = f"{signed(measure.scale.factor * effect, 1)} {measure.scale.effect_unit}"
    another = ", which is another verdict" if row["undecided"] else ""
    return f"this rests on {shares}; over all answers it is {size}{another}", bool(row["undecided"])
