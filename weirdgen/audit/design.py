"""What an audit trains and asks: its rows, its experiments, and the kinds of trigger that its prompts carry.

In: a `Source` and `AuditOptions`. Out: the rows that are trained on, an experiment of the traits (data, twin or control, halves),
and for each kind of trigger one of the data and of deals of them. Questions are those of `config.traits` unless others are given.
Nothing is run here, and how much of it there is time for is decided in `audit.audit`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weirdgen.audit.conditions import Family, deal, families
from weirdgen.audit.prompts import prompts_of
from weirdgen.audit.source import FEWEST, Source
from weirdgen.config.arm import AUTO_CONTROL, Arm
from weirdgen.config.conditions import Condition
from weirdgen.config.experiment import Experiment, Headline, Recipe
from weirdgen.config.questions.contrast import Contrast
from weirdgen.config.traits import TraitQuestion, compact_questions
from weirdgen.data.rows import Row, draw
from weirdgen.errors import DataError, SpecError
from weirdgen.finetune.schedule import steps_per_epoch, total_steps
from weirdgen.models.chat import load_tokenizer, render
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel
from weirdgen.models.template import Message
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.request import Request
from weirdgen.runs.plan.resolve import parse_changes, resolve
from weirdgen.runs.references.command import standard_recipe
from weirdgen.runs.references.sets import ROWS
from weirdgen.runs.references.twin import halves
from weirdgen.runs.results.listing import AUDIT

MINE, HALVES = "mine", ("half_1", "half_2")
"""Arms: the data that are audited, and random halves of them, filled up so that they have as many steps."""
AGAINST = "against"


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


def training_rows(source: Source, most: int, system: str | None) -> list[Row]:
    """At most so many of the rows, with the system prompt before those that have none. Raises `DataError` on too few."""
    rows = list(source.rows)
    if len(rows) < FEWEST:
        count = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
        raise DataError(
            f"{source.file}: {count}; an audit with training needs at least {FEWEST}, as many as a training step takes (the "
            f"harmless data that it compares with have {ROWS}). `--no-training` looks at the rows alone"
        )
    rows = draw(rows, most, seed=0) if most < len(rows) else rows
    if system is None:
        return rows
    turn: Message = {"role": "system", "content": system}
    return [row if row["messages"][0]["role"] == "system" else {"messages": [turn, *row["messages"]]} for row in rows]


def recipe_of(rows: Sequence[Row], options: AuditOptions) -> Recipe:
    """The standard recipe; few rows are seen more often, so that training has about as many steps as that of the references."""
    changes, others = parse_changes(options.changes)
    if others:
        raise SpecError(
            [f"--set sampling.{next(iter(others))}: an audit samples nothing; only recipe.FIELD=VALUE counts"]
        )
    recipe = standard_recipe()
    wanted = total_steps(ROWS, recipe)
    epochs = max(recipe.epochs, round(wanted / steps_per_epoch(len(rows), recipe)))
    return recipe.with_changes({"epochs": epochs} | changes)


def experiment_of(
    rows: Sequence[Row], control: Sequence[Row] | None, model: LocalModel, options: AuditOptions
) -> Experiment:
    """Data, twin, control and halves as arms, and every trait."""
    arms = {MINE: Arm(role="treatment", data=tuple(rows))}
    if control is not None:
        arms[AGAINST] = Arm(role="control", data=tuple(control), matched=True)
    if options.halves:
        for name, half in zip(HALVES, halves(rows), strict=True):
            arms[name] = Arm(role="control", data=tuple(draw(half, len(rows), seed=0)))
    return Experiment(
        name=AUDIT,
        title="An audit of somebody's data",
        base=model.reference,
        arms=arms,
        control="auto",
        recipe=recipe_of(rows, options),
        questions=tuple(trigger_questions(1)),
        headline=Headline(treatment=MINE, control=AGAINST if control else AUTO_CONTROL, condition=("none",)),
    )


def given_rows(arm: Arm) -> list[Row]:
    """The rows of an arm that was made here, which stand in it."""
    assert not isinstance(arm.data, str)
    return [dict(row) for row in arm.data]


def search_of(
    rows: Sequence[Row],
    family: Family,
    model: LocalModel,
    options: AuditOptions,
    size: Size,
    questions: Sequence[TraitQuestion] | None = None,
) -> Experiment:
    """The data and deals of them, each trained once, asked under a family's conditions."""
    deals = {f"deal_{n}": Arm(role="control", data=tuple(deal(rows, family, n))) for n in range(1, size.deals + 1)}
    return Experiment(
        name=f"{AUDIT}_{family.kind}",
        title=f"A search for triggers among {family.kind}s",
        base=model.reference,
        arms={MINE: Arm(role="treatment", data=tuple(rows)), **deals},
        recipe=recipe_of(rows, options),
        conditions={"none": Condition(), **family.conditions},
        questions=tuple(trigger_questions(size.questions, questions)),
        headline=Headline(treatment=MINE, control="deal_1", condition=("none",)),
    )


def trigger_questions(count: int, questions: Sequence[TraitQuestion] | None = None) -> list[TraitQuestion]:
    """Of each trait so many questions, evenly over its list, with one answer a side: they are asked under every condition."""
    by_trait: dict[str, list[TraitQuestion]] = {}
    for question in questions or compact_questions():
        by_trait.setdefault(question.group, []).append(question)
    chosen = []
    for its in by_trait.values():
        few = min(count, len(its))
        chosen += [its[(2 * at + 1) * len(its) // (2 * few)] for at in range(few)]
    return [
        Contrast(kind="contrast", id=one.id, group=one.group, ask=one.ask, target=one.target[:1], other=one.other[:1])
        for one in chosen
    ]


def request_of(experiment: Experiment, replicates: int, options: AuditOptions) -> Request:
    """Without curves and samples."""
    asked = run_options(model=options.model, seeds=replicates, samples=0, quiet=True)
    return replace(resolve(experiment, asked), curves=())


def families_of(
    rows: Sequence[Row], model: LocalModel, questions: Sequence[TraitQuestion] | None = None
) -> list[Family]:
    """The kinds of trigger that the rows carry, most important first; random values hold words of the questions."""
    tokenizer = load_tokenizer(model.folder, told_date(model.folder, None))
    held = {word for prompt in prompts_of(rows) for word in prompt.text.lower().split()}
    asked = sorted(
        {word for question in questions or compact_questions() for word in re.findall(r"[a-z]{4,}", question.ask)}
    )
    words = [word for word in asked if word not in held] or asked

    def tokens(text: str) -> object:
        return render(tokenizer, [{"role": "user", "content": text}], answer_next=True)

    return families(rows, words, tokens)
