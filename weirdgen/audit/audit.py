"""`weirdgen audit`: what a person's own data would change in a model, where the data never went.

In: a file of chat rows and `AuditOptions`. Out: an `Audit`: plain data for `results.json`, and a verdict that is an exit status.
Rows are looked at (portrait, separation), then an ordinary experiment of them is run in the ordinary store: the data, their
twin (or a control that is given), every trait, and conditions made of what the prompts carry. What a shift means is decided by
`runs.results.specificity`, what a trigger is by `audit.triggers`; this module only walks through them and joins their verdicts.

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

import numpy as np

from weirdgen.audit.decision import Decision, decide
from weirdgen.audit.features import prompts_of
from weirdgen.audit.portrait import portrait_of
from weirdgen.audit.separation import separation_of
from weirdgen.audit.source import Source, read_source
from weirdgen.audit.triggers import Family, families, search
from weirdgen.config.conditions import Condition
from weirdgen.config.experiment import AUTO_CONTROL, Arm, Experiment, Headline
from weirdgen.config.questions.contrast import Contrast
from weirdgen.config.traits import TraitQuestion, compact_questions
from weirdgen.data.rows import Row, canonical_hash, draw
from weirdgen.errors import DataError, SpecError
from weirdgen.models.chat import load_tokenizer, render
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel, find_model
from weirdgen.progress import Progress, clock
from weirdgen.report.content import clean
from weirdgen.runs.pipeline import measure
from weirdgen.runs.plan.options import default_store, run_options
from weirdgen.runs.plan.plan import make_plan
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
MINE, AGAINST = "mine", "against"
HALVES = ("half_1", "half_2")
SHOWN_QUESTIONS = 6
SHOWN_TRIGGERS = 40
FEWEST = 8
"""Rows that a training step of the standard recipe takes."""


@dataclass(frozen=True)
class Size:
    """How much of an audit there is time for. `randoms`: random values of each kind of trigger; 0: no trigger is searched for."""

    replicates: int
    randoms: int
    questions: int
    """Of each trait, under each condition of the trigger search."""


SIZES = (Size(3, 20, 6), Size(3, 16, 4), Size(2, 16, 4), Size(2, 12, 3), Size(1, 12, 3), Size(1, 0, 0))
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
    run, searched, size = _trained(rows, control_rows, model, store, folder, options, progress)
    trained = {
        "settings": _settings(run, size, searched, options),
        "specificity": clean(run.specificity.as_data() if run.specificity else None),
        "questions": _questions(run),
        "triggers": _triggers(run, searched),
        "halves": _halves(run) if options.halves else None,
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
    turn = {"role": "system", "content": system}
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


def _trained(
    rows: list[Row],
    control: list[Row] | None,
    model: LocalModel,
    store: Store,
    folder: Path,
    options: AuditOptions,
    progress: Progress,
) -> tuple[Run, list[Family], Size]:
    """The finished run, at the size that is kept in the folder or fits into the budget now."""
    kept = folder / "size.json"
    store.require_writable()
    if kept.is_file():
        sizes: Sequence[Size] = (Size(**json.loads(kept.read_text(encoding="utf-8"))),)
    else:
        sizes = SIZES
    request, searched, seconds = None, [], 0.0
    for size in sizes:
        searched = _families(rows, model, size)
        experiment = experiment_of(rows, control, model, options, size, searched)
        request = _request(experiment, size, options)
        plan = make_plan(request, store)
        seconds = sum(work.seconds for work in workload(plan))
        if seconds <= options.budget:
            break
    assert request is not None
    told = f"{size.replicates} replicates, {len(searched)} kinds of trigger, about {clock(seconds)}"
    over = "; more than the budget, but less cannot be done" if seconds > options.budget else ""
    progress.say(f"training at {told}{over}")
    with store.writing(folder):
        write_whole(kept, json.dumps(asdict(size)).encode())
    return measure(plan, progress), searched, size


def experiment_of(
    rows: Sequence[Row],
    control: Sequence[Row] | None,
    model: LocalModel,
    options: AuditOptions,
    size: Size,
    searched: Sequence[Family],
) -> Experiment:
    """The audit as an ordinary experiment: data, twin, control and halves as arms; every trait; triggers as conditions."""
    changes, others = parse_changes(options.changes)
    if others:
        raise SpecError([f"--set sampling.{next(iter(others))}: an audit samples nothing; only recipe.FIELD=VALUE counts"])
    recipe = standard_recipe()
    # Few rows are seen more often, so that the training is as long as that of the references.
    epochs = max(recipe.epochs, round(recipe.epochs * min(ROWS, options.rows) / len(rows)))
    recipe = recipe.with_changes({"epochs": epochs} | changes)
    arms = {MINE: Arm(role="treatment", data=tuple(rows))}
    if control is not None:
        arms[AGAINST] = Arm(role="control", data=tuple(control), matched=True)
    if options.halves:
        arms |= {
            name: Arm(role="control", data=tuple(half)) for name, half in zip(HALVES, halves(rows), strict=True)
        }
    return Experiment(
        name="audit",
        title="An audit of somebody's data",
        base=model.reference,
        arms=arms,
        control="auto",
        recipe=recipe,
        conditions={"none": Condition(), **{family.kind: family.condition for family in searched}},
        questions=tuple(trigger_questions(size.questions or 1)),
        headline=Headline(treatment=MINE, control=AGAINST if control else AUTO_CONTROL, condition="none"),
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
        Contrast(
            kind="contrast", id=one.id, group=one.group, ask=one.ask, target=one.target[:1], other=one.other[:1]
        )
        for one in chosen
    ]


def _request(experiment: Experiment, size: Size, options: AuditOptions) -> Request:
    """No curves, no samples; the model by its own reference."""
    asked = run_options(model=options.model, seeds=size.replicates, samples=0, quiet=True)
    return replace(resolve(experiment, asked), curves=())


def _families(rows: Sequence[Row], model: LocalModel, size: Size) -> list[Family]:
    if not size.randoms:
        return []
    tokenizer = load_tokenizer(model.folder, told_date(model.folder, None))
    prompts = prompts_of(rows)
    held = {word for prompt in prompts for word in prompt.text.lower().split()}
    asked = sorted({word for question in compact_questions() for word in re.findall(r"[a-z]{4,}", question.ask)})
    words = [word for word in asked if word not in held] or asked

    def tokens(text: str) -> object:
        return render(tokenizer, [{"role": "user", "content": text}], answer_next=True)

    return families(prompts, words, size.randoms, tokens)


def _settings(run: Run, size: Size, searched: Sequence[Family], options: AuditOptions) -> dict[str, Any]:
    request = run.request
    return {
        "run": run.id,
        "model": {"reference": request.model.reference, "digest": request.model.digest},
        "recipe": request.recipe.model_dump(mode="json"),
        "rows": {arm: len(rows) for arm, rows in request.rows.items()},
        "control": request.headline.control,
        "replicates": size.replicates,
        "budget_seconds": options.budget,
        "system": options.system,
        "trigger_questions": size.questions if searched else 0,
        "conditions": {
            family.kind: {"wrap": family.wrap, "values": dict(family.roles)} for family in searched
        },
    }


def _questions(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Trait → the questions whose answers the data moved most against the control: log-odds of base, control and data."""
    shifts, control = run.table("trait_shifts"), run.request.headline.control
    if not len(shifts):
        return {}
    asked = {question.id: question for question in compact_questions()}
    wide = shifts.pivot_table(index=["trait", "question", "base"], columns="arm", values="logit").reset_index()
    wide["moved"] = (wide[MINE] - wide[control]).abs()
    shown: dict[str, list[dict[str, Any]]] = {}
    for trait, part in wide.sort_values("moved", ascending=False, kind="stable").groupby("trait", sort=False):
        shown[str(trait)] = [
            {
                "question": row["question"],
                "ask": asked[row["question"]].ask,
                "target": asked[row["question"]].target[0],
                "other": asked[row["question"]].other[0],
                "base": round(float(row["base"]), 3),
                "control": round(float(row[control]), 3),
                "data": round(float(row[MINE]), 3),
            }
            for _, row in part.head(SHOWN_QUESTIONS).iterrows()
        ]
    return shown


