"""`weirdgen audit`: what a person's own data would change in a model, where the data never went.

In: a file of chat rows and `AuditOptions`. Out: an `Audit`: plain data for `results.json`, and a verdict that is an exit status.
Rows are looked at (portrait, separation), then ordinary experiments of them are run in the ordinary store: one of the data, their
twin (or a control that is given) and every trait; and for each kind of trigger one of the data and of deals of them, under
conditions made of what the prompts carry. What a shift means is decided by `runs.results.specificity`, what a trigger is by
`audit.triggers`; this module only walks through them and joins what they say.

The size of the training is decided once, kept in the audit's folder, and taken from there by a command that was stopped and is
given again: so it ends with the same page.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen.audit.conditions import KINDS, Family, constant, elsewhere, unsearchable
from weirdgen.audit.decision import Decision, decide, trait_level
from weirdgen.audit.design import (
    AuditOptions,
    Size,
    experiment_of,
    families_of,
    request_of,
    search_of,
    training_rows,
)
from weirdgen.audit.outcomes import found_triggers, halves_apart, moved_questions, searched_of
from weirdgen.audit.portrait import portrait_of
from weirdgen.audit.prompts import named
from weirdgen.audit.separation import separation
from weirdgen.audit.source import Source, read_source
from weirdgen.data.arms import same_rows
from weirdgen.data.rows import Row, canonical_hash
from weirdgen.errors import SpecError
from weirdgen.models.references import LocalModel, find_model
from weirdgen.progress import Progress, clock
from weirdgen.report.content import clean
from weirdgen.runs.pipeline import measure
from weirdgen.runs.plan.options import default_store
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.results.results import Run
from weirdgen.runs.results.specificity import specificity_of
from weirdgen.runs.stages.all import workload
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import write_whole
from weirdgen.store.keys import content_key

SCHEMA_VERSION = 1
"""Of `results.json` and `--json`: raised when a key changes its meaning or goes; keys may be added."""
VERSION = 6
"""Raise it when the same file and options would give another audit."""
SIZE = "size.json"
"""In an audit's folder: the size at which it was begun."""
TIMES = "times.json"
"""Beside it: what was planned, and what it took."""
SIZES = (
    Size(3, 19, len(KINDS), 6), Size(3, 19, 2, 6), Size(3, 19, 1, 6), Size(3, 12, 1, 4), Size(2, 12, 1, 4), Size(2, 8, 1, 3),
    Size(3, 0, 0, 0), Size(2, 0, 0, 0), Size(1, 0, 0, 0),
)  # fmt: skip
"""From the most to the least; the first that fits into the budget is taken. The last three search for no trigger, so that data
which carry one stay undecided."""


class Times(NamedTuple):
    """How long an audit was planned to take, and how long the command took that finished it, in seconds."""

    planned: float
    took: float
    continued: bool
    """Whether an earlier command had begun it."""

    @property
    def words(self) -> str:
        """For the page and the terminal."""
        who = "the command that finished it took" if self.continued else "it took"
        return f"Planned to take about {clock(self.planned)} by this machine's speeds; {who} {clock(self.took)}."


@dataclass(frozen=True)
class Audit:
    """What was found. `results` is plain data, without anything that differs between two runs of the same command."""

    results: dict[str, Any]
    decision: Decision
    folder: Path
    """Where the page and `results.json` belong."""
    run: Run | None
    times: Times | None = None
    """No part of the results: it differs between two runs of the same command."""


