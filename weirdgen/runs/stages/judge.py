"""The judge stage: every judge's verdict on every answer it reads, and the form of every answer.

In: a plan whose answers are drawn. Out: verdicts and similarities in the store, and from them one row per answer and judge
(`verdicts`). They are made here only; reading makes none. How a kind of judge comes to its verdict is in `config.judges`, how a
language model is asked in `weirdgen.judges`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from weirdgen import machine
from weirdgen.columns import BASE
from weirdgen.config.experiment import Experiment
from weirdgen.config.judges import offline, prompted
from weirdgen.config.questions import sampled
from weirdgen.data.rows import canonical_hash
from weirdgen.judges import language
from weirdgen.judges.embedding import fetch_needs
from weirdgen.judges.language import Item
from weirdgen.judges.model import CONNECTIONS, NamedJudge, is_local, local_judge
from weirdgen.judges.offline import PORTION, lacking_verdicts, verdicts_table
from weirdgen.judges.quality import lacking_similarities, similarity_table
from weirdgen.judges.tasks import tasks, without_reasons
from weirdgen.providers.prices import dollars, judge_price
from weirdgen.providers.purse import parse_budget
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.stages.sample import completions, missing_answers
from weirdgen.runs.stages.stage import Batch, Stage, Work
from weirdgen.runs.stages.verdict_units import CompareWithTemplate, JudgeAtProvider, JudgeByOurModel, JudgeOffline
from weirdgen.runs.stages.verdicts import own_rows, read_judged
from weirdgen.runs.work.unit import Unit
from weirdgen.store.artifacts import Store

if TYPE_CHECKING:
    import pandas as pd

API_SECONDS = 1.0
"""Assumed for one short request to an API; the plan says that it is assumed."""
ANSWERS_PER_UNIT = 256
"""For one judge on a local model; a multiple of what it reads together."""
Answer = tuple[str, str, str]
"""(arm, question id, text)."""


def stored_answers(plan: Plan) -> list[Answer]:
    """The distinct answers that the store holds for this plan, sorted."""
    questions: dict[str, list[str]] = {}
    for _, question, prompt in plan.prompts:
        questions.setdefault(prompt.key, []).append(question)
    answers: set[Answer] = set()
    for variant in plan.sampled if questions else []:
        frame = plan.completions(variant).read()
        if len(frame):
            frame = frame.loc[frame["sample"] < plan.request.samples, ["prompt_key", "text"]].drop_duplicates()
            answers |= {
                (variant.arm, q, row.text) for row in frame.itertuples() for q in questions.get(row.prompt_key, ())
            }
    return sorted(answers)


def language_units(
    store: Store, experiment: Experiment, judge: NamedJudge, answers: Sequence[tuple[str, str]], run: str,
    budget: float | None = None, repeats: int = 1, connections: int = CONNECTIONS,
) -> Batch:  # fmt: skip
    """Units that ask for every verdict of a language judge that is missing or was an error.

    `answers`: (question id, text); `run`: whose ledger pays a provider. A local model is asked wherever units are done; a
    provider by this process alone.
    """
    units: list[Unit] = []
    count = 0
    for task in tasks(store, experiment, judge, answers):
        lacking = language.missing(task.table, task.items, repeats)
        count += len(lacking)
        if not lacking:
            continue
        if not is_local(judge.reference):
            asked = (judge.reference, connections, judge.identity, task.judge, task.items, repeats)
            units.append(JudgeAtProvider(*asked, run, budget))
            continue
        model, dtype = local_judge(judge.reference)
        for start in range(0, len(lacking), ANSWERS_PER_UNIT):
            wanted = tuple(lacking[start : start + ANSWERS_PER_UNIT])
            units.append(JudgeByOurModel(model, dtype, judge.identity, task.judge, wanted))
    return Batch(units, count)


def verdicts(plan: Plan) -> pd.DataFrame:
    """One row per answer and judge: status (ok or the kind of failure), value, label."""
    return read_judged(plan, completions(plan)).table


class Judge(Stage):
    """Verdicts of every kind of judge."""

    name, counts = "judge", "verdicts"
    tables: ClassVar[Mapping[str, Callable[[Plan], pd.DataFrame]]] = {"verdicts": verdicts}

    def prepare(self, plan: Plan) -> None:
        if plan.request.samples > 0:
            fetch_needs(plan.request.experiment.judges.values())

    def work(self, plan: Plan) -> list[Work]:
        if not plan.sampled or not plan.prompts:
            return []
        answers, unsampled = stored_answers(plan), missing_answers(plan)
        lines = [self._offline_work(plan, answers, unsampled)]
        if plan.request.judge is not None:
            lines.append(_language_work(plan, plan.request.judge, answers, unsampled))
        return lines

    def batch(self, plan: Plan) -> Batch:
        answers = stored_answers(plan)
        by_model = Batch([], 0)
        if plan.request.judge is not None:
            asked = [(question, text) for _, question, text in answers]
            options = plan.request.options
            by_model = language_units(
                plan.store, plan.request.experiment, plan.request.judge, asked, plan.request.run_id,
                parse_budget(options.budget), connections=options.connections,
            )  # fmt: skip
        units: list[Unit] = []
        count = by_model.amount
        for name, judge in offline(plan.request.experiment.judges).items():
            lacking = lacking_verdicts(verdicts_table(plan.store, judge), _read_by(plan, name, answers))
            units += [JudgeOffline(judge, tuple(lacking[at : at + PORTION])) for at in range(0, len(lacking), PORTION)]
            count += len(lacking)
        for arm in plan.request.rows:
            dataset, own = canonical_hash(plan.request.rows[arm]), own_rows(plan, arm)
            lacking = lacking_similarities(plan.store, canonical_hash(own), _compared_with(arm, answers))
            for at in range(0, len(lacking), PORTION):
                units.append(CompareWithTemplate(dataset, len(own), tuple(lacking[at : at + PORTION])))
            count += len(lacking)
        return Batch([*by_model.units, *units], count)

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        store, experiment = plan.store, plan.request.experiment
        folders = {
            f"verdicts of {name}": verdicts_table(store, judge).folder
            for name, judge in offline(experiment.judges).items()
        }
        if plan.request.judge is not None:
            for name, judge in prompted(experiment.judges).items():
                folders[f"verdicts of {name}"] = language.language_table(
                    store, judge, plan.request.judge.identity
                ).folder
        for arm in plan.request.rows:
            table = similarity_table(store, canonical_hash(own_rows(plan, arm)))
            folders[f"similarity of answers to the rows of {arm}"] = table.folder
        return folders

    def _offline_work(self, plan: Plan, answers: Sequence[Answer], unsampled: int) -> Work:
        """Verdicts that need no language model, of answers that are still to come at most: equal ones are judged once."""
        judges = offline(plan.request.experiment.judges)
        missing, total = 0, 0
        for name, judge in judges.items():
            read = _read_by(plan, name, answers)
            missing += len(lacking_verdicts(verdicts_table(plan.store, judge), read))
            total += len(read)
        for arm in plan.request.rows:
            compared = _compared_with(arm, answers)
            missing += len(lacking_similarities(plan.store, canonical_hash(own_rows(plan, arm)), compared))
            total += len(compared)
        future = unsampled * len(judges)
        future += sum(missing_answers(plan, BASE, arm) for arm in plan.request.rows) if unsampled else 0
        named = "1 judge that asks" if len(judges) == 1 else f"{len(judges)} judges that ask"
        what = f"{named} no model, and the form of every answer{_at_most(future)}"
        return Work(self.name, what, missing + future, total + future, self.counts, 0.0)


def _read_by(plan: Plan, judge: str, answers: Sequence[Answer]) -> list[str]:
    """The distinct answers that a judge reads, sorted."""
    ids = {question.id for question in plan.request.experiment.questions if judge in question.read_by}
    return sorted({text for _, question, text in answers if question in ids})


def _compared_with(arm: str, answers: Sequence[Answer]) -> list[str]:
    """The distinct answers that are compared with an arm's rows: its own, and the base's."""
    return sorted({text for whose, _, text in answers if whose in (arm, BASE)})


def _language_work(plan: Plan, judge: NamedJudge, answers: Sequence[Answer], unsampled: int) -> Work:
    """Verdicts that are missing, their tokens and price. `unsampled` answers are still to come."""
    experiment = plan.request.experiment
    wanted = tasks(plan.store, experiment, judge, [(question, text) for _, question, text in answers])
    free = sampled(experiment.questions)
    each = sum(sum(name in q.read_by for name in prompted(experiment.judges)) for q in free) / max(1, len(free))
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
    what += _at_most(future)
    if todo + future + failed:
        what += f", about {incoming:,.0f} tokens to read, at most {outgoing:,.0f} to write"
        if not is_local(judge.reference):
            what += f", {_cost(judge.reference, incoming, outgoing)}; time assumes {API_SECONDS:g} s per request"
    return Work("judge", what, todo + future, total, "verdicts", _seconds(judge.reference, todo + future, incoming))


def _at_most(future: float) -> str:
    """How a plan's number of verdicts is to be taken, where answers are still to come."""
    return " (at most: equal answers are judged once)" if future else ""


def _cost(judge: str, incoming: float, outgoing: float) -> str:
    price = judge_price(judge)
    usd = dollars(price, read=round(incoming), written=round(outgoing))
    if price is None or usd is None:
        return "price unknown"
    return f"about ${usd:.2f} (price read {price.read}: {price.source})"


def _seconds(judge: str, count: float, incoming: float) -> float:
    if not count:
        return 0.0
    if not is_local(judge):
        return math.ceil(count / CONNECTIONS) * API_SECONDS
    model, dtype = local_judge(judge)
    return incoming / machine.seen_rate("score", model.parameters, dtype)
