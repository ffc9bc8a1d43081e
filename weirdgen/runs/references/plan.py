"""Which reference finetunes are wanted, and what of them a store holds.

In: a model, a recipe, training sets, questions, a store. Out: a `Build`: what names each set's scores in the store, the groups in
which missing sets are trained, the time that takes, and the frame of all sets once they are there. Nothing is written here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from weirdgen import machine
from weirdgen.columns import BASE
from weirdgen.config.arm import Arm
from weirdgen.config.experiment import Experiment, Recipe
from weirdgen.config.traits import TraitQuestion, compact_questions, form_of, questions_digest
from weirdgen.errors import SpecError, StoreError
from weirdgen.finetune.engines import resolve_engine, tokens_through
from weirdgen.finetune.schedule import steps_per_epoch, total_steps
from weirdgen.models.references import LocalModel
from weirdgen.progress import clock
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import Request
from weirdgen.runs.references.scores import FACTS, VERSION, Origin, origin
from weirdgen.runs.references.sets import TrainingSet
from weirdgen.sample.contrast import scores_table
from weirdgen.sample.engine import Sampling, Scorable
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

STAGE = "reference"
SEED = 0
TOGETHER = 16
"""Sets that are trained together at most: as many as are scored in one pass."""
PASS_TOKENS = 2560
"""Tokens of all sets in one training pass: more gain nothing on a processor, and memory grows with them."""
SETTINGS = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-4, "warmup_steps": 10, "rank": 16, "alpha": 32}
"""The recipe of the standard size: that of `make demo`."""


@dataclass(frozen=True)
class Build:
    """Reference finetunes that are wanted, against what a store holds of them."""

    plan: Plan
    """Every set an arm, every question a contrast question. Its store is the one that keeps."""
    sets: tuple[TrainingSet, ...]
    questions: tuple[TraitQuestion, ...]

    @cached_property
    def origin(self) -> Origin:
        """What decides the scores."""
        return origin(self.base.key, self.plan.request.recipe, self.sets, self.questions)

    @cached_property
    def base(self) -> Variant:
        """The untuned model."""
        return next(variant for variant in self.plan.variants if variant.arm == BASE)

    @property
    def scorables(self) -> list[Scorable]:
        """What is put to every model."""
        return [scorable for _, _, scorable in self.plan.scorables]

    @cached_property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Set → everything that decides its artifact."""
        shared = {
            "version": VERSION,
            "dtype": self.plan.request.numerics,
            "questions": questions_digest(self.questions),
        }
        return {replicate.arm: {**shared, "replicate": replicate.key} for replicate in self.plan.replicates}

    def key(self, name: str) -> str:
        """What names a set's artifact in the store."""
        return content_key(self.inputs[name])

    def missing(self) -> list[TrainingSet]:
        """Sets that the store does not hold."""
        return [one for one in self.sets if self.plan.store.marker(STAGE, self.key(one.name)) is None]

    def groups(self) -> list[list[TrainingSet]]:
        """Missing sets as they are trained together, sorted by length: short rows do not wait for long ones.

        Sets that are trained together decide each other's rounding. A build that was killed goes on in the same groups: one
        that was killed while it kept a group's scores takes the kept sets up again with the others.
        """
        in_pass = {
            one.name: self._tokens(one) / steps_per_epoch(len(one.rows), self.plan.request.recipe) for one in self.sets
        }
        ordered = sorted(self.sets, key=lambda one: (in_pass[one.name], one.name))
        markers = {one.name: self.plan.store.marker(STAGE, self.key(one.name)) for one in ordered}
        missing = {self.key(name) for name, marker in markers.items() if marker is None}
        half_kept = {
            tuple(marker["inputs"]["together"])
            for marker in markers.values()
            if marker and missing.intersection(marker["inputs"].get("together", ()))
        }
        groups = [[one for one in ordered if self.key(one.name) in keys] for keys in sorted(half_kept)]
        begun = {one.name for group in groups for one in group}
        groups.append([])
        for one in ordered:
            if markers[one.name] is not None or one.name in begun:
                continue
            if groups[-1] and (len(groups[-1]) == TOGETHER or (len(groups[-1]) + 1) * in_pass[one.name] > PASS_TOKENS):
                groups.append([])
            groups[-1].append(one)
        return [group for group in groups if group]

    def seconds(self) -> tuple[float, float]:
        """About how long the missing sets take to train, and to score with the base."""
        request, recipe, missing = self.plan.request, self.plan.request.recipe, self.missing()
        if not missing:
            return 0.0, 0.0
        answers = sum(len(option) / 4 + 1 for one in self.questions for option in one.options)
        parameters = request.model.parameters
        return (
            sum(map(self._tokens, missing)) * recipe.epochs / machine.seen_rate("train", parameters, recipe.dtype),
            answers * (len(missing) + 1) / machine.seen_rate("score", parameters, request.numerics),
        )

    def _tokens(self, one: TrainingSet) -> float:
        """Of a set's rows that go through the model in one epoch."""
        proof, engine = self.plan.proofs[one.name], self.plan.trainer.engine
        return tokens_through(engine, proof["tokens"], len(one.rows), proof["shared_prefix"], self.plan.request.recipe)

    def lines(self) -> list[str]:
        """The plan in words: what is to do, what the store holds, how long it takes."""
        request, missing, groups = self.plan.request, len(self.missing()), len(self.groups())
        recipe, rows = request.recipe, len(self.sets[0].rows)
        train, score = self.seconds()
        answers, traits = sum(len(one.options) for one in self.questions), len({one.group for one in self.questions})
        trained = "every weight" if recipe.full else f"LoRA r{recipe.rank} α{recipe.alpha:g}"
        lines = [
            f"references · {request.model.reference} ({request.model.parameters / 1e6:.1f}M weights, {request.numerics}) · "
            f"store {self.plan.store.root}",
            f"  recipe: {rows} rows × {recipe.epochs} epochs = {total_steps(rows, recipe)} steps, lr {recipe.learning_rate:g} "
            f"{recipe.schedule}, {trained}; one replicate a set",
        ]
        held = f"{len(self.sets)} sets, {len(self.sets) - missing} of them in the store"
        if not missing:
            return [*lines, f"  {held}", "  nothing left to compute"]
        return [
            *lines,
            f"  train: {held}, {missing} to do in {groups} groups, about {clock(train)}",
            f"  score: {len(self.questions)} questions of {traits} traits, {answers * missing:,} answers to do, "
            f"about {clock(score)}",
            f"  estimate: {clock(train + score)} on this machine",
        ]

    def frame(self) -> pd.DataFrame:
        """Scores of every set (`runs.references.scores.COLUMNS`). Raises `StoreError` if some are missing."""
        import pandas as pd

        if missing := self.missing():
            raise StoreError(
                f"{len(missing)} of {len(self.sets)} reference sets are not in {self.plan.store.root} ({missing[0].name}"
                f"{', …' if len(missing) > 1 else ''}); `weirdgen references build` makes them"
            )
        base = log_odds(self.plan.store, self.base, self)
        ids = [question.id for question in self.questions]
        asked = {"trait": [question.group for question in self.questions], "form": [form_of(name) for name in ids]}
        frames = []
        for one in self.sets:
            folder = self.plan.store.artifact(STAGE, self.key(one.name))
            facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
            tuned = pd.read_parquet(folder / "scores.parquet").set_index("question")["logit"]
            told = {"set": one.name, "kind": one.kind, "shape": one.shape, **{name: facts[name] for name in FACTS}}
            scored = {"base": [base[name] for name in ids], "shift": [tuned[name] - base[name] for name in ids]}
            frames.append(pd.DataFrame({"question": ids, **asked, **scored, **told}))
        return pd.concat(frames, ignore_index=True)


