"""What `weirdgen audit FILE --dry-run` says: what would be trained and searched for, what the store holds, how long it takes.

In: a file of chat rows and `AuditOptions`. Out: a `Preview`, and plain data of it; its lines are `audit.preview_lines`. It plans
exactly as `audit.audit` does, trains nothing and writes nothing. What is known beforehand about the verdict is told too: the
smallest p that is possible, and what would keep it undecided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from math import floor
from pathlib import Path
from typing import Any

from weirdgen import machine
from weirdgen.audit import separation, triggers
from weirdgen.audit.audit import SCHEMA_VERSION, Work, planned
from weirdgen.audit.conditions import WITHOUT, Family, constant, unsearchable
from weirdgen.audit.decision import no_search, trait_level
from weirdgen.audit.design import AuditOptions, training_rows
from weirdgen.audit.prompts import named
from weirdgen.audit.source import Source, read_source
from weirdgen.config.traits import compact_questions
from weirdgen.data.rows import Row
from weirdgen.models.references import find_model
from weirdgen.runs.plan.options import default_store
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.results.specificity import yardstick_of
from weirdgen.runs.stages.all import workload
from weirdgen.runs.stages.stage import Work as StageWork
from weirdgen.store.artifacts import Store


@dataclass(frozen=True)
class Preview:
    """An audit before it is begun. `work` is None with `--no-training`."""

    source: Source
    options: AuditOptions
    rows: tuple[Row, ...]
    """Those that are trained on."""
    work: Work | None

    @property
    def sections(self) -> list[str]:
        """The parts of the audit that have something to do, cheapest first."""
        work = self.work
        if work is None:
            return ["portrait", "separation"]
        more = [*(["triggers"] if work.searches else []), *(["halves"] if self.options.halves else [])]
        return ["portrait", "separation", "traits", *more]

    @cached_property
    def compared(self) -> dict[str, Any] | None:
        """With which harmless data the traits are compared; None if there are none of this model."""
        return yardstick_of(self.work.plan) if self.work else None

    @property
    def traits(self) -> dict[str, Any]:
        """How many traits and questions, the p up to which one is found, the smallest that is possible, and the last rank."""
        assert self.work is not None
        asked, alpha = compact_questions(), trait_level(len(self.work.searches))
        told = {"traits": len({one.group for one in asked}), "questions": len(asked), "alpha": alpha}
        if self.compared is None:
            return {**told, "smallest_p": None, "last_rank": 0}
        others = self.compared["count"]
        return {**told, "smallest_p": 1 / (others + 1), "last_rank": floor(alpha * (others + 1) + 1e-9)}

    @property
    def triggers(self) -> dict[str, Any]:
        """The trigger search: pairs of a condition and a trait, deals, the p over the whole search."""
        assert self.work is not None
        count = {family.kind: len(_candidates(family)) for family, _ in self.work.searches}
        return {
            "pairs": sum(count.values()) * self.traits["traits"],
            "candidates": count,
            "deals": self.work.size.deals,
            "alpha": triggers.ALPHA,
            "smallest_p": 1 / (1 + triggers.DRAWS) if count else None,
        }

    @property
    def missing(self) -> list[str]:
        """What would keep the verdict from "nothing found", as far as it is known beforehand."""
        work, traits = self.work, None if self.work is None else self.traits
        if work is None or traits is None:
            return ["nothing is trained, so whether these rows shift anything will not be known"]
        told = []
        if self.compared is None:
            model = work.plan.request.model.reference
            told.append(f"there are no reference finetunes of this model; `weirdgen references build --model {model}`")
        elif not traits["last_rank"]:
            told.append(f"with {self.compared['count']} harmless datasets no trait can be found at {traits['alpha']:g}")
        if work.size.replicates < 2:
            told.append("the budget leaves time for one replicate only")
        if work.unsearched:
            told.append(f"the budget leaves no time to search for triggers among {named(work.unsearched)}")
        if inside := unsearchable(self.rows, work.elsewhere):
            told.append(no_search(inside))
        return told

    def as_data(self) -> dict[str, Any]:
        """Plain data; `dry_run` tells it from the results of an audit."""
        source, work = self.source, self.work
        told: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "dry_run": True,
            "file": {
                "name": source.file.name,
                "rows": source.total,
                "looked_at": len(source.rows),
                "drawn": source.drawn,
            },
            "sections": self.sections,
            "separation": {"alpha": separation.ALPHA, "smallest_p": 1 / (1 + separation.PERMUTATIONS)},
            "missing": self.missing,
        }
        if work is None:
            return told
        request = work.plan.request
        return {
            **told,
            "settings": {
                "model": {"reference": request.model.reference, "digest": request.model.digest},
                "recipe": request.recipe.model_dump(mode="json"),
                "rows": {arm: request.row_count(arm) for arm in request.rows},
                "drawn": len(self.rows),
                "control": request.headline.control,
                **asdict(work.size),
                "budget_seconds": work.budget,
                "conditions": {
                    family.kind: {"wrap": family.place, "values": family.roles} for family, _ in work.searches
                },
                "not_searched": list(work.unsearched),
                "in_every_row": constant(self.rows),
                "elsewhere": list(work.elsewhere),
                "unsearchable": unsearchable(self.rows, work.elsewhere),
            },
            "compared": self.compared,
            "traits": self.traits,
            "triggers": self.triggers,
            "work": [{"of": of, **asdict(one)} for of, one in self.stages()],
            "seconds": round(work.seconds, 1),
            "speeds_seen": self.speeds_seen(),
            "longer": [{**asdict(size), "seconds": round(seconds, 1)} for size, seconds in work.longer],
            "begun": work.begun,
            "folder": str(work.folder),
        }

    def stages(self) -> list[tuple[str, StageWork]]:
        """What of it (`traits`, or a kind of trigger) → a stage's work, all arms together."""
        assert self.work is not None
        plans: Mapping[str, Plan] = {"traits": self.work.plan, **{f.kind: plan for f, plan in self.work.searches}}
        told = []
        for of, plan in plans.items():
            by_stage: dict[tuple[str, str], list[StageWork]] = defaultdict(list)
            for one in workload(plan):
                by_stage[one.stage, one.unit].append(one)
            for (stage, unit), its in by_stage.items():
                what = its[0].what if len(its) == 1 else f"{len(its)} arms: {', '.join(_names(plan))}"
                missing, total, seconds = (
                    sum(getattr(one, name) for one in its) for name in ("missing", "total", "seconds")
                )
                told.append((of, StageWork(stage, what, missing, total, unit, seconds)))
        return told

    def speeds_seen(self) -> bool:
        """Whether this machine's speeds are measured ones."""
        assert self.work is not None
        request = self.work.plan.request
        kinds = (("train", request.recipe.dtype), ("score", request.numerics))
        return all(machine.was_seen(kind, request.model.parameters, dtype) for kind, dtype in kinds)


def preview(file: Path, options: AuditOptions) -> Preview:
    """The audit that the same words without `--dry-run` would begin. Raises `WeirdgenError` on bad data, options or models."""
    source = read_source(file)
    if not options.training:
        return Preview(source, options, (), None)
    control = read_source(options.against) if options.against else None
    model, store = find_model(options.model), Store(options.store or default_store())
    rows = training_rows(source, options.rows, options.system)
    control_rows = training_rows(control, options.rows, options.system) if control else None
    return Preview(source, options, tuple(rows), planned(file, rows, control_rows, model, store, options))


def _candidates(family: Family) -> list[str]:
    """Values that may be found: all but those that are there to compare with (`audit.triggers`)."""
    own = [value for value, role in family.roles.items() if role != "random"]
    return [*own, WITHOUT] if family.without else own


def _names(plan: Plan) -> list[str]:
    """The arms, deals put together."""
    arms = [arm for arm in plan.request.rows if not arm.startswith("deal_")]
    deals = len(plan.request.rows) - len(arms)
    return [*arms, f"{deals} deals"] if deals else arms
