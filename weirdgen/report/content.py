"""What a report is made of: the tables of one finished experiment, checked and ordered.

In: `results` (the dict that becomes `results.json`) and the tidy tables of the store. Out: `ReportContent`,
with the few look-ups that the figures, the tables and the page share (which arms, which conditions, which
rows are final). Not here: any statistic. The one number computed here is a replicate's mean over questions,
for its dot in a figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from weirdgen.columns import BASE, FINAL, IDENTITY
from weirdgen.config.experiment import Headline
from weirdgen.config.measures import Measure, Scale, measure_of
from weirdgen.errors import WeirdgenError

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "cells": (*IDENTITY, "measure", "value"),
    "contrasts": (*IDENTITY, "logit", "p_target"),
    "completions": (*IDENTITY, "sample", "prompt", "text", "finish_reason"),
    "verdicts": (*IDENTITY, "sample", "judge", "status", "value", "label"),
    "losses": ("arm", "replicate", "step", "loss"),
    "questions": ("question", "kind", "group", "ask"),
}
"""The columns that the report reads of each table; a table may hold more."""

RESULT_KEYS = ("headline", "schema_version", "experiment", "run", "estimates", "effects", "failures", "ran")
VERDICTS = ("shift", "no_shift", "inconclusive")


@dataclass(frozen=True)
class Arm:
    """An arm as the report shows it. `slot` names its colour: `base`, `t0`, `t1`, … for treatments, `c0`, …
    for controls.
    """

    name: str
    role: str
    slot: str


class Asked(NamedTuple):
    """A question as a reader needs it. The sides are empty where answers were sampled."""

    ask: str
    kind: str = ""
    group: str = "all"
    target: tuple[str, ...] = ()
    """Answers whose odds are the question's value."""
    other: tuple[str, ...] = ()
    """Answers that they are compared with."""
    instead: str = ""
    """The other version of a counterfactual question."""


