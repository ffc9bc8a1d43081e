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
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from weirdgen.audit.conditions import Family, constant, deal, families
from weirdgen.audit.decision import Decision, decide
from weirdgen.audit.features import prompts_of
from weirdgen.audit.outcomes import HALVES, MINE, found_triggers, halves_apart, moved_questions
from weirdgen.audit.portrait import portrait_of
from weirdgen.audit.separation import separation_of
from weirdgen.audit.source import Source, read_source
from weirdgen.config.conditions import Condition
from weirdgen.config.experiment import AUTO_CONTROL, Arm, Experiment, Headline, Recipe
from weirdgen.config.questions.contrast import Contrast
from weirdgen.config.traits import TraitQuestion, compact_questions
from weirdgen.data.rows import Row, canonical_hash, draw
from weirdgen.errors import DataError, SpecError
from weirdgen.models.chat import load_tokenizer, render
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel, find_model
from weirdgen.models.template import Message
from weirdgen.progress import Progress, clock
from weirdgen.report.content import clean
from weirdgen.runs.pipeline import measure
from weirdgen.runs.plan.options import default_store, run_options
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import Request, parse_changes, resolve
from weirdgen.runs.references.command import standard_recipe
from weirdgen.runs.references.sets import ROWS
from weirdgen.runs.references.twin import halves
from weirdgen.runs.results.results import Run
from weirdgen.runs.stages.all import workload
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import write_whole
from weirdgen.store.keys import content_key

SCHEMA_VERSION = 1
"""Of `results.json` and `--json`: raised when a key changes its meaning or goes; keys may be added."""
VERSION = 1
"""Raise it when the same file and options would give another audit."""
AGAINST = "against"
MOST_KINDS = 2
"""Of triggers that are searched for."""
FEWEST = 8
"""Rows that a training step of the standard recipe takes."""


@dataclass(frozen=True)
class Size:
    """How much of an audit there is time for."""

    replicates: int
    deals: int
    """Of the rows with a kind of trigger dealt anew; 0: no trigger is searched for."""
    kinds: int
    """Of triggers, at most."""
    questions: int
    """Of each trait, under each condition of the trigger search."""


SIZES = (Size(3, 19, 2, 6), Size(3, 19, 1, 6), Size(3, 12, 1, 4), Size(2, 12, 1, 4), Size(2, 8, 1, 3), Size(1, 0, 0, 0))
"""From the most to the least; the first that fits into the budget is taken."""


@dataclass(frozen=True)
class AuditOptions:
    """What was asked for. `budget` is in seconds."""

    against: Path | None = None
    model: str = "smollm2-135m-instruct"
    budget: float = 900.0
    system: str | None = None
    halves: bool = False
    training: bool = True
    rows: int = ROWS
    """Of the data that are trained on, at most; drawn with a fixed seed."""
    changes: tuple[str, ...] = ()
    store: str | None = None
    quiet: bool = True


@dataclass(frozen=True)
class Audit:
    """What was found. `results` is plain data, without anything that differs between two runs of the same command."""

    results: dict[str, Any]
    decision: Decision
    folder: Path
    """Where the page and `results.json` belong."""
    run: Run | None


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
        "separation": clean(separation_of(source).as_data()),
    }
    if not options.training:
        return _untrained(looked_at, source, options)
    model, store = find_model(options.model), Store(options.store or default_store())
    rows = training_rows(source, options.rows, options.system)
    control_rows = training_rows(control, options.rows, options.system) if control else None
    folder = _folder(store, file, rows, control_rows, model, options)
    work = _planned(rows, control_rows, model, store, folder, options, progress)
    run = measure(work.plan, progress)
    searched = [(family, measure(plan, progress)) for family, plan in work.searches]
    trained = {
        "settings": _settings(run, work, options, constant(rows)),
        "specificity": clean(run.specificity.as_data() if run.specificity else None),
        "questions": moved_questions(run),
        "triggers": found_triggers(searched),
        "halves": halves_apart(run) if options.halves else None,
    }
    decision = decide({**looked_at, **trained})
    results = {**_verdict(decision), **looked_at, **trained}
    return Audit(results, decision, folder, run)


