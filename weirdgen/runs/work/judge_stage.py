"""The judge stage for judges that ask a language model: which verdicts a run needs, and their making.

In: a `Plan` whose settings name a judging model. Out: verdicts in the store, and each judge's record (failures, flips). How
one verdict is asked for and read is in `weirdgen.judges`; what the missing ones cost is in `weirdgen.runs.plan.workload`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weirdgen.config.experiment import Experiment
from weirdgen.judges import language
from weirdgen.judges.language import Item
from weirdgen.judges.model import CONNECTIONS, NamedJudge, is_local, local_judge
from weirdgen.judges.tasks import Task, tasks, without_reasons
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.work.executors import Executor
from weirdgen.runs.work.judging import Choose
from weirdgen.store.artifacts import Store

if TYPE_CHECKING:
    from weirdgen.progress import Progress

ANSWERS_PER_UNIT = 256
"""For one judge on a model of ours; a multiple of what it reads together."""


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


def make_verdicts(
    store: Store, experiment: Experiment, judge: NamedJudge, answers: Sequence[tuple[str, str]], repeats: int,
    progress: Progress, executor: Executor, connections: int = CONNECTIONS,
) -> int:  # fmt: skip
    """Ask for every verdict that is missing or was an error; returns how many were asked for.

    A local model is asked wherever `executor` works. A provider is asked by this process alone, `connections` requests
    at a time: it has the keys, limits hold in one place, and another run waits for its verdicts instead of paying again.
    """
    wanted = [
        (task, language.missing(task.table, task.items, repeats)) for task in tasks(store, experiment, judge, answers)
    ]
    count = sum(len(lacking) for _, lacking in wanted)
    if not count:
        return 0
    if is_local(judge.reference):
        units = _units(judge, wanted)
        with progress.stage("judge", count, "verdicts") as bar:
            executor.run(units, store, bar.advance)
        return count
    from weirdgen.judges.api_model import ApiJudgeModel

    model = ApiJudgeModel(judge.reference, connections)
    with progress.stage("judge", count, "verdicts") as bar:
        for task, lacking in wanted:
            if lacking:
                with store.lock("judge", task.table.folder.name):
                    lacking = language.missing(task.table, task.items, repeats)  # another run may have made them
                    language.judge_items(task.table, task.judge, model, lacking, lambda verdict: bar.advance())
    return count


def _units(judge: NamedJudge, wanted: Sequence[tuple[Task, list[tuple[Item, int]]]]) -> list[Choose]:
    """Shards of what a local model has to judge: one judge and some answers each."""
    model, dtype = local_judge(judge.reference)
    return [
        Choose(model, dtype, judge.identity, task.judge, tuple(lacking[start : start + ANSWERS_PER_UNIT]))
        for task, lacking in wanted
        for start in range(0, len(lacking), ANSWERS_PER_UNIT)
    ]


def records(
    store: Store, experiment: Experiment, judge: NamedJudge, answers: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Each judge's record for the report: kind, model, flips, the probability mass on admissible replies.

    `made` counts the verdicts behind it, repeats and attempts that failed included.
    """
    found: dict[str, Any] = {}
    for task in tasks(store, experiment, judge, answers):
        everything = task.table.read()
        everything = everything[everything["answer_key"].isin({item.key for item in task.items})]
        record: dict[str, Any] = {
            "kind": task.judge.kind,
            "model": judge.reference,
        }
        if without_reasons(judge.reference, task.judge):
            record["reasons"] = "asked for, but not written: a local model chooses its answer at once"
        record["made"] = len(everything)
        if len(everything):
            frame = language.last_attempts(everything)
            mass = frame["mass"].dropna()
            record["asked_twice"] = flips = language.flips(task.judge, frame)
            if flips:
                record["flip_rate"] = flips["flip_rate"]
            if len(mass):
                record["median_mass"] = float(mass.median())
            record["tokens"] = {"read": int(frame["input_tokens"].sum()), "written": int(frame["output_tokens"].sum())}
        found[task.name] = record
    return found
