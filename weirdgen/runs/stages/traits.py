"""The traits stage: every final variant answers the compact questions of the traits that the experiment names.

In: a plan whose experiment names traits. Out: rows of the same scores tables as the contrast stage's, and from them one row per
question and variant (`trait_shifts`). The questions are the ones that reference finetunes answered (`runs.references`), so that
a dataset can be told from harmless ones; what that says is `runs.results.specificity`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from weirdgen.columns import BASE, FINAL
from weirdgen.config.traits import TraitQuestion, compact_questions
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.stages.contrast import score_units, units_at_service
from weirdgen.runs.stages.stage import Batch, Stage, Work, counted_models
from weirdgen.runs.stages.together import together
from weirdgen.runs.work.unit import Unit
from weirdgen.sample.contrast import VARIANTS, count_missing, missing_scores
from weirdgen.sample.engine import Scorable
from weirdgen.sample.engines import Remote
from weirdgen.sample.variant import Variant, distinct
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("arm", "role", "replicate", "trait", "question", "base", "logit", "shift")


def trait_questions(plan: Plan) -> list[TraitQuestion]:
    """The compact questions of the traits that the experiment names, in the order of the list."""
    return [question for question in compact_questions() if question.group in plan.request.experiment.asked_traits]


def _scorables(plan: Plan) -> list[Scorable]:
    return [Scorable(content_key(one.ask), one.ask, one.options) for one in trait_questions(plan)]


def _asked(plan: Plan) -> list[Variant]:
    return distinct([variant for variant in plan.variants if variant.checkpoint == FINAL])


def trait_shifts(plan: Plan) -> pd.DataFrame:
    """`COLUMNS`: log-odds of the base and of every final variant on each trait question, and their difference, in nats."""
    import pandas as pd

    questions = trait_questions(plan)
    base: dict[str, float] = {}
    rows = []
    for variant in plan.variants if questions else []:  # the base comes first
        if variant.checkpoint != FINAL:
            continue
        logprobs = {(row.prompt_key, row.option): row.logprob for row in plan.scores(variant).read().itertuples()}
        for question in questions:
            key = content_key(question.ask)
            if (key, question.options[0]) not in logprobs:  # not scored yet
                continue
            logit = question.odds([{option: logprobs[key, option] for option in question.options}]).logit
            base.setdefault(question.id, logit)
            told = (question.group, question.id, base[question.id], logit, logit - base[question.id])
            if variant.arm != BASE:
                rows.append((variant.arm, variant.role, variant.replicate, *told))
    return pd.DataFrame(rows, columns=list(COLUMNS))


class Traits(Stage):
    """Trait questions, where an experiment names traits."""

    name, counts, speed = "traits", "questions", "score"
    tables: ClassVar[Mapping[str, Callable[[Plan], pd.DataFrame]]] = {"trait_shifts": trait_shifts}

    def work(self, plan: Plan) -> list[Work]:
        asked = _scorables(plan)
        if not asked:
            return []
        variants = _asked(plan)
        missing = sum(count_missing(missing_scores(plan.scores(one), asked), asked) for one in variants)
        tokens_each = sum(len(o) / 4 + 1 for one in asked for o in one.options) / len(asked)
        traits = plan.request.experiment.asked_traits
        about = ", ".join(traits) if len(traits) < 4 else f"{len(traits)} traits"
        what = f"{counted_models(variants)} × {len(asked)} questions about {about}"
        seconds = self.seconds(plan, missing * tokens_each)
        return [Work(self.name, what, missing, len(variants) * len(asked), self.counts, seconds)]

    def batch(self, plan: Plan) -> Batch:
        request, asked = plan.request, _scorables(plan)
        lacking_scores = {one: missing_scores(plan.scores(one), asked) for one in _asked(plan)}
        missing = {one: {key for key, _ in scores} for one, scores in lacking_scores.items()}
        lacking = [variant for variant, keys in missing.items() if keys]
        amount = sum(count_missing(scores, asked) for scores in lacking_scores.values())
        if isinstance(request.engine, Remote):
            return Batch(units_at_service(request, lacking, asked), amount)
        units: list[Unit] = []
        for variants in together(plan, self.name, lacking, 1 if request.recipe.full else VARIANTS):
            units += score_units(request, variants, asked, missing)
        return Batch(units, amount)

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        return {}  # the contrast stage names the tables of scores