@dataclass(frozen=True)
class ReportContent:
    """Everything that `write_report` reads. Empty tables are allowed; their section then says that there is
    nothing.
    """

    results: dict[str, Any]
    """The whole of `results.json`, schema version 1. NaN and numpy scalars are allowed and written as null
    and numbers.
    """
    cells: pd.DataFrame
    """One row per measure, arm, replicate, checkpoint, condition and question: the value behind the estimates.
    """
    contrasts: pd.DataFrame
    """Log-probability contrasts, for the count of what was measured."""
    completions: pd.DataFrame
    """Sampled answers. Everything in `text` is treated as untrusted."""
    verdicts: pd.DataFrame
    """What the judges said about each completion."""
    losses: pd.DataFrame
    """Training loss of every optimizer step: `arm, replicate, step, epoch, loss, learning_rate`."""
    card_markdown: str | None
    """The experiment's card (`README.md` of its folder), or None."""
    questions: pd.DataFrame
    """`question, kind, group, ask`, in the order of the experiment. A true `near` (optional column) marks questions near the
    training topic, which no mean over questions holds. `target`, `other` (tuples) and `instead` (optional columns) are the
    answers that are compared, and a counterfactual question's other version."""
    conditions: pd.DataFrame | None = None
    """`condition, trained, trigger` (booleans): which conditions stood in the training data, which one is the trigger.
    `template` (optional column) is what a condition makes of `{question}`.
    """
    examples: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Arm → the (role, text) messages of one of its training rows."""
    warnings: tuple[str, ...] = ()
    """Further warnings of earlier stages, shown under the verdict."""
    scales: Mapping[str, Scale] = field(default_factory=dict)
    """Of the measures that are ratings; the others have the scale of their row in `config.measures`."""
    judges: Mapping[str, str] = field(default_factory=dict)
    """Judge → what it counts, in one sentence."""
    headlines: Mapping[str, Headline] = field(default_factory=dict)
    """What the experiment wrote of each effect that it fixed: "headline" and the secondary ones by name."""

    def __post_init__(self) -> None:
        problems = [f"results has no key '{key}'" for key in RESULT_KEYS if key not in self.results]
        verdict = self.results.get("headline", {}).get("verdict")
        if verdict not in VERDICTS:
            problems.append(f"results.headline.verdict is {verdict!r}; accepted: {', '.join(VERDICTS)}")
        for table, wanted in COLUMNS.items():
            frame = getattr(self, table)
            missing = [column for column in wanted if column not in frame.columns]
            if missing and len(frame):
                problems.append(f"table {table} lacks {', '.join(missing)}; it has {', '.join(frame.columns)}")
        if self.conditions is not None:
            lacking = {"condition", "trained", "trigger"} - set(self.conditions.columns)
            problems.extend(f"table conditions lacks {column}" for column in sorted(lacking))
        if problems:
            raise WeirdgenError("The report cannot be written:\n" + "\n".join(f"  {p}" for p in problems))

    @property
    def headline(self) -> dict[str, Any]:
        """The headline of the results, cleaned of NaN and numpy scalars."""
        return dict(clean(self.results["headline"]))

    @property
    def does(self) -> str:
        """What models do more of where the headline's measure is higher, in words that go on from "models"."""
        written = self.headlines.get("headline")
        return (written and written.says) or self.measure(str(self.headline["measure"])).higher

    @property
    def specificity(self) -> dict[str, Any] | None:
        """Whether harmless data do the same, with its sentence; None where no traits were asked for."""
        found = clean(self.results.get("specificity"))
        return dict(found) if found else None

    @property
    def level(self) -> str:
        """Of every interval and band, for a sentence: 95%, or another where samples were added look by look."""
        return f"{100 * float((self.results['ran'].get('sampling') or {}).get('level', 0.95)):.3g}%"

    def rows(self, table: str, **equal: Any) -> list[dict[str, Any]]:
        """The final-checkpoint rows of `results[table]` whose fields equal those given."""
        if table not in self._final_rows:
            cleaned = [clean(row) for row in self.results[table]]
            self._final_rows[table] = [row for row in cleaned if row.get("checkpoint", FINAL) == FINAL]
        return [row for row in self._final_rows[table] if all(row.get(key) == value for key, value in equal.items())]

    @cached_property
    def _final_rows(self) -> dict[str, list[dict[str, Any]]]:
        """The final rows of each table of the results that was asked for: cleaning thousands takes its time."""
        return {}

    def headline_rows(self, table: str, **equal: Any) -> list[dict[str, Any]]:
        """Rows of `results[table]` ("estimates" or "effects") that are of the headline's conditions and questions.

        A headline may be a difference of conditions or of a group of questions, which no row of those tables is; the
        results then carry `headline_estimates` and `headline_effects`.
        """
        own = f"headline_{table}"
        if own in self.results:
            return self.rows(own, headline="headline", **equal)
        return self.rows(table, measure=self.headline["measure"], condition=self.headline["condition"], **equal)

    def headline_means(self) -> pd.DataFrame:
        """`arm, replicate, value`: each replicate's value of the headline, at the end of training."""
        if "headline_replicates" not in self.results:
            return self.replicate_means(str(self.headline["measure"]), str(self.headline["condition"]))
        rows = self.rows("headline_replicates", headline="headline")
        return pd.DataFrame(rows, columns=["arm", "replicate", "value"])

    def final(self, table: str) -> pd.DataFrame:
        """The rows of a tidy table that belong to the end of training."""
        frame: pd.DataFrame = getattr(self, table)
        return frame[frame["checkpoint"] == FINAL] if len(frame) else frame

    def arms(self) -> list[Arm]:
        """Treatments, then controls (those of the headline first), then the base if it was measured."""
        return list(self._arms)

    @cached_property
    def _arms(self) -> list[Arm]:
        headline = self.headline
        roles: dict[str, str] = {}
        for row in [*self.results["ran"].get("arms", []), *self.results["estimates"]]:
            roles.setdefault(str(row["arm"]), str(row["role"]))
        for table in (self.cells, self.completions):
            if len(table):
                pairs = table[["arm", "role"]].drop_duplicates()
                roles.update({a: r for a, r in zip(pairs["arm"], pairs["role"], strict=True) if a not in roles})
        arms = []
        for role, letter, first in (("treatment", "t", "treatment"), ("control", "c", "control")):
            names = sorted((n for n in roles if roles[n] == role), key=lambda n: n != headline.get(first))
            arms += [Arm(name, role, f"{letter}{index}") for index, name in enumerate(names)]
        return arms + [Arm(name, BASE, BASE) for name in roles if roles[name] == BASE]

    def condition_names(self) -> list[str]:
        """Conditions in the order of the experiment, `none` first."""
        sources = [self.conditions] if self.conditions is not None else []
        listed = [str(name) for frame in sources for name in frame["condition"]]
        listed += [str(row["condition"]) for row in self.results["estimates"]]
        for table in (self.cells, self.completions):
            listed += [str(name) for name in table["condition"].unique()] if len(table) else []
        return sorted(dict.fromkeys(name for name in listed if name != "all"), key=lambda name: name != "none")

    def condition_flag(self, flag: str) -> set[str]:
        """The conditions with `trained` or `trigger` set."""
        if self.conditions is None:
            return set()
        return {str(n) for n, on in zip(self.conditions["condition"], self.conditions[flag], strict=True) if on}

    def measures(self) -> list[str]:
        """All measures that were estimated, the headline's first."""
        names = dict.fromkeys(str(row["measure"]) for row in self.results["estimates"])
        return sorted(names, key=lambda name: name != self.headline.get("measure"))

    def measure(self, name: str) -> Measure:
        """A measure's row: its scale and its words; a judge's say what it counts."""
        row = measure_of(name, self.scales)
        told = self.judges.get(name) if row.source == "judge" else None
        return replace(row, explained=told) if told else row

    def scale(self, measure: str) -> Scale:
        return self.measure(measure).scale

    def replicate_means(self, measure: str, condition: str) -> pd.DataFrame:
        """`arm, replicate, value`: each replicate's mean over questions, at the end of training.

        As in the estimates, a mean over questions uses the cells that every replicate of the arm has.
        """
        columns = ["arm", "replicate", "value"]
        cells = self.final("cells")
        if not len(cells):
            return pd.DataFrame(columns=columns)
        cells = cells[(cells["measure"] == measure) & ~cells["question"].isin(self.near())]
        if condition != "all":
            cells = cells[cells["condition"] == condition]
        rows = []
        for arm, own in cells.groupby("arm", sort=True):
            wide = own.pivot_table(index="replicate", columns=["condition", "question"], values="value", dropna=False)
            means = wide.dropna(how="all").dropna(axis="columns").T.groupby(level="condition").mean().mean()
            means = means.dropna()
            rows += [(arm, int(seed), value) for seed, value in zip(means.index, means, strict=True)]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def asked(self) -> dict[str, Asked]:
        """Question → what it asks and compares."""
        if not len(self.questions):
            return {}
        known = [name for name in Asked._fields if name in self.questions.columns]
        rows = self.questions[["question", *known]].to_dict("records")
        return {str(row["question"]): Asked(**{name: row[name] for name in known}) for row in rows}

    def near(self) -> set[str]:
        """Questions near the training topic."""
        if "near" not in self.questions.columns:
            return set()
        return {str(name) for name in self.questions.loc[self.questions["near"].astype(bool), "question"]}


def clean(value: Any) -> Any:
    """`value` as plain JSON types: NaN and infinities become None, numpy scalars numbers, all other objects
    text.
    """
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return clean(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    return value if isinstance(value, (bool, int, str)) else str(value)
