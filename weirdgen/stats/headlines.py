"""Headlines: effects that an experiment fixes before it runs, each with its arms' means, its verdict and its curve.

In: the tidy `cells` and a `Comparison`: a measure over some questions under some conditions, plain or as a difference of
conditions. Out: tables with the columns of estimates and effects (`condition` is the comparison's label), replicates'
own values, one row with verdict and sentence, and cells along checkpoints that `curves` and `onset` read. Also how all
other effects of a run are corrected for being many. Not here: how
a plain effect (`estimate`) or a difference of conditions (`trigger`) is computed, and what an experiment may ask for
(`weirdgen.config.experiment.Headline`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from weirdgen.columns import ALL, BASE, FINAL, IDENTITY
from weirdgen.config.measures import Scale, measure_of, scale_of
from weirdgen.stats.bootstrap import Unvaried
from weirdgen.stats.estimate import Tables, estimate
from weirdgen.stats.sentences import Compared
from weirdgen.stats.tests import holm
from weirdgen.stats.trigger import trigger_effects, trigger_estimates
from weirdgen.stats.verdict import headline, undone_by_holm

DIFFERENCE = "difference"
"""The name that a difference of conditions has as a measure in `along_training`: it lies outside the measure's scale."""


@dataclass(frozen=True)
class Comparison:
    """What one headline compares, in names that `cells` has."""

    name: str
    measure: str
    treatment: str
    control: str
    conditions: tuple[str, ...]
    minus: tuple[str, ...]
    """Conditions whose mean is taken off in each replicate; empty for a plain effect."""
    questions: frozenset[str]
    """The questions that the mean is over."""
    shown: frozenset[str]
    """Those and others of the measure that get a row of their own (near the training topic)."""
    groups: tuple[str, ...]
    """The groups that were asked for by name, for the sentence."""
    smallest: float
    condition: str
    """The label of `conditions` and `minus` as a person reads it."""

    says: str = ""
    """What models do more of where the measure is higher, in the experiment's words."""

    def compared(self, scales: Mapping[str, Scale] | None, level: float) -> Compared:
        """The same in the words of the verdict's sentence."""
        on, _, off = self.condition.partition(" − ") if self.minus else (self.condition, "", "")
        return Compared(
            measure_of(self.measure, scales), self.treatment, self.control, condition=on, minus=off, says=self.says,
            questions=len(self.questions), groups=self.groups, level=level,
        )  # fmt: skip


def label(names: Sequence[str]) -> str:
    """Conditions as a person reads them: `year=1995, 2004`; values of one sweep share its name."""
    families: dict[str, list[str]] = {}
    for name in names:
        family, equals, value = name.partition("=")
        families.setdefault(family + equals, []).append(value)
    return ", ".join(family + ", ".join(values) for family, values in families.items())


def tables(
    cells: pd.DataFrame, one: Comparison, *, scales: Mapping[str, Scale] | None = None, level: float = 0.95,
    unvaried: Unvaried = "replicates",
) -> Tables:  # fmt: skip
    """Estimates of every arm and effects of every treatment, at the end of training; question "all" and each one.

    Raises WeirdgenError as `estimate` does.
    """
    part = _part(cells, one, FINAL)
    near, smallest = one.shown - one.questions, {one.measure: one.smallest}
    if not one.minus:
        found = estimate(part, scales=scales, smallest=smallest, near=near, level=level, unvaried=unvaried)
        pooled = "all" if len(one.conditions) > 1 else one.conditions[0]
        found = Tables(*(table[table["condition"] == pooled] for table in found))
    else:
        triggers = {name: name in one.conditions for name in (*one.conditions, *one.minus)}
        options: dict[str, Any] = {"scales": scales, "near": near, "level": level, "unvaried": unvaried}
        effects = trigger_effects(part, triggers, smallest=smallest, **options)
        found = Tables(trigger_estimates(part, triggers, **options), effects)
    estimates, effects = (
        table.assign(condition=one.condition, headline=one.name).reset_index(drop=True) for table in found
    )
    return Tables(estimates, effects)


