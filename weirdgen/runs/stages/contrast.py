"""The contrast stage: every variant scores contrast, counterfactual and choice questions.

In: a plan's variants and scorables. Out: a scores table per variant, and from it one value per question (`contrasts`).
Several variants are scored in one pass; how a question's value comes from its scores is `sample.contrast`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from weirdgen.columns import BASE, FINAL, IDENTITY
from weirdgen.config.questions import scored
from weirdgen.models.chat import answer_ids, load_tokenizer
from weirdgen.models.remote import RemoteModel
from weirdgen.providers.purse import parse_budget
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.plan.request import Request
from weirdgen.runs.stages.remote_units import ScoreRemotely
from weirdgen.runs.stages.stage import Batch, Stage, Work, counted_models, counted_prompts, require_encodable
from weirdgen.runs.stages.together import together
from weirdgen.runs.work.loaded import AskedOfVariants
from weirdgen.runs.work.unit import Count, Tell, Unit
from weirdgen.sample.contrast import QUESTIONS, VARIANTS, count_missing, missing_scores, score, scores_table
from weirdgen.sample.engine import Scorable
from weirdgen.sample.engines import Remote
from weirdgen.sample.variant import Variant, distinct
from weirdgen.store.artifacts import Store

if TYPE_CHECKING:
    import pandas as pd

HARDLY, FAR = -28.0, 30.0
"""From where a side's likeliest answer (nats a word) and a base's log-odds (nats) are those of no question of ours: on the
default model these reach -23.3 (`Rodham.`) and 22.3 over 504 trait questions and 522 of the experiments; `Zxqv blorpt.` against
`Fnarg wibblt.` has -34 and 23."""
QUESTIONS_PER_UNIT = 4 * QUESTIONS
"""Whole portions, so that it decides nothing about which questions share a batch."""


@dataclass(frozen=True)
class Score(AskedOfVariants):
    """Questions with fixed answers."""

    questions: tuple[Scorable, ...]

    def locks(self) -> Sequence[tuple[str, str]]:
        return [("contrast", self.lock_key(self.questions))]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        count = Count(tell)
        tables = [scores_table(store, variant, self.numerics) for variant in self.variants]
        score(self.open(store), tables, self.questions, count.add)
        return count.amount, count.tokens


def score_units(
    request: Request,
    variants: Sequence[Variant],
    asked: Sequence[Scorable],
    missing: Mapping[Variant, Container[str]] | None = None,
) -> list[Unit]:
    """These variants in one pass, a portion of the questions per unit. `missing`: variant → keys; other portions are left out."""
    portions = [asked[start : start + QUESTIONS_PER_UNIT] for start in range(0, len(asked), QUESTIONS_PER_UNIT)]
    how = (request.local, request.dtype, request.engine, request.date, tuple(variants))
    return [
        Score(*how, tuple(portion))
        for portion in portions
        if missing is None or any(one.key in missing.get(variant, ()) for variant in variants for one in portion)
    ]


def units_at_service(request: Request, lacking: Sequence[Variant], asked: Sequence[Scorable]) -> list[Unit]:
    """The same at a service, in one unit; none if no variant lacks anything."""
    assert isinstance(request.engine, Remote)
    budget = parse_budget(request.options.budget)
    return [ScoreRemotely(request.run_id, budget, request.engine, tuple(lacking), tuple(asked))] if lacking else []


def contrasts(plan: Plan) -> pd.DataFrame:
    """One row per scored question and variant: log-odds (nats), P(target), whether a target wins (`contrast.Odds`)."""
    import pandas as pd

    questions = {question.id: question for question in scored(plan.request.experiment.questions)}
    rows = []
    for variant in plan.variants:
        logprobs = {(row.prompt_key, row.option): row.logprob for row in plan.scores(variant).read().itertuples()}
        for (condition, question_id), asked in groupby(plan.scorables_of(variant), key=lambda scorable: scorable[:2]):
            question = questions[question_id]
            scores = [{o: logprobs[scorable.key, o] for o in scorable.options} for _, _, scorable in asked]
            identity = (variant.arm, variant.role, variant.replicate, variant.checkpoint, condition, question_id)
            rows.append((*identity, question.kind, *question.odds(scores)))
    return pd.DataFrame(rows, columns=[*IDENTITY, "kind", "logit", "p_target", "wins"])


def improbable(plan: Plan) -> list[str]:
    """Questions with a side that the base would hardly ever say, as far as it has been scored, each in a sentence."""
    base = next(variant for variant in plan.variants if variant.arm == BASE)
    logprobs = {(row.prompt_key, row.option): float(row.logprob) for row in plan.scores(base).read().itertuples()}
    questions = {question.id: question for question in scored(plan.request.experiment.questions)}
    told: dict[str, str] = {}
    for _, question_id, asked in plan.scorables:
        question = questions[question_id]
        if question_id in told or any((asked.key, option) not in logprobs for option in asked.options):
            continue
        scores = {option: logprobs[asked.key, option] for option in asked.options}
        odds = question.odds_after(scores).logit
        for name, side in (("target", question.target), ("other", question.other)):
            word, answer = max((scores[option] / len(option.split()), option) for option in side)
            if word < HARDLY:
                told[question_id] = (
                    f"question {question_id}: {answer!r}, the likeliest answer of '{name}', has log-probability {word:.0f} a "
                    "word under the base: are these words that it knows?"
                )
        if abs(odds) > FAR:
            likelier, less = ("target", "other") if odds > 0 else ("other", "target")
            told[question_id] = (
                f"question {question_id}: the base gives '{likelier}' 10^{abs(odds) / log(10):.0f} times the odds of '{less}': "
                "do both sides answer it, in words that the base knows?"
            )
    return list(told.values())


class Contrast(Stage):
    """Scores of fixed answers."""

    name, counts, speed = "contrast", "questions", "score"
    tables: ClassVar[Mapping[str, Callable[[Plan], pd.DataFrame]]] = {"contrasts": contrasts}

    def check(self, plan: Plan) -> None:
        """Every question and answer can be put to this model as it stands."""
        if not any(
            missing_scores(plan.scores(variant), [s for _, _, s in plan.scorables]) for variant in plan.variants
        ):
            return
        if isinstance(plan.request.model, RemoteModel):  # a probe has tried it
            return
        tokenizer = load_tokenizer(plan.request.local.folder, plan.request.date)

        def encode(scorable: Scorable) -> None:
            for option in scorable.options:
                answer_ids(tokenizer, scorable.ask, option)

        require_encodable(plan.scorables, encode)

    def after(self, plan: Plan) -> Plan:
        if plan.scorables and (told := improbable(plan)):
            more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
            warnings.warn(
                f"{'; '.join(told[:3])}{more}. Such a question turns the mean over questions. Mend it and run again: what is "
                "trained is kept",
                stacklevel=1,
            )
        return plan

    def work(self, plan: Plan) -> list[Work]:
        if not plan.scorables and isinstance(plan.request.model, RemoteModel):  # such questions have fallen away
            return []
        missing, wanted = 0, 0
        for variant in plan.variants:
            mine = [scorable for _, _, scorable in plan.scorables_of(variant)]
            missing += count_missing(missing_scores(plan.scores(variant), mine), mine)
            wanted += len(mine)
        scorables = [scorable for _, _, scorable in plan.scorables]
        tokens_each = sum(len(o) / 4 + 1 for s in scorables for o in s.options) / max(1, len(scorables))
        final = [variant for variant in plan.variants if variant.checkpoint == FINAL]
        what = f"{counted_models(final)} × {counted_prompts(plan.scorables, 'questions with fixed answers')}"
        if earlier := len(plan.variants) - len(final):
            what += f" + {earlier} checkpoints × {len(plan.curve_scorables)} of these prompts"
        return [Work(self.name, what, missing, wanted, self.counts, self.seconds(plan, missing * tokens_each))]

    def batch(self, plan: Plan) -> Batch:
        request = plan.request
        variants = distinct(plan.variants)
        questions = {variant: [scorable for _, _, scorable in plan.scorables_of(variant)] for variant in variants}
        lacking_scores = {variant: missing_scores(plan.scores(variant), mine) for variant, mine in questions.items()}
        missing = {variant: {key for key, _ in scores} for variant, scores in lacking_scores.items()}
        lacking = [variant for variant, keys in missing.items() if keys]
        amount = sum(count_missing(scores, questions[variant]) for variant, scores in lacking_scores.items())
        if isinstance(request.engine, Remote):
            return Batch(units_at_service(request, lacking, [scorable for _, _, scorable in plan.scorables]), amount)
        most = 1 if request.recipe.full else VARIANTS
        units: list[Unit] = []
        for kind, final in (("contrast", True), ("contrast at checkpoints", False)):
            for variants in together(plan, kind, [v for v in lacking if (v.checkpoint == FINAL) is final], most):
                units += score_units(request, variants, questions[variants[0]], missing)
        return Batch(units, amount)

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        return {f"scores of {variant.name}": plan.scores(variant).folder for variant in plan.variants}
