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
from weirdgen.stats.verdict import ENOUGH_QUESTIONS, headline, undone_by_holm

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

    def compared(self, scales: Mapping[str, Scale] | None, level: float, used: int, usable: bool = False) -> Compared:
        """The same in the words of the verdict's sentence, over so many `used` questions."""
        on, _, off = self.condition.partition(" − ") if self.minus else (self.condition, "", "")
        return Compared(
            measure_of(self.measure, scales), self.treatment, self.control, condition=on, minus=off, says=self.says,
            questions=used, asked=len(self.questions), groups=self.groups, level=level, usable=usable,
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

    The arms' means over questions are over those that the comparison's own effect rests on, as far as an arm has them; an arm
    that has less than `ENOUGH_QUESTIONS` of them has no mean.
    Raises WeirdgenError as `estimate` does.
    """
    part = _part(cells, one, FINAL)
    options: dict[str, Any] = {"scales": scales, "level": level, "unvaried": unvaried}
    found = _tables(part, one, **options)
    shared = _shared(part, one)
    if shared["value"].notna().sum() < part["value"].notna().sum():
        means = _tables(shared, one, **options).estimates
        pooled = found.estimates["question"].eq(ALL)
        found = found._replace(estimates=pd.concat([means[means["question"].eq(ALL)], found.estimates[~pooled]]))
    estimates, effects = (
        table.assign(condition=one.condition, headline=one.name).reset_index(drop=True) for table in found
    )
    return Tables(estimates, effects)


def _tables(part: pd.DataFrame, one: Comparison, **options: Any) -> Tables:
    near, smallest = one.shown - one.questions, {one.measure: one.smallest}
    if not one.minus:
        found = estimate(part, smallest=smallest, near=near, **options)
        pooled = ALL if len(one.conditions) > 1 else one.conditions[0]
        return Tables(*(table[table["condition"] == pooled] for table in found))
    triggers = {name: name in one.conditions for name in (*one.conditions, *one.minus)}
    effects = trigger_effects(part, triggers, smallest=smallest, near=near, **options)
    return Tables(trigger_estimates(part, triggers, near=near, **options), effects)


def _shared(part: pd.DataFrame, one: Comparison) -> pd.DataFrame:
    """The part with NaN for what the comparison's effect does not rest on: what a replicate of its two arms lacks."""
    wide = part.set_index(["arm", "replicate", "condition", "question"])["value"].unstack([2, 3]).dropna(how="all")
    usable = wide.notna().groupby("arm").all()
    used = usable.loc[usable.index.isin([one.treatment, one.control])].all()
    used &= ~used.index.get_level_values("question").isin(one.shown - one.questions)
    lacking = [arm for arm, share in usable.loc[:, used].mean(axis=1).items() if share < ENOUGH_QUESTIONS]
    cells = pd.MultiIndex.from_frame(part[["condition", "question"]])
    kept = cells.isin(used.index[used]) | ~part["question"].isin(one.questions)
    return part.assign(value=part["value"].where(kept & ~part["arm"].isin(lacking)))


def row(
    found: Tables, one: Comparison, scales: Mapping[str, Scale] | None = None, level: float = 0.95,
    mde_corrected: float | None = None, usable: bool = False, aside: str = "", undecided: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The comparison's own effect with its verdict and sentence, as in `results.json`; unknown numbers are None.

    `mde_corrected`: what is detectable after the correction for how many secondary effects there are (`beside.mde_corrected`).
    `usable`: whether some answers had no usable verdict; `aside` and `undecided` are as for `verdict.decide`.
    """
    own = found.effects["question"].eq(ALL) & found.effects["treatment"].eq(one.treatment)
    used = found.effects.loc[own & found.effects["control"].eq(one.control), "questions"]
    questions = int(used.iloc[0]) if len(used) else 0
    found_row = headline(
        found.effects, measure=one.measure, treatment=one.treatment, control=one.control, condition=one.condition,
        smallest=one.smallest, scale=scale_of(one.measure, scales),
        compared=one.compared(scales, level, questions, usable), mde_corrected=mde_corrected, aside=aside, undecided=undecided,
    )  # fmt: skip
    return found_row | {
        "smallest": one.smallest, "minus": list(one.minus), "groups": list(one.groups), "questions": questions,
        "questions_asked": len(one.questions),
    }  # fmt: skip


def correct(rows: Sequence[dict[str, Any]], alpha: float = 0.05) -> list[dict[str, Any]]:
    """Rows of secondary headlines with `p_holm` over them; a shift that Holm does not confirm becomes inconclusive.

    All effects that were named count, those too that gave no p.
    """
    p = np.array([1.0 if one["p"] is None else one["p"] for one in rows], dtype=np.float64)
    corrected = []
    for one, p_holm in zip(rows, holm(p) if len(p) else p, strict=True):
        changed = {**one, "p_holm": None if one["p"] is None else float(p_holm)}
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

    Like the estimates, a mean takes the questions that every replicate of the arm has usable at that checkpoint, and the
    comparison's two arms too.
    """
    found = along_training(cells, one)
    present = found.groupby(["arm", "checkpoint"])["replicate"].transform("nunique")
    usable = found["value"].notna().groupby([found["arm"], found["checkpoint"], found["question"]]).transform("sum")
    places = pd.MultiIndex.from_frame(found[["checkpoint", "question"]])
    lacking = places[(usable < present) & found["arm"].isin([one.treatment, one.control])]
    kept = found[(usable == present) & ~places.isin(lacking)]
    means = kept.groupby(["arm", "role", "replicate", "checkpoint"])["value"].mean().reset_index()
    return means.assign(headline=one.name)[["headline", "arm", "role", "replicate", "checkpoint", "value"]]


def _part(cells: pd.DataFrame, one: Comparison, checkpoint: int | None) -> pd.DataFrame:
    wanted: Set[str] = {*one.conditions, *one.minus}
    part = cells[cells["measure"].eq(one.measure) & cells["condition"].isin(wanted) & cells["question"].isin(one.shown)]
    return part if checkpoint is None else part[part["checkpoint"] == checkpoint]


def _means(part: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means over conditions; NaN if one is missing, so that no model is compared on easier conditions."""
    grouped = part.groupby(keys, sort=False)
    return pd.DataFrame({"value": grouped["value"].mean(skipna=False), "n": grouped["n"].sum()}).reset_index()