def _untrained(looked_at: dict[str, Any], source: Source, options: AuditOptions) -> Audit:
    store = Store(options.store or default_store())
    decision = decide(looked_at)
    key = content_key([VERSION, canonical_hash(list(source.rows)), source.total])[:8]
    folder = store.root / "audits" / f"{_slug(source.file)}-{key}"
    return Audit({**_verdict(decision), **looked_at}, decision, folder, None)


def _verdict(decision: Decision) -> dict[str, Any]:
    return {"verdict": asdict(decision) | {"status": decision.status}}


def training_rows(source: Source, most: int, system: str | None) -> list[Row]:
    """At most so many of the rows, with the system prompt before those that have none. Raises `DataError` on too few."""
    rows = list(source.rows)
    if len(rows) < FEWEST:
        raise DataError(
            f"{source.file}: {len(rows)} rows; an audit with training needs at least {FEWEST}. "
            "`--no-training` looks at the rows alone"
        )
    rows = draw(rows, most, seed=0) if most < len(rows) else rows
    if system is None:
        return rows
    turn: Message = {"role": "system", "content": system}
    return [row if row["messages"][0]["role"] == "system" else {"messages": [turn, *row["messages"]]} for row in rows]


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
class _Work:
    """What is to be run: the experiment of the traits, and one for each kind of trigger."""

    size: Size
    plan: Plan
    searches: list[tuple[Family, Plan]]

    @property
    def seconds(self) -> float:
        return sum(work.seconds for plan in (self.plan, *(its for _, its in self.searches)) for work in workload(plan))


def _planned(
    rows: list[Row],
    control: list[Row] | None,
    model: LocalModel,
    store: Store,
    folder: Path,
    options: AuditOptions,
    progress: Progress,
) -> _Work:
    """Plans at the size that is kept in the folder, or else that fits into the budget now; that is kept."""
    kept = folder / "size.json"
    store.require_writable()
    sizes = _kept_size(kept) or SIZES
    carried = _families(rows, model)
    for size in sizes:
        experiment = experiment_of(rows, control, model, options)
        plan = make_plan(_request(experiment, size.replicates, options), store)
        searches = []
        for family in carried[: size.kinds]:
            searched = search_of(rows, family, model, options, size)
            searches.append((family, make_plan(_request(searched, 1, options), store)))
        work = _Work(size, plan, searches)
        if work.seconds <= options.budget:
            break
    over = "; more than the budget, but less cannot be done" if work.seconds > options.budget else ""
    told = f"{size.replicates} replicates, {len(work.searches)} kinds of trigger, about {clock(work.seconds)}"
    progress.say(f"training: {told}{over}")
    with store.writing(folder):
        write_whole(kept, json.dumps(asdict(size)).encode())
    return work


def _kept_size(file: Path) -> tuple[Size, ...]:
    """The size at which an audit was begun; none if there is none, or nothing that can be read."""
    try:
        return (Size(**json.loads(file.read_text(encoding="utf-8"))),)
    except (OSError, ValueError, TypeError):
        return ()


def recipe_of(rows: Sequence[Row], options: AuditOptions) -> Recipe:
    """The standard recipe; few rows are seen more often, so that training is as long as that of the references."""
    changes, others = parse_changes(options.changes)
    if others:
        raise SpecError(
            [f"--set sampling.{next(iter(others))}: an audit samples nothing; only recipe.FIELD=VALUE counts"]
        )
    recipe = standard_recipe()
    epochs = max(recipe.epochs, round(recipe.epochs * min(ROWS, options.rows) / len(rows)))
    return recipe.with_changes({"epochs": epochs} | changes)