def row(
    found: Tables, one: Comparison, scales: Mapping[str, Scale] | None = None, level: float = 0.95,
    mde_corrected: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The comparison's own effect with its verdict and sentence, as in `results.json`; unknown numbers are None.

    `mde_corrected`: what is detectable after the correction for how many secondary effects there are (`beside.detectable`).
    """
    found_row = headline(
        found.effects, measure=one.measure, treatment=one.treatment, control=one.control, condition=one.condition,
        smallest=one.smallest, scale=scale_of(one.measure, scales), compared=one.compared(scales, level),
        mde_corrected=mde_corrected,
    )  # fmt: skip
    return found_row | {
        "smallest": one.smallest, "minus": list(one.minus), "groups": list(one.groups), "questions": len(one.questions)
    }  # fmt: skip


def correct(rows: Sequence[dict[str, Any]], alpha: float = 0.05) -> list[dict[str, Any]]:
    """Rows of secondary headlines with `p_holm` over them; a shift that Holm does not confirm becomes inconclusive."""
    p = np.array([np.nan if one["p"] is None else one["p"] for one in rows], dtype=np.float64)
    corrected = []
    for one, p_holm in zip(rows, holm(p) if len(p) else p, strict=True):
        changed = {**one, "p_holm": float(p_holm) if np.isfinite(p_holm) else None}
        if one["verdict"] == "shift" and not p_holm < alpha:
            changed |= {"verdict": "inconclusive", "sentence": undone_by_holm(one["sentence"], len(rows))}
        corrected.append(changed)
    return corrected


def explored(effects: pd.DataFrame, fixed: Sequence[Mapping[str, Any]] = (), *, alpha: float = 0.05) -> pd.DataFrame:
    """Effects with a column `q`: p after Benjamini and Hochberg over the means over questions that nobody fixed beforehand.

    There a `shift` needs q < alpha beside its interval, else it is inconclusive. Effects against the base are corrected
    among themselves, apart from those against controls. An effect that is one of `fixed` (rows of headlines) takes that
    row's verdict and has no q; nor has an effect on one question, which Holm's method corrects.
    """
    from scipy.stats import false_discovery_control  # half a second, which a plan need not wait for

    keys = ["measure", "treatment", "control", "condition"]
    decided = {tuple(one[key] for key in keys): one["verdict"] for one in fixed if not (one["minus"] or one["groups"])}
    pooled = effects["question"].eq(ALL)
    names = effects[keys].itertuples(index=False, name=None)
    own = pd.Series([decided.get(name) for name in names], index=effects.index, dtype=object).where(pooled)
    q = pd.Series(np.nan, index=effects.index)
    for family in (effects["control"].eq(BASE), effects["control"].ne(BASE)):
        known = family & pooled & own.isna() & effects["p"].notna()
        q[known] = false_discovery_control(effects.loc[known, "p"].to_numpy(np.float64))
    unsure = pooled & effects["verdict"].eq("shift") & ~(q < alpha)
    verdict = own.where(own.notna(), effects["verdict"].where(~unsure, "inconclusive"))
    return effects.assign(q=q, verdict=verdict)


def along_training(cells: pd.DataFrame, one: Comparison) -> pd.DataFrame:
    """Cells of the comparison at every checkpoint under one condition, its label.

    A difference of conditions becomes a value per question (its mean triggered − its mean untriggered), whose measure is
    called `difference`, since it lies outside the measure's own scale. Only the questions that the mean is over.
    """
    part = _part(cells, one, None)
    part = part[part["question"].isin(one.questions)]
    keys = [column for column in IDENTITY if column != "condition"]
    if not one.minus:
        return _means(part, [*keys, "measure"]).assign(condition=one.condition)
    side = part["condition"].isin(one.conditions)
    both = _means(part[side], keys).merge(_means(part[~side], keys), on=keys, suffixes=("", "_off"))
    found = both.assign(value=both["value"] - both["value_off"], n=both["n"] + both["n_off"])
    return found[[*keys, "value", "n"]].assign(condition=one.condition, measure=DIFFERENCE)


def replicate_values(cells: pd.DataFrame, one: Comparison) -> pd.DataFrame:
    """`headline, arm, role, replicate, checkpoint, value`: each replicate's mean over the questions, at every checkpoint.

    Like the estimates, a mean takes the questions that every replicate of the arm has usable at that checkpoint.
    """
    found = along_training(cells, one)
    present = found.groupby(["arm", "checkpoint"])["replicate"].transform("nunique")
    usable = found["value"].notna().groupby([found["arm"], found["checkpoint"], found["question"]]).transform("sum")
    means = found[usable == present].groupby(["arm", "role", "replicate", "checkpoint"])["value"].mean().reset_index()
    return means.assign(headline=one.name)[["headline", "arm", "role", "replicate", "checkpoint", "value"]]


def _part(cells: pd.DataFrame, one: Comparison, checkpoint: int | None) -> pd.DataFrame:
    wanted: Set[str] = {*one.conditions, *one.minus}
    part = cells[cells["measure"].eq(one.measure) & cells["condition"].isin(wanted) & cells["question"].isin(one.shown)]
    return part if checkpoint is None else part[part["checkpoint"] == checkpoint]


def _means(part: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means over conditions; NaN if one is missing, so that no model is compared on easier conditions."""
    grouped = part.groupby(keys, sort=False)
    return pd.DataFrame({"value": grouped["value"].mean(skipna=False), "n": grouped["n"].sum()}).reset_index()