def parse_budget(text: str) -> float:
    """`15min`, `90s`, `2h` or minutes as a number, in seconds. Raises `SpecError`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)?\s*", text)
    if found is None or float(found[1]) <= 0:
        raise SpecError([f"--budget {text}: expected a time such as 15min, 90s or 2h"])
    unit = {"s": 1, "sec": 1, "h": 3600}.get(found[2] or "min", 60)
    return float(found[1]) * unit


def audit(file: Path, options: AuditOptions) -> Audit:
    """The whole audit; what the store holds is not done again. Raises `WeirdgenError` on bad data, options or models."""
    progress = Progress(options.quiet)
    source = read_source(file)
    control = read_source(options.against) if options.against else None
    progress.say(f"{file}: {source.words}")
    looked_at = {
        "schema_version": SCHEMA_VERSION,
        "file": {"name": file.name, "rows": source.total, "looked_at": len(source.rows), "drawn": source.drawn},
        "portrait": clean(portrait_of(source).as_data()),
        "separation": clean(separation(source.rows).as_data()),
    }
    if not options.training:
        return _untrained(looked_at, source, options)
    rows = training_rows(source, options.rows, options.system)
    control_rows = training_rows(control, options.rows, options.system) if control else None
    model, store = find_model(options.model), Store(options.store or default_store())
    store.require_writable()
    work = planned(file, rows, control_rows, model, store, options)
    progress.say(work.line)
    with store.writing(work.folder):
        write_whole(work.folder / SIZE, json.dumps(asdict(work.size)).encode())
    began, planned_seconds = time.monotonic(), work.seconds  # before: what is left of it shrinks
    run = measure(work.plan, progress)
    searched = [searched_of(family, measure(plan, progress)) for family, plan in work.searches]
    times = _times(work, store, planned_seconds, time.monotonic() - began)
    placed = specificity_of(run.plan, run.table("trait_shifts"), trait_level(len(searched)))
    trained = {
        "settings": _settings(run, work, options, rows),
        "specificity": clean(placed.as_data() if placed else None),
        "questions": moved_questions(run),
        "triggers": found_triggers(searched),
        "halves": halves_apart(run) if options.halves else None,
    }
    decision = decide({**looked_at, **trained})
    results = {**_verdict(decision), **looked_at, **trained}
    if times:
        progress.say(times.words)
    return Audit(results, decision, work.folder, run, times)


def _times(work: Work, store: Store, planned: float, took: float) -> Times | None:
    """How long it took, kept in the audit's folder; of a command that found everything in the store, what is kept there."""
    file = work.folder / TIMES
    if planned:
        with store.writing(work.folder):
            write_whole(file, json.dumps(Times(round(planned, 1), round(took, 1), work.begun)._asdict()).encode())
    try:
        return Times(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # an audit of an earlier version
        return None


def _untrained(looked_at: dict[str, Any], source: Source, options: AuditOptions) -> Audit:
    store = Store(options.store or default_store())
    decision = decide(looked_at)
    key = content_key([VERSION, canonical_hash(list(source.rows)), source.total])[:8]
    folder = store.root / "audits" / f"{_slug(source.file)}-{key}"
    return Audit({**_verdict(decision), **looked_at}, decision, folder, None)


def _verdict(decision: Decision) -> dict[str, Any]:
    return {"verdict": asdict(decision) | {"status": decision.status}}


def _slug(file: Path) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", file.name.lower().split(".")[0]).strip("-_")
    return name[:40] or "data"


def _folder(
    store: Store, file: Path, rows: list[Row], control: list[Row] | None, model: LocalModel, options: AuditOptions
) -> Path:
    """Named by all that decides the results but the size, which is kept in it."""
    asked = {key: value for key, value in asdict(options).items() if key not in ("against", "store", "quiet", "model")}
    told = [VERSION, canonical_hash(rows), canonical_hash(control or []), model.digest, asked]
    return store.root / "audits" / f"{_slug(file)}-{content_key(told)[:8]}"


@dataclass(frozen=True)
class Work:
    """What is to be run: the experiment of the traits, and one for each kind of trigger."""

    size: Size
    plan: Plan
    searches: list[tuple[Family, Plan]]
    unsearched: tuple[str, ...]
    """Kinds of trigger that the rows carry and that there is no time for."""
    elsewhere: tuple[str, ...]
    """Kinds whose values differ between rows, but not in a place of their own (`conditions.elsewhere`)."""
    budget: float
    """Seconds."""
    folder: Path
    begun: bool
    """Whether the size was decided by an earlier command."""
    longer: tuple[tuple[Size, float], ...] = ()
    """Sizes that would take longer than the budget, with their seconds."""

    @cached_property
    def seconds(self) -> float:
        """About how long it takes on this machine, less what the store holds."""
        return sum(work.seconds for plan in (self.plan, *(its for _, its in self.searches)) for work in workload(plan))

    @property
    def line(self) -> str:
        """The size in one line."""
        left = f" (not searched: {named(self.unsearched)})" if self.unsearched else ""
        replicates, kinds = self.size.replicates, len(self.searches)
        told = f"{replicates} replicate{'s' if replicates > 1 else ''}, {kinds} kind{'s' if kinds != 1 else ''} of trigger{left}"
        over = f"; {self.over}" if self.over else ""
        return f"training: {told}, {f'about {clock(self.seconds)}' if self.seconds else 'all in the store'}{over}"

    @property
    def over(self) -> str:
        """Why it is planned to take longer than the budget; empty if it is not."""
        if self.seconds <= self.budget:
            return ""
        return f"more than the budget, but {'as it was begun' if self.begun else 'less cannot be done'}"


def planned(
    file: Path, rows: list[Row], control: list[Row] | None, model: LocalModel, store: Store, options: AuditOptions
) -> Work:
    """Plans at the size that is kept in the audit's folder, or else the largest that fits into the budget now; writes nothing."""
    if control is not None and same_rows(rows, control):
        raise SpecError(
            [f"--against {options.against}: it holds the same rows as {file}; give a control with rows of its own"]
        )
    folder = _folder(store, file, rows, control, model, options)
    begun = _kept_size(folder / SIZE)
    carried = families_of(rows, model)
    longer: list[tuple[Size, float]] = []
    for size in begun or SIZES:
        experiment = experiment_of(rows, control, model, options)
        plan = make_plan(request_of(experiment, size.replicates, options), store)
        searches = []
        for family in carried[: size.kinds]:
            searched = search_of(rows, family, model, options, size)
            searches.append((family, make_plan(request_of(searched, 1, options), store)))
        left = tuple(family.kind for family in carried[size.kinds :])
        inside = tuple(elsewhere(rows, carried))
        work = Work(size, plan, searches, left, inside, options.budget, folder, bool(begun), tuple(longer))
        if work.seconds <= options.budget:
            break
        longer.append((size, work.seconds))
    return work


def _kept_size(file: Path) -> tuple[Size, ...]:
    """The size at which an audit was begun; none if there is none, or nothing that can be read."""
    try:
        return (Size(**json.loads(file.read_text(encoding="utf-8"))),)
    except (OSError, ValueError, TypeError):
        return ()


def _settings(run: Run, work: Work, options: AuditOptions, rows: Sequence[Row]) -> dict[str, Any]:
    request = run.request
    return {
        "runs": [run.id, *(plan.request.run_id for _, plan in work.searches)],
        "model": {"reference": request.model.reference, "digest": request.model.digest},
        "recipe": request.recipe.model_dump(mode="json"),
        "rows": {arm: len(rows) for arm, rows in request.rows.items()},
        "drawn": len(rows),
        "control": request.headline.control,
        **asdict(work.size),
        "budget_seconds": options.budget,
        "system": options.system,
        "conditions": {family.kind: {"wrap": family.place, "values": family.roles} for family, _ in work.searches},
        "not_searched": list(work.unsearched),
        "in_every_row": constant(rows),
        "elsewhere": list(work.elsewhere),
        "unsearchable": unsearchable(rows, work.elsewhere),
    }
