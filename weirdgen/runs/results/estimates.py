"""Estimates from a run's cells: effects, headlines with verdicts, triggers, curves, onsets.

In: `Request` and the tidy `cells`. Out: tables and rows, and the level of their intervals. Which conditions, questions and
smallest effects are meant is decided here; the statistics themselves are in `weirdgen.stats`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from weirdgen.columns import ALL, BASE, FINAL
from weirdgen.config.measures import NAT, Scale, measure_of, scale_of
from weirdgen.finetune.schedule import total_steps
from weirdgen.runs.plan.request import Request
from weirdgen.runs.results.onsets import JUMP_COLUMNS, ONSET_COLUMNS, onsets_of
from weirdgen.stats import headlines
from weirdgen.stats.beside import beside, mde_corrected
from weirdgen.stats.bootstrap import Unvaried
from weirdgen.stats.curves import CURVE_COLUMNS, curves
from weirdgen.stats.estimate import Tables, estimate
from weirdgen.stats.onset import EDGE
from weirdgen.stats.sequential import level_after
from weirdgen.stats.trigger import trigger_effects
from weirdgen.stats.usable import aside, compared, over_all_answers

UNVARIED: Unvaried = "samples"
"""What counts in the intervals of rates that do not vary: as in all runs that a store may hold, whose numbers stay. Such an
interval is no reason for "no shift" below `stats.seeds.ENOUGH_FOR_NO_SHIFT` replicates (`stats.verdict`)."""


class Estimates:
    """Everything that is estimated, computed when it is asked for."""

    def __init__(self, request: Request, cells: pd.DataFrame) -> None:
        self.request, self.cells = request, cells
        self.experiment = request.experiment
        # Only the end of training: earlier checkpoints answer the headlines' questions alone, so their means are others.
        self.final = cells[cells["checkpoint"] == FINAL]
        self.near = frozenset(q.id for q in self.experiment.questions if q.near)
        self.scales = self.experiment.scales()

    @cached_property
    def level(self) -> float:
        """Of every interval: 95%, or what keeps 5% of errors where samples were added look by look."""
        if self.request.until is None:
            return 0.95
        return level_after(self.request.until.looks, len(self.request.seeds))

    @cached_property
    def smallest(self) -> dict[str, float]:
        """The smallest effect of interest of each measure, in its unit."""
        headline = self.request.headline
        usual = {str(name): scale_of(str(name), self.scales).smallest for name in self.cells["measure"].unique()}
        return {**usual, headline.measure: headline.smallest or usual[headline.measure]}

    @cached_property
    def tables(self) -> Tables:
        """Estimates and effects of every measure, condition and question, at the end of training."""
        options: dict[str, Any] = {"scales": self.scales, "smallest": self.smallest, "near": self.near}
        options |= {"level": self.level, "unvaried": UNVARIED}
        found = estimate(self.final, **options)
        effects = found.effects
        if (all_answers := over_all_answers(self.final)) is not None:
            unsure = compared(found, estimate(all_answers, **options), self.smallest)["undecided"]
            effects = effects.assign(verdict=effects["verdict"].mask(unsure, "inconclusive"))
        fixed = [self.headline, *self.secondary]
        return found._replace(effects=headlines.explored(effects, fixed, alpha=1 - self.level))

    @cached_property
    def comparisons(self) -> dict[str, headlines.Comparison]:
        """The headline and the secondary ones, conditions and questions resolved."""
        comparisons = {}
        for name, spec in self.request.headlines.items():
            measured = set(self.cells.loc[self.cells["measure"] == spec.measure, "question"])
            meant = frozenset(q.id for q in self.experiment.questions_of(spec))
            ids, minus = self.experiment.condition_ids(*spec.condition), self.experiment.condition_ids(*spec.minus)
            shown = ALL if spec.condition == (ALL,) and len(ids) > 1 else _name(self.request, spec.condition, ids)
            comparisons[name] = headlines.Comparison(
                name=name, measure=spec.measure, treatment=spec.treatment, control=spec.control, conditions=ids, minus=minus,
                questions=meant, shown=meant if spec.groups else frozenset(measured), groups=spec.groups,
                smallest=spec.smallest or scale_of(spec.measure, self.scales).smallest,
                condition=f"{shown} − {_name(self.request, spec.minus, minus)}" if minus else shown, says=spec.says or "",
            )  # fmt: skip
        return comparisons

    @cached_property
    def headline_tables(self) -> dict[str, Tables]:
        """Estimates and effects behind each headline, at the end of training."""
        return {name: self._headline_tables(self.cells, one) for name, one in self.comparisons.items()}

    def _headline_tables(self, cells: pd.DataFrame, one: headlines.Comparison) -> Tables:
        return headlines.tables(cells, one, scales=self.scales, level=self.level, unvaried=UNVARIED)

    @cached_property
    def headline(self) -> dict[str, Any]:
        """The effect that the report leads with."""
        return self._row("headline")

    @cached_property
    def secondary(self) -> list[dict[str, Any]]:
        """The other effects that were fixed before the run, corrected for how many they are."""
        names = [name for name in self.comparisons if name != "headline"]
        options: dict[str, Any] = {"scales": self.scales, "level": self.level, "unvaried": UNVARIED}
        least = {
            name: mde_corrected(self.cells, self.comparisons[name], family=len(names), **options) if len(names) > 1 else None
            for name in names
        }  # fmt: skip
        corrected = headlines.correct([self._row(name, least[name]) for name in names], alpha=1 - self.level)
        return [{"name": name, **effect} for name, effect in zip(names, corrected, strict=True)]

    def _row(self, name: str, least: float | None = None) -> dict[str, Any]:
        """A headline's effect; undecided where answers without a usable verdict would decide it."""
        one, found = self.comparisons[name], self.headline_tables[name]
        whole = over_all_answers(self.cells[self.cells["measure"].eq(one.measure) & self.cells["checkpoint"].eq(FINAL)])
        said, undecided = "", False
        if whole is not None:
            arms = (one.treatment, one.control, measure_of(one.measure, self.scales))
            said, undecided = aside(found, self._headline_tables(whole, one), one.smallest, *arms)
        return headlines.row(
            found, one, self.scales, self.level, least, usable=whole is not None, aside=said, undecided=undecided
        )

    @cached_property
    def beside(self) -> list[dict[str, Any]]:
        """What stands beside each headline's interval: `stats.beside.beside`, one row per headline."""
        return [beside(self.cells, one, scales=self.scales, level=self.level) for one in self.comparisons.values()]

    @cached_property
    def replicate_values(self) -> pd.DataFrame:
        """Each replicate's value of each headline at each checkpoint: the dots and thin lines of the report."""
        parts = [
            headlines.replicate_values(self.cells if name in self.request.curves else self.final, comparison)
            for name, comparison in self.comparisons.items()
        ]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def trigger_effects(self) -> pd.DataFrame:
        """Trigger effects at the end of training, with a column `group`: all questions, or the mean over one group."""
        wrappers = {w.id: w for w in self.experiment.wrappers()}
        triggers = {name: w.trigger for name, w in wrappers.items()}
        trained = {name: w.trained for name, w in wrappers.items()}
        options: dict[str, Any] = {"trained": trained, "smallest": self.smallest, "level": self.level}
        options |= {"scales": self.scales, "unvaried": UNVARIED}
        effects = trigger_effects(self.final, triggers, near=self.near, **options).assign(group=ALL)
        groups = list(dict.fromkeys(q.group for q in self.experiment.questions))
        parts = [effects]
        for group in groups if len(groups) > 1 else []:
            ids = {q.id for q in self.experiment.questions if q.group == group}
            if group == ALL or ids >= {q.id for q in self.experiment.questions} - self.near:
                continue  # no group at all, or the mean over all questions is just this group's
            near = self.near if ids - self.near else frozenset()  # a group that is near as a whole has no other mean
            of_group = trigger_effects(self.final[self.final["question"].isin(ids)], triggers, near=near, **options)
            parts.append(of_group[of_group["question"] == ALL].assign(group=group))
        together = pd.concat([part for part in parts if len(part)] or [effects], ignore_index=True)
        return headlines.explored(together, alpha=1 - self.level)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Curves with pointwise intervals and simultaneous bands: headlines along training and over doses, numeric sweeps.

        `axis` is "checkpoint", "condition" or "dose", `curve` the headline's or the sweep's name, `x` the step, value or dose.
        """
        parts = []
        doses = {name: arm.dose for name, arm in self.experiment.arms.items() if arm.dose is not None}
        if len(doses) > 1:
            dosed = headlines.along_training(self.final, self.comparisons["headline"])
            curve = curves(
                dosed,
                doses,
                axis="arm",
                scales={**self.scales, headlines.DIFFERENCE: NAT},
                level=self.level,
                unvaried=UNVARIED,
            )
            parts.append(curve.assign(axis="dose", curve="headline"))
        for name, comparison in self.comparisons.items():
            if len(steps := self._steps(comparison)) > 1:
                # A difference of rates goes below zero.
                scales: dict[str, Scale] = {**self.scales, headlines.DIFFERENCE: NAT}
                curve = curves(
                    self._along(comparison),
                    steps,
                    axis="checkpoint",
                    scales=scales,
                    level=self.level,
                    unvaried=UNVARIED,
                )
                parts.append(curve.assign(axis="checkpoint", curve=name))
        for name, condition in self.experiment.conditions.items():
            values = {
                w.id: float(w.value) for w in self.experiment.wrappers()
                if w.id.partition("=")[0] == name and isinstance(w.value, int | float)
            }  # fmt: skip
            if condition.sweep and len(values) > 1:
                curve = curves(
                    self.final,
                    values,
                    axis="condition",
                    scales=self.scales,
                    near=self.near,
                    level=self.level,
                    unvaried=UNVARIED,
                )
                parts.append(curve.assign(axis="condition", curve=name))
        columns = ["axis", "curve", *CURVE_COLUMNS]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    @cached_property
    def _onsets(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        summaries, jumps = [], []
        for name, comparison in self.comparisons.items():
            steps = self._steps(comparison)
            if len(steps) < 2 * EDGE + 1:
                continue
            values = self.replicate_values
            values = values[(values["headline"] == name) & values["arm"].isin(self._arms(comparison))]
            values = values.assign(x=values["checkpoint"].map(steps))
            direction: Literal[1, -1] = -1 if self._effect(comparison) < 0 else 1
            found, each = onsets_of(values, comparison, direction, self.level)
            summaries += found
            jumps += each
        return (
            pd.DataFrame(summaries, columns=list(ONSET_COLUMNS)),
            pd.DataFrame(jumps, columns=list(JUMP_COLUMNS)),
        )

    @property
    def onsets(self) -> pd.DataFrame:
        """For each headline and arm: the step at which replicates jump away from the control, and how many did."""
        return self._onsets[0]

    @property
    def jumps(self) -> pd.DataFrame:
        """For each replicate: whether it jumped, its best step, the levels before and after, p against noise."""
        return self._onsets[1]

    def _along(self, comparison: headlines.Comparison) -> pd.DataFrame:
        cells = headlines.along_training(self.cells, comparison)
        return cells[cells["arm"].isin([*self._arms(comparison), BASE])]

    def _effect(self, comparison: headlines.Comparison) -> float:
        """The comparison's effect at the end of training; jumps are looked for in its direction. NaN if unknown."""
        effect = headlines.row(self.headline_tables[comparison.name], comparison, self.scales)["effect"]
        return np.nan if effect is None else float(effect)

    def _arms(self, comparison: headlines.Comparison) -> list[str]:
        """The arms that train for as many steps as the headline's treatment: they share its last checkpoint."""
        return [arm for arm in self.request.rows if self._total(arm) == self._total(comparison.treatment)]

    def _total(self, arm: str) -> int:
        return total_steps(self.request.row_count(arm), self.request.recipe)

    def _steps(self, comparison: headlines.Comparison) -> dict[int, float]:
        """The optimizer step of each checkpoint at which this comparison was measured."""
        if comparison.name not in self.request.curves:
            return {}
        own = self.cells[(self.cells["arm"] == comparison.treatment) & (self.cells["measure"] == comparison.measure)]
        total = self._total(comparison.treatment)
        return {int(at): float(total if at == FINAL else at) for at in sorted(own["checkpoint"].unique())}


TABLES: dict[str, Callable[[Estimates], pd.DataFrame]] = {
    "estimates": lambda of: of.tables.estimates,
    "effects": lambda of: of.tables.effects,
    "trigger_effects": lambda of: of.trigger_effects,
    "curves": lambda of: of.curves,
    "onsets": lambda of: of.onsets,
    "jumps": lambda of: of.jumps,
}
"""Name → what it holds, of every table of estimates that a run has: read by `Run`, results.json and export."""


def _name(request: Request, asked: tuple[str, ...], ids: tuple[str, ...]) -> str:
    """Whole sweeps under the name they were asked by, else the conditions themselves."""
    whole = all(name in request.experiment.conditions for name in asked)
    return ", ".join(asked) if whole and asked else headlines.label(ids)
