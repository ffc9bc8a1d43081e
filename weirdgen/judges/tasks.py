"""What each language judge of an experiment has to read, and which table keeps its verdicts.

In: an experiment, a judging model, and stored answers. Out: one `Task` per judge. Asks nothing and writes nothing; asking is
`weirdgen.judges.language`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weirdgen.config.experiment import Experiment
from weirdgen.config.judges import PromptedJudge, prompted
from weirdgen.errors import SpecError
from weirdgen.judges.language import Item, language_table
from weirdgen.judges.model import NamedJudge, is_local
from weirdgen.store.artifacts import Store
from weirdgen.store.table import Table


@dataclass(frozen=True)
class Task:
    """One judge's part: the distinct answers that it reads."""

    name: str
    judge: PromptedJudge
    table: Table
    items: tuple[Item, ...]


def tasks(store: Store, experiment: Experiment, model: NamedJudge, answers: Sequence[tuple[str, str]]) -> list[Task]:
    """What each judge has to read of these (question id, answer) pairs."""
    questions = {question.id: question for question in experiment.questions}
    result = []
    for name, judge in prompted(experiment.judges).items():
        items = {Item(questions[id_].ask, text) for id_, text in answers if name in questions[id_].read_by}
        result.append(Task(name, judge, language_table(store, judge, model.identity), tuple(sorted(items))))
    return result


def without_reasons(reference: str, judge: PromptedJudge) -> bool:
    """Whether a judge is answered at once although its prompt asks for reasons first: a local model writes none."""
    return judge.reason_first and is_local(reference)


def require_judging_model(experiment: Experiment, reference: str) -> None:
    """Raises `SpecError` if the model has nothing to judge; `ModelError` if it is none."""
    is_local(reference)
    if not prompted(experiment.judges):
        raise SpecError(
            [f"--judge {reference}: {experiment.name} has no free-form question that a language judge reads"]
        )
