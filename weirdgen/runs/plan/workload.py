"""What of a plan is still to do, stage by stage, and about how long it takes on this machine.

In: a `Plan`. Out: its lines: how much of each stage is missing in the store now, in units that a person counts in, with
seconds at the speeds that `weirdgen.machine` has seen here, and what a judging model behind an API would cost. It does none
of the work; sizes that no machine here could run are `weirdgen.runs.plan.scale`'s matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from weirdgen import machine
from weirdgen.columns import FINAL
from weirdgen.config.judges import prompted
from weirdgen.config.questions import sampled
from weirdgen.finetune import engines
from weirdgen.finetune.schedule import total_steps
from weirdgen.judges import language
from weirdgen.judges.language import Item
from weirdgen.judges.model import NamedJudge, is_local, local_judge
from weirdgen.judges.tasks import tasks, without_reasons
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.plan.prices import judging_price
from weirdgen.runs.work.judge_stage import stored_answers
from weirdgen.sample.contrast import missing_scores, scores_table
from weirdgen.sample.draw import missing_samples

API_SECONDS = 1.0
"""Assumed for one short request to an API; the plan says that it is assumed."""


@dataclass(frozen=True)
class Work:
    """One line of the plan. `missing` of `total` units are to be done, in about `seconds`."""

    stage: str
    what: str
    missing: float
    total: float
    unit: str
    seconds: float


def workload(plan: Plan) -> Iterator[Work]:
    """A line a stage, in the order of the pipeline, with what is missing now; of finetuning a line an arm."""
    if plan.settings.ordinary:
        yield _distill_work(plan)
    for arm in plan.settings.rows:
        yield _finetune_work(plan, arm)
    yield _contrast_work(plan)
    sampling = _sample_work(plan)
    yield sampling
    if plan.settings.judge is not None:
        yield _judge_work(plan, plan.settings.judge, sampling.missing)


def _distill_work(plan: Plan) -> Work:
    settings, wanted = plan.settings, max(plan.settings.ordinary.values())
    unanswered = 0 if settings.distilled else wanted - len(plan.distillery().rows(wanted))
    rate = machine.seen_rate("generate", settings.model.parameters, settings.dtype)
    seconds = unanswered * settings.experiment.ordinary.max_tokens / rate
    return Work("distill", "ordinary prompts answered by the base itself", unanswered, wanted, "rows", seconds)


def _finetune_work(plan: Plan, arm: str) -> Work:
    settings, count = plan.settings, plan.settings.row_count(arm)
    own = [one for one in plan.replicates if one.arm == arm]
    missing = [one for one in own if plan.store.marker("finetune", one.key) is None]
    # Rows that the base has yet to answer are taken to be as long as the others.
    proof, recipe = plan.proofs[arm], settings.recipe
    tokens = proof["tokens"] * count / len(settings.rows[arm])
    tokens = engines.tokens_through(plan.engine.engine, tokens, count, proof["shared_prefix"], recipe) * recipe.epochs
    rate = machine.seen_rate("train", settings.model.parameters, recipe.dtype)
    role, steps = settings.experiment.arms[arm].role, total_steps(count, recipe)
    what = f"{arm} ({role}): {count} rows × {recipe.epochs} epochs = {steps} steps"
    return Work("finetune", what, len(missing), len(own), "replicates", len(missing) * tokens / rate)


def _contrast_work(plan: Plan) -> Work:
    settings = plan.settings
    missing, wanted = 0, 0
    for voice in plan.voices:
        mine = [scorable for _, _, scorable in plan.scorables_of(voice)]
        unscored = missing_scores(scores_table(plan.store, voice.speaker, settings.dtype), mine)
        missing += len({key for key, _ in unscored})
        wanted += len(mine)
    scorables = [scorable for _, _, scorable in plan.scorables]
    tokens_each = sum(len(o) / 4 + 1 for s in scorables for o in s.options) / max(1, len(scorables))
    rate = machine.seen_rate("score", settings.model.parameters, settings.dtype)
    final = sum(voice.checkpoint == FINAL for voice in plan.voices)
    what = f"{final} models × {len(scorables)} questions"
    if earlier := len(plan.voices) - final:
        what += f" + {earlier} checkpoints × {len(plan.curve_scorables)}"
    return Work("contrast", what, missing, wanted, "questions", missing * tokens_each / rate)


def _sample_work(plan: Plan) -> Work:
    settings, prompts = plan.settings, [prompt for _, _, prompt in plan.prompts]
    voices = [voice for voice in plan.voices if plan.samples_of(voice)]
    missing = sum(missing_samples(plan.completions(voice), prompts, settings.samples) for voice in voices)
    longest = sum(prompt.max_tokens for prompt in prompts) / max(1, len(prompts))
    rate = machine.seen_rate("generate", settings.model.parameters, settings.dtype)
    wanted = len(prompts) * settings.samples * len(voices)
    what = f"{len(voices)} models × {len(prompts)} prompts × {settings.samples} samples"
    return Work("sample", what, missing, wanted, "answers", missing * longest / rate)


def _judge_work(plan: Plan, judge: NamedJudge, unsampled: float) -> Work:
    """Verdicts that are missing, their tokens and price. `unsampled` answers are still to come."""
    wanted = tasks(plan.store, plan.settings.experiment, judge, stored_answers(plan))
    free = sampled(plan.settings.experiment.questions)
    each = sum(sum(name in q.read_by for name in prompted(plan.settings.experiment.judges)) for q in free) / max(
        1, len(free)
    )
    todo, failed, incoming, outgoing = 0.0, 0, 0.0, 0.0
    for task in wanted:
        lacking = [item for item, _ in language.missing(task.table, task.items)]
        never = len(language.missing(task.table, task.items, errors=False))
        todo += never
        failed += len(lacking) - never
        incoming += language.prompt_tokens(task.judge, lacking)
        outgoing += len(lacking) * language.reply_tokens(task.judge)
    future = unsampled * each
    if future:
        longest = sum(q.max_tokens for q in free) / len(free)
        prompts = [language.prompt_tokens(task.judge, [Item("", "")]) for task in wanted]
        incoming += future * (sum(prompts) / len(prompts) + longest)
        outgoing += future * sum(language.reply_tokens(task.judge) for task in wanted) / len(wanted)
    total = sum(len(task.items) for task in wanted) + future
    what = f"{len(wanted)} judges on {judge.reference}"
    if failed:  # a run whose errors stay errors is finished all the same
        what += f", {failed} errors to ask again"
    if hasty := [task.name for task in wanted if without_reasons(judge.reference, task.judge)]:
        what += f", {', '.join(hasty)} without the reasons that the prompt asks for (a local model writes none)"
    if todo + future + failed:
        what += f", about {incoming:,.0f} tokens to read, at most {outgoing:,.0f} to write"
        if not is_local(judge.reference):
            what += f", {_cost(judge.reference, incoming, outgoing)}; time assumes {API_SECONDS:g} s a request"
    return Work("judge", what, todo + future, total, "verdicts", _seconds(judge.reference, todo + future, incoming))


def _cost(judge: str, incoming: float, outgoing: float) -> str:
    price = judging_price(judge)
    if price is None:
        return "price unknown"
    dollars = (incoming * price.read + outgoing * price.written) / 1e6
    return f"about ${dollars:.2f} at the prices of {price.day}"


def _seconds(judge: str, count: float, incoming: float) -> float:
    if not count:
        return 0.0
    if not is_local(judge):
        return math.ceil(count / 16) * API_SECONDS
    model, dtype = local_judge(judge)
    return incoming / machine.seen_rate("score", model.parameters, dtype)
