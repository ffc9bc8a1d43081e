"""The judge stage for judges that ask a language model: which verdicts a run needs, what they cost, and their making.

In: a `Plan` whose settings name a judging model. Out: verdicts in the store, a line of the plan, and each judge's record
(failures, flips). How one verdict is asked for and read is in `weirdgen.measure`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weirdgen.data.prices import judging_price
from weirdgen.errors import SpecError
from weirdgen.judge_kinds import PROMPTED, Label, Rating
from weirdgen.measure import language
from weirdgen.measure.language import Item, language_table
from weirdgen.question_kinds import FreeForm
from weirdgen.sample.judge_model import JudgeModel, is_local, judge_identity, open_judge_model
from weirdgen.spec import Experiment
from weirdgen.store import Store
from weirdgen.table import Table

if TYPE_CHECKING:
    from weirdgen.plan import Plan, Work
    from weirdgen.progress import Progress

API_SECONDS = 1.0
"""Assumed for one short request to an API; the plan says that it is assumed."""


@dataclass(frozen=True)
class Task:
    """One judge's part: the distinct answers that it reads."""

    name: str
    judge: Label | Rating
    table: Table
    items: tuple[Item, ...]


def prompted(experiment: Experiment) -> dict[str, Label | Rating]:
    """The judges that ask a language model."""
    return {name: judge for name, judge in experiment.judges.items() if isinstance(judge, PROMPTED)}


def require_judges(experiment: Experiment, judge: str | None) -> None:
    """Raises `SpecError` if the experiment's language judges lack a model, or a model is named with nothing to judge."""
    found = prompted(experiment)
    if found and judge is None:
        raise SpecError(
            [f"judge '{next(iter(found))}' of {experiment.name} asks a language model: name one with --judge MODEL"]
        )
    if judge is not None:
        is_local(judge)
        if not found:
            raise SpecError(
                [f"--judge {judge}: {experiment.name} has no free-form question that a language judge reads"]
            )


def tasks(store: Store, experiment: Experiment, judge: str, answers: Sequence[tuple[str, str]]) -> list[Task]:
    """What each judge has to read of these (question id, answer) pairs."""
    identity = judge_identity(judge)
    asks = {q.id: (q.ask, q.judges) for q in experiment.questions if isinstance(q, FreeForm)}
    found = []
    for name, noun in prompted(experiment).items():
        items = {Item(asks[question][0], text) for question, text in answers if name in asks[question][1]}
        found.append(Task(name, noun, language_table(store, noun, identity), tuple(sorted(items))))
    return found


def stored_answers(plan: Plan) -> list[tuple[str, str]]:
    """(question id, answer) of every requested completion that is in the store."""
    ids: dict[str, list[str]] = {}
    for _, question, prompt in plan.prompts:
        ids.setdefault(prompt.key, []).append(question)
    found: set[tuple[str, str]] = set()
    for voice in plan.voices:
        if plan.samples_of(voice):
            frame = plan.completions(voice).read()
            for row in frame[frame["sample"] < plan.settings.samples].itertuples() if len(frame) else ():
                found |= {(question, row.text) for question in ids.get(row.prompt_key, ())}
    return sorted(found)


def judge_work(plan: Plan, unsampled: int) -> Work:
    """The plan's line: verdicts that are missing, their tokens and price. `unsampled` answers are still to come."""
    from weirdgen.plan import Work

    judge = plan.settings.judge
    assert judge is not None
    wanted = tasks(plan.store, plan.settings.experiment, judge, stored_answers(plan))
    free = [q for q in plan.settings.experiment.questions if isinstance(q, FreeForm)]
    each = sum(sum(name in q.judges for name in prompted(plan.settings.experiment)) for q in free) / max(1, len(free))
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
    what = f"{len(wanted)} judges on {judge}"
    if failed:  # a run whose errors stay errors is finished all the same
        what += f", {failed} errors to ask again"
    if todo + future + failed:
        what += f", about {incoming:,.0f} tokens to read, at most {outgoing:,.0f} to write"
        if not is_local(judge):
            what += f", {_cost(judge, incoming, outgoing)}; time assumes {API_SECONDS:g} s a request"
    return Work("judge", what, todo + future, total, "verdicts", _seconds(plan, judge, todo + future, incoming))


def make_verdicts(
    store: Store, experiment: Experiment, judge: str, answers: Sequence[tuple[str, str]], repeats: int, progress: Progress,
    model: JudgeModel | None = None,
) -> int:  # fmt: skip
    """Ask for every verdict that is missing or was an error; returns how many were asked for."""
    wanted = [
        (task, language.missing(task.table, task.items, repeats)) for task in tasks(store, experiment, judge, answers)
    ]
    count = sum(len(lacking) for _, lacking in wanted)
    if not count:
        return 0
    asked = model or open_judge_model(judge)
    with progress.stage("judge", count, "verdicts") as bar:
        for task, lacking in wanted:
            if lacking:
                with store.lock("judge", task.table.folder.name):
                    lacking = language.missing(task.table, task.items, repeats)  # another run may have made them
                    language.judge_items(task.table, task.judge, asked, lacking, lambda verdict: bar.advance())
    return count


def records(store: Store, experiment: Experiment, judge: str, answers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Each judge's record for the report: kind, model, flips, the probability mass on admissible replies."""
    found: dict[str, Any] = {}
    for task in tasks(store, experiment, judge, answers):
        frame = language.latest(task.table)
        record: dict[str, Any] = {"kind": "label" if isinstance(task.judge, Label) else "rating", "model": judge}
        if len(frame):
            mine = frame[frame["answer_key"].isin({item.key for item in task.items})]
            mass = mine["mass"].dropna()
            record["asked_twice"] = flips = language.flips(task.table, task.judge, task.items)
            if flips:
                record["flip_rate"] = flips["flip_rate"]
            if len(mass):
                record["median_mass"] = float(mass.median())
            record["tokens"] = {"read": int(mine["input_tokens"].sum()), "written": int(mine["output_tokens"].sum())}
        found[task.name] = record
    return found


def _cost(judge: str, incoming: float, outgoing: float) -> str:
    price = judging_price(judge)
    if price is None:
        return "price unknown"
    dollars = (incoming * price.read + outgoing * price.written) / 1e6
    return f"about ${dollars:.2f} at the prices of {price.day}"


def _seconds(plan: Plan, judge: str, count: float, incoming: float) -> float:
    from weirdgen import machine
    from weirdgen.models.references import find_model

    if not count:
        return 0.0
    if not is_local(judge):
        return math.ceil(count / 16) * API_SECONDS
    parameters = find_model(judge.removeprefix("local:")).parameters
    return incoming / machine.seen_rate("score", parameters, machine.resolve_dtype("auto", parameters))
