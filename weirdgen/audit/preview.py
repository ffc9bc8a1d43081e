"""What `weirdgen audit FILE --dry-run` says: what would be trained and searched for, what the store holds, how long it takes.

In: a file of chat rows and `AuditOptions`. Out: a `Preview`: lines, or plain data. It plans exactly as `audit.audit` does, trains
nothing and writes nothing. What is known beforehand about the verdict is told too: the smallest p that is possible, and what
would keep it undecided.
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
from weirdgen.audit.conditions import WITHOUT, Family, constant
from weirdgen.audit.decision import trait_level
from weirdgen.audit.design import MINE, AuditOptions, Size, training_rows
from weirdgen.audit.source import Source, read_source
from weirdgen.config.traits import compact_questions
from weirdgen.data.rows import Row
from weirdgen.finetune.schedule import total_steps
from weirdgen.models.references import find_model
from weirdgen.progress import clock
from weirdgen.runs.plan.options import default_store
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.preview import work_line
from weirdgen.runs.results.specificity import trained_otherwise, yardstick_of
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
            told.append(f"the budget leaves no time to search for triggers among {' and '.join(work.unsearched)}")
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
                    family.kind: {"wrap": _wrap(family), "values": family.roles} for family, _ in work.searches
                },
                "not_searched": list(work.unsearched),
                "in_every_row": constant(self.rows),
                "elsewhere": list(work.elsewhere),
            },
            "compared": self.compared,
            "traits": self.traits,
            "triggers": self.triggers,
            "work": [{"of": of, **asdict(one)} for of, one in self._work()],
            "seconds": round(work.seconds, 1),
            "speeds_seen": self._seen(),
            "longer": [{**asdict(size), "seconds": round(seconds, 1)} for size, seconds in work.longer],
            "begun": work.begun,
            "folder": str(work.folder),
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        source, work = self.source, self.work
        found = f"p ≤ {separation.ALPHA:g} over all pairs, {1 / (1 + separation.PERMUTATIONS):g} at least"
        if work is None:
            return [
                f"{source.file}: {source.words}; nothing is trained",
                f"  portrait and separation ({found}): seconds",
                *(f"  undecided unless something is found: {one}" for one in self.missing),
            ]
        request = work.plan.request
        recipe, count = request.recipe, request.row_count(MINE)
        drawn = f"{len(self.rows)} of them" if len(self.rows) < len(source.rows) else "all"
        lines = [
            f"{source.file}: {source.words}; trained on: {drawn} · {request.model.reference} "
            f"({request.model.parameters / 1e6:.1f}M weights, {request.numerics}) · store {work.plan.store.root}",
            f"  recipe: {count} rows × {recipe.epochs} epochs = {total_steps(count, recipe)} steps, lr {recipe.learning_rate:g} "
            f"{recipe.schedule}, LoRA r{recipe.rank} α{recipe.alpha:g}; control: {request.headline.control}",
            "  portrait and separation: of the rows alone, seconds; shown, and deciding nothing",
            f"  traits: {self._traits_words()}",
            *(f"  triggers: {line}" for line in self._trigger_lines()),
        ]
        if self.options.halves:
            lines.append("  halves: two random halves of the rows, each as many steps")
        lines += [work_line(one) + ("" if of == "traits" else f" ({of})") for of, one in self._work()]
        lines += [f"  would take longer: {_sized(size)}, about {clock(seconds)}" for size, seconds in work.longer[::-1]]
        lines += [f"  undecided unless something is found: {one}" for one in self.missing]
        return [*lines, self._estimate()]

    def _traits_words(self) -> str:
        told, compared = self.traits, self.compared
        asked = f"{told['questions']} questions about {told['traits']} traits, {self._replicates()}"
        if compared is None:
            return f"{asked}; nothing to compare with"
        others = "harmless pairs" if compared["yardstick"] == "pairs" else "harmless datasets"
        ranks = f"rank {told['last_rank']} of {compared['count'] + 1}" if told["last_rank"] else "no rank"
        return (
            f"{asked}, among {compared['count']} {others}: p over all traits is {told['smallest_p']:.2g} at least; found at most "
            f"at {told['alpha']:g} ({ranks}).{trained_otherwise(compared)}"
        )

    def _replicates(self) -> str:
        assert self.work is not None
        count = self.work.size.replicates
        return f"{count} replicates" if count > 1 else "1 replicate"

    def _trigger_lines(self) -> list[str]:
        assert self.work is not None
        work, told, lines = self.work, self.triggers, []
        for family, _ in work.searches:
            roles = list(family.roles.values())
            count = ", ".join(f"{roles.count(role)} {role.replace('_', ' ')}" for role in dict.fromkeys(roles))
            lines.append(
                f"{family.kind} as “{_wrap(family)}”: {count}; {told['candidates'][family.kind]} conditions to be found × "
                f"{self.traits['traits']} traits, {told['deals']} deals"
            )
        if lines:
            lines.append(
                f"{told['pairs']} pairs in all: p over the whole search is {told['smallest_p']:.2g} at least; found at most at "
                f"{told['alpha']:g}, if no deal reaches as far and it is {triggers.SMALLEST:g} nat"
            )
        if not work.searches and not work.unsearched:
            lines.append("none: nothing that could be dealt anew stands before or behind the questions of some rows")
        if work.unsearched:
            lines.append(f"not searched, for want of time: {', '.join(work.unsearched)}")
        if work.elsewhere:
            lines.append(
                f"cannot be searched: {', '.join(work.elsewhere)} (inside questions, in words that change, or in few rows each)"
            )
        return lines

    def _work(self) -> list[tuple[str, StageWork]]:
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

    def _seen(self) -> bool:
        assert self.work is not None
        request = self.work.plan.request
        kinds = (("train", request.recipe.dtype), ("score", request.numerics))
        return all(machine.was_seen(kind, request.model.parameters, dtype) for kind, dtype in kinds)

    def _estimate(self) -> str:
        work = self.work
        assert work is not None
        if not any(one.missing for _, one in self._work()):
            return "  nothing left to compute but the page"
        by = (
            "speeds seen on this machine"
            if self._seen()
            else "the rate of its matrix products: nothing like it ran here yet"
        )
        return f"  {work.line.removeprefix('training: ')}, of a budget of {clock(work.budget)} (by {by})"


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


def _wrap(family: Family) -> str:
    return family.place


def _names(plan: Plan) -> list[str]:
    """The arms, deals put together."""
    arms = [arm for arm in plan.request.rows if not arm.startswith("deal_")]
    deals = len(plan.request.rows) - len(arms)
    return [*arms, f"{deals} deals"] if deals else arms


def _sized(size: Size) -> str:
    kinds = f"up to {size.kinds} kinds of trigger with {size.deals} deals" if size.kinds else "no trigger"
    return f"{size.replicates} replicates, {kinds}"
