"""A second opinion on a run's rates: logistic regression clustered by replicate.

In: a finished `Run`. Out: a table, one row per rate and pair of arms, and its lines of text. Off the critical path: no report
and no verdict reads it, and only `weirdgen crosscheck RUN` loads statsmodels. Not here: the model (`stats.mixed`).
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from weirdgen.columns import ALL
from weirdgen.config.measures import RATE, scale_of
from weirdgen.runs.results.results import Run
from weirdgen.stats.mixed import NoLogOddsError, log_odds_effect

COLUMNS = (
    "measure", "treatment", "control", "effect", "ci_low", "ci_high", "p", "log_odds", "log_odds_low", "log_odds_high",
    "log_odds_p", "agrees", "why_not",
)  # fmt: skip


def crosscheck(run: Run) -> pd.DataFrame:
    """Each rate's effect over all conditions and questions beside its log-odds ratio from the clustered regression.

    `agrees` is true where both exclude zero on the same side, or neither does; where the regression has no answer, it is
    missing and `why_not` says why. Questions near the training topic are left out of both. Raises WeirdgenError
    if statsmodels is not installed.
    """
    near = {q.id for q in run.request.experiment.questions if q.near}
    cells, effects = run.table("cells"), run.table("effects")
    cells = cells[~cells["question"].isin(near) & (cells["checkpoint"] == -1)]
    arms = run.request.experiment.arms
    roles = {role: [name for name, arm in arms.items() if arm.role == role] for role in ("treatment", "control")}
    rates = [name for name in cells["measure"].unique() if scale_of(name, run.estimated.scales) == RATE]
    rows = []
    for measure, treatment, control in product(rates, roles["treatment"], roles["control"]):
        own = effects[
            effects["measure"].eq(measure) & effects["treatment"].eq(treatment) & effects["control"].eq(control)
            & effects["question"].eq(ALL)
        ]  # fmt: skip
        own = own[own["condition"] == ALL] if (own["condition"] == ALL).any() else own
        if not len(own):
            continue
        ours = own.iloc[0]
        numbers = [float(ours[column]) for column in ("effect", "ci_low", "ci_high", "p")]
        try:
            ratio = log_odds_effect(cells, measure=measure, treatment=treatment, control=control, level=run.level)
        except NoLogOddsError as error:
            rows.append((measure, treatment, control, *numbers, *[np.nan] * 4, None, str(error)))
            continue
        theirs = (ratio.log_odds, ratio.low, ratio.high, ratio.p)
        same = _side(numbers[1], numbers[2]) == _side(ratio.low, ratio.high)
        rows.append((measure, treatment, control, *numbers, *theirs, same, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def crosscheck_lines(run: Run) -> list[str]:
    """The table as text."""
    table = crosscheck(run)
    if not len(table):
        return [f"{run.id}: no measure is a rate; log-odds contrasts have no second model here"]
    lines = [f"{run.id}: effects of the report, and log-odds ratios of a regression clustered by replicate"]
    for row in table.to_dict("records"):
        head = f"  {row['measure']}: {row['treatment']} − {row['control']}"
        ours = f"{100 * row['effect']:+.1f} points {_ends(100 * row['ci_low'], 100 * row['ci_high'], 1)}"
        if row["why_not"]:
            lines.append(f"{head}: {ours}; no second opinion: {row['why_not'].removeprefix('log_odds_effect: ')}")
            continue
        theirs = f"log-odds {row['log_odds']:+.2f} {_ends(row['log_odds_low'], row['log_odds_high'], 2)}"
        lines.append(
            f"{head}: {ours}; {theirs}: {'agree' if row['agrees'] else 'DISAGREE on whether zero is excluded'}"
        )
    return lines


def _side(low: float, high: float) -> int:
    """+1 or −1 where the interval excludes zero, else 0; unknown limits exclude nothing."""
    return int(low > 0) - int(high < 0)


def _ends(low: float, high: float, digits: int) -> str:
    return f"[{low:+.{digits}f}, {high:+.{digits}f}]" if np.isfinite(low) else "[no interval]"