def log_odds(store: Store, variant: Variant, of: Build) -> dict[str, float]:
    """Question → log-odds in nats, from a store's table of this variant's scores, which must hold them all."""
    scores = scores_table(store, variant, of.plan.request.numerics).read()
    found = {(row.prompt_key, row.option): row.logprob for row in scores.itertuples()}
    return {
        question.id: question.odds([{option: found[scorable.key, option] for option in question.options}]).logit
        for question, scorable in zip(of.questions, of.scorables, strict=True)
    }


def plan_build(
    model: LocalModel,
    recipe: Recipe,
    sets: Sequence[TrainingSet],
    store: Store,
    questions: Sequence[TraitQuestion] | None = None,
) -> Build:
    """What is wanted, checked and proven; `questions` are the compact trait questions unless given.

    Raises `DataError` on rows that cannot be trained on, `SpecError` on a recipe that trains every weight.
    """
    if recipe.full:
        raise SpecError(["recipe.targets=full: references are adapters; name the layers that get one, e.g. all-linear"])
    asked = tuple(compact_questions() if questions is None else questions)
    dtype = machine.resolve_dtype(recipe.dtype, model.parameters)
    settled = recipe.with_changes({"dtype": dtype, "checkpoints": "none"})
    settled = settled.with_changes({"engine": resolve_engine(settled, model.parameters)})
    request = Request(
        experiment=Experiment(
            name="references",
            title="Reference finetunes",
            base=model.reference,
            arms={one.name: Arm(role="treatment", data=one.rows) for one in sets},
            questions=asked,
        ),
        rows={one.name: list(one.rows) for one in sets},
        model=model,
        preset="quick",
        recipe=settled,
        seeds=(SEED,),
        samples=0,
        sampling=Sampling(),
        dtype=dtype,
    )
    return Build(make_plan(request, store), tuple(sets), asked)