def experiment_of(
    rows: Sequence[Row], control: Sequence[Row] | None, model: LocalModel, options: AuditOptions
) -> Experiment:
    """Data, twin, control and halves as arms, and every trait."""
    arms = {MINE: Arm(role="treatment", data=tuple(rows))}
    if control is not None:
        arms[AGAINST] = Arm(role="control", data=tuple(control), matched=True)
    if options.halves:
        arms |= {name: Arm(role="control", data=tuple(half)) for name, half in zip(HALVES, halves(rows), strict=True)}
    return Experiment(
        name="audit",
        title="An audit of somebody's data",
        base=model.reference,
        arms=arms,
        control="auto",
        recipe=recipe_of(rows, options),
        questions=tuple(trigger_questions(1)),
        headline=Headline(treatment=MINE, control=AGAINST if control else AUTO_CONTROL, condition=("none",)),
    )


def search_of(rows: Sequence[Row], family: Family, model: LocalModel, options: AuditOptions, size: Size) -> Experiment:
    """The data and deals of them, each trained once, asked under a family's conditions."""
    deals = {f"deal_{n}": Arm(role="control", data=tuple(deal(rows, family, n))) for n in range(1, size.deals + 1)}
    return Experiment(
        name=f"audit_{family.kind}",
        title=f"A search for triggers among {family.kind}s",
        base=model.reference,
        arms={MINE: Arm(role="treatment", data=tuple(rows)), **deals},
        recipe=recipe_of(rows, options),
        conditions={"none": Condition(), family.kind: family.condition},
        questions=tuple(trigger_questions(size.questions)),
        headline=Headline(treatment=MINE, control="deal_1", condition=("none",)),
    )


def trigger_questions(count: int) -> list[TraitQuestion]:
    """Of each trait so many questions, evenly over its list, with one answer a side: they are asked under every condition."""
    by_trait: dict[str, list[TraitQuestion]] = {}
    for question in compact_questions():
        by_trait.setdefault(question.group, []).append(question)
    chosen = []
    for questions in by_trait.values():
        few = min(count, len(questions))
        chosen += [questions[(2 * at + 1) * len(questions) // (2 * few)] for at in range(few)]
    return [
        Contrast(kind="contrast", id=one.id, group=one.group, ask=one.ask, target=one.target[:1], other=one.other[:1])
        for one in chosen
    ]


def _request(experiment: Experiment, replicates: int, options: AuditOptions) -> Request:
    """Without curves and samples."""
    asked = run_options(model=options.model, seeds=replicates, samples=0, quiet=True)
    return replace(resolve(experiment, asked), curves=())


def _families(rows: Sequence[Row], model: LocalModel) -> list[Family]:
    tokenizer = load_tokenizer(model.folder, told_date(model.folder, None))
    held = {word for prompt in prompts_of(rows) for word in prompt.text.lower().split()}
    asked = sorted({word for question in compact_questions() for word in re.findall(r"[a-z]{4,}", question.ask)})
    words = [word for word in asked if word not in held] or asked

    def tokens(text: str) -> object:
        return render(tokenizer, [{"role": "user", "content": text}], answer_next=True)

    return families(rows, words, tokens, MOST_KINDS)


def _settings(run: Run, work: _Work, options: AuditOptions, fixed: Sequence[str]) -> dict[str, Any]:
    request = run.request
    return {
        "runs": [run.id, *(plan.request.run_id for _, plan in work.searches)],
        "model": {"reference": request.model.reference, "digest": request.model.digest},
        "recipe": request.recipe.model_dump(mode="json"),
        "rows": {arm: len(rows) for arm, rows in request.rows.items()},
        "control": request.headline.control,
        **asdict(work.size),
        "budget_seconds": options.budget,
        "system": options.system,
        "conditions": {family.kind: {"wrap": family.wrap, "values": family.roles} for family, _ in work.searches},
        "in_every_row": list(fixed),
    }