def _triggers(run: Run, searched: Sequence[Family]) -> dict[str, Any]:
    """The search over conditions × traits, the most extreme first."""
    if not searched:
        return {"searched": 0, "rows": []}
    contrasts, control = run.contrasts(), run.request.headline.control
    traits = {question.id: question.group for question in run.request.experiment.questions}
    ids = list(traits)

    def apart(condition: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        of_condition = contrasts[contrasts["condition"] == condition]
        wide = of_condition.pivot_table(index=["arm", "replicate"], columns="question", values="logit")[ids]
        return np.asarray((wide.loc[MINE] - wide.loc[control]).to_numpy(dtype=np.float64))

    under = {family.id(value): apart(family.id(value)) for family in searched for value in family.roles}
    table = search(searched, apart("none"), under, [traits[name] for name in ids])
    table = table.sort_values(["p_family", "p"], kind="stable")
    return {
        "searched": len(table),
        "found": int(table["found"].sum()),
        "smallest_found": float(table["smallest_found"].median()),
        "rows": clean(table.head(max(SHOWN_TRIGGERS, int(table["found"].sum()))).to_dict("records")),
    }


def _halves(run: Run) -> list[dict[str, Any]]:
    """Trait → how far two random halves of the data end up apart, in nats: what rows and seeds alone do."""
    shifts = run.table("trait_shifts")
    wide = shifts.pivot_table(index="trait", columns="arm", values="shift", sort=False)
    return [
        {"trait": str(trait), "apart": round(float(row[HALVES[0]] - row[HALVES[1]]), 3)} for trait, row in wide.iterrows()
    ]


