"""Whether answers without a usable verdict decide an effect: a rate is over usable answers, and arms may differ in how many.

In: tidy `cells` with `n_all` and `value_all`, tables over usable and over all answers. Out: which effects would have another
verdict over all answers, and a clause for `verdict.decide`. Not here: which answers are usable (`weirdgen.judges`), and ratings,
which are not defined over answers without one.
"""

from __future__ import annotations

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


def doubted(found: Tables, of_all: Tables) -> pd.DataFrame:
    """`share_treatment, share_control, doubted` for each row of `found.effects`; the tables are of the same cells.

    Shares are those of an arm's answers that its mean rests on. An effect is doubted where they differ by more than `DIFFER`
    and over all answers it has another verdict or the other sign.
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
    changed = effects["verdict"].ne(other["verdict"]) | np.sign(effects["effect"]).ne(np.sign(other["effect"]))
    return pd.DataFrame({**sides, "doubted": apart & changed.to_numpy()}, index=effects.index)


def doubt(found: Tables, of_all: Tables, treatment: str, control: str, measure: Measure) -> str:
    """Why the effect over all questions is not concluded, and what it is over all answers, without a full stop; else nothing.

    The tables hold one condition.
    """
    effects = found.effects
    own = effects["treatment"].eq(treatment) & effects["control"].eq(control) & effects["question"].eq(ALL)
    told = doubted(found, of_all)[own]
    if not told["doubted"].any():
        return ""
    row, effect = told.iloc[0], float(of_all.effects.loc[own, "effect"].iloc[0])
    shares = f"{100 * row['share_treatment']:.0f}% of the answers of {treatment} and {100 * row['share_control']:.0f}% of {control}"
    size = f"{signed(measure.scale.factor * effect, 1)} {measure.scale.effect_unit}"
    return f"it rests on {shares}, the usable ones, and over all answers, {size}, the verdict is another"
