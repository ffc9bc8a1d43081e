"""The tables of `weirdgen audit filters` as lines of text.

In: the frames of `weirdgen.audit.filters.measure`. Out: lines: of every filter and share, how much of the treatments' rows
it finds, of the controls', and of ordinary rows; and in how many experiments it finds more of the treatment than of a
control. It measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from weirdgen.audit.filters.mixtures import Ordinary
from weirdgen.audit.filters.registry import Filter

if TYPE_CHECKING:
    import pandas as pd


def summary_lines(
    found: pd.DataFrame, beyond: pd.DataFrame, filters: Sequence[Filter], ordinary: Ordinary
) -> Iterator[str]:
    """A line a share and filter: medians over experiments, and in how many the treatment is found more than every control."""
    yield f"ordinary rows: {ordinary.what}; {len(ordinary.background)} in each half"
    for part in found["share"].unique():
        yield ""
        yield f"{part:.0%} of the rows: median over {found['experiment'].nunique()} experiments"
        yield f"{'filter':18} {'AUC':>11}   {'found at 1%':>13}   {'found at 5%':>13}   false alarms   more than controls"
        yield f"{'':18} {'treat. ctrl.':>11}   {'treat.  ctrl.':>13}   {'treat.  ctrl.':>13}   {'1%     5%':>12}"
        for filter_ in filters:
            mine = found[(found["share"] == part) & (found["filter"] == filter_.name)]
            apart = beyond[(beyond["share"] == part) & (beyond["filter"] == filter_.name)]
            by_role = {role: mine[mine["role"] == role].median(numeric_only=True) for role in ("treatment", "control")}
            treated, control = by_role["treatment"], by_role["control"]
            more = apart.groupby("experiment")["auc_low"].min().gt(0).sum()
            rates = [f"{treated[name]:6.1%} {control[name]:6.1%}" for name in ("found_0.01", "found_0.05")]
            false = [f"{mine[name].median():5.1%}" for name in ("false_0.01", "false_0.05")]
            yield (
                f"{filter_.label:18} {treated['auc']:5.2f} {control['auc']:5.2f}   {rates[0]:>13}   {rates[1]:>13}   "
                f"{false[0]} {false[1]}   {more} of {mine['experiment'].nunique()}"
            )


def set_lines(sets: pd.DataFrame) -> Iterator[str]:
    """A line a share and test: in how many of the random mixtures it speaks up, over all experiments."""
    yield ""
    yield "tests of the whole dataset: share of mixtures in which they speak up at 5%, over all experiments"
    yield f"{'share':6} {'test':14} {'treatment':>10} {'control':>9} {'ordinary rows alone':>20}"
    for (part, test), mine in sets.groupby(["share", "test"], sort=False):
        means = {role: mine[mine["role"] == role]["found_0.05"].mean() for role in ("treatment", "control")}
        yield (
            f"{part:6.0%} {test:14} {means['treatment']:10.0%} {means['control']:9.0%} {mine['false_0.05'].mean():20.1%}"
        )


def remains_lines(table: pd.DataFrame) -> Iterator[str]:
    """What is left of the shift in each arm."""
    yield f"{'arm':24} {'rows hidden':>11} {'ordinary':>9} {'effect':>8}  {'95% interval':16} {'of the shift':>12}"
    for row in table.to_dict("records"):
        interval = "" if row["ci_low"] != row["ci_low"] else f"[{row['ci_low']:+.2f}, {row['ci_high']:+.2f}]"
        part = "" if row["share_of_shift"] != row["share_of_shift"] else f"{row['share_of_shift']:.0%}"
        yield (
            f"{row['arm']:24} {row['hidden_left']:11} {row['ordinary_left']:9} {row['effect']:+8.2f}  {interval:16} {part:>12}"
        )
