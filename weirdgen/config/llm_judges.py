"""Language judges (label and rating): what is measured with a judging model, and what is left out without one.

In: an experiment. Out: the same experiment with its language judges, those of its own files and those of `judges_llm.yaml` and
`questions_llm.yaml`, each attached to the questions that it `reads`; or the experiment without any of them. Problems come with
file and line. An experiment itself runs without any of this; nothing here asks a model.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from weirdgen.config.base import NAME_WORDS, is_name
from weirdgen.config.experiment import Experiment
from weirdgen.config.files import Lines, read_yaml
from weirdgen.config.judge_files import COHERENCE, judge_files
from weirdgen.config.judges import JUDGE_KINDS, Judge, PromptedJudge, prompted
from weirdgen.config.load import explain_noun, load_experiment
from weirdgen.config.measures import MEASURES
from weirdgen.config.questions import BaseQuestion, Question, sampled
from weirdgen.errors import SpecError, choices
from weirdgen.parsing import is_file

Places = dict[str, str]
"""Name or id → file and line."""


class WithJudges(NamedTuple):
    """An experiment with its language judges, as far as they are sound, and what is wrong with the others."""

    experiment: Experiment
    problems: list[str]


class WithoutJudges(NamedTuple):
    """An experiment without its language judges, and the names of the judges and questions that were left out for it."""

    experiment: Experiment
    judges: tuple[str, ...]
    questions: tuple[str, ...]

    @property
    def named(self) -> str | None:
        """What was left out; None if nothing was."""
        asked = f" and the questions that only they read ({', '.join(self.questions)})" if self.questions else ""
        return f"{', '.join(self.judges)}{asked}" if self.judges else None


def left_out_line(named: str) -> str:
    """What is said before a run about what `WithoutJudges.named`."""
    return f"left out: {named}: language judges; --judge MODEL adds them"


def without_language_judges(experiment: Experiment) -> WithoutJudges:
    """What is measured where no judging model is named: a question that only language judges read is not asked."""
    named = {name: None for question in experiment.questions for name in question.read_by}
    asking = prompted(experiment.judges)
    left_out = [name for name in {**asking, **named} if name in asking or name not in experiment.judges]
    kept: list[Any] = []
    dropped: list[str] = []
    for question in experiment.questions:
        rest = tuple(name for name in question.read_by if name not in left_out)
        if rest == question.read_by:
            kept.append(question)
        elif rest:
            kept.append(question.model_copy(update={"judges": rest}))
        else:
            dropped.append(question.id)
    judges = {name: judge for name, judge in experiment.judges.items() if name not in left_out}
    changed = experiment.model_copy(update={"questions": tuple(kept), "judges": judges}) if left_out else experiment
    return WithoutJudges(changed, tuple(left_out), tuple(dropped))


def with_language_judges(experiment: Experiment, more_questions: bool = True) -> Experiment:
    """The experiment with its language judges attached; with `more_questions`, also with the questions made for them.

    Raises one `SpecError` with every problem.
    """
    found = read_language_judges(experiment, more_questions)
    if found.problems:
        raise SpecError(found.problems)
    return found.experiment


def read_language_judges(
    experiment: Experiment, more_questions: bool = True, complete: bool = True, own: bool = True
) -> WithJudges:
    """Like `with_language_judges`, but problems are returned.

    Without `complete`, `experiment` lacks questions, which are faulty: that a judge reads none is then no problem. Without
    `own`, `config.check` has told which unknown judges the experiment's own questions name.
    """
    problems: list[str] = []
    if not more_questions:
        experiment = _with_own_again(experiment)
    judges = dict(prompted(experiment.judges))
    places: Places = {}
    asked: Places = {}
    questions = list(experiment.questions)
    for file in judge_files(experiment.source):
        try:
            data, lines = read_yaml(file)
        except SpecError as error:
            problems += error.problems
            continue
        if unknown := sorted(set(data) - {"questions", "judges"}):
            problems.append(f"{lines.at((unknown[0],))}: a file of judges holds 'judges' and 'questions' only")
        written_judges, written_questions = data.get("judges") or {}, data.get("questions") or []
        if not isinstance(written_judges, dict) or not isinstance(written_questions, list):
            problems.append(f"{file}: 'judges' is a mapping of judges by name, 'questions' a list of questions")
            continue
        for name, written in written_judges.items():
            if name in judges or name in experiment.judges:  # the experiment's own goes before a battery's
                continue
            judge = _validated(Judge, written, ("judges", name), lines, problems)
            asking = prompted({name: judge})
            where = f"{lines.at(('judges', name))}: judges.{name}"
            if judge is not None and not asking:
                kinds = " and ".join(kind for kind, noun in JUDGE_KINDS.items() if issubclass(noun, PromptedJudge))
                problems.append(f"{where}: only {kinds} judges belong here")
            elif not is_name(name):
                problems.append(f"{where}: {NAME_WORDS}")
            elif name in MEASURES:
                problems.append(f"{where}: this measure is always made; rename it")
            elif asking:
                judges[name] = asking[name]
            places[name] = "" if file == COHERENCE else lines.at(("judges", name, "reads"))
        for index, written in enumerate(written_questions if more_questions else []):
            question = _validated(Question, written, ("questions", index), lines, problems)
            if question is not None and question.id not in {q.id for q in questions}:
                questions.append(question)
                asked[question.id] = f"{lines.at(('questions', index))}: "
    readers, unread = _readers(questions, judges)
    if more_questions and complete:  # a stored run may have asked fewer, by its preset
        free = sampled(questions)
        groups = sorted({f"group:{q.group}" for q in free})
        for name, wanted in unread:
            where = places[name] if name in places else _place_in_own_files(experiment, name)
            if where:
                no = f"no free-form question '{wanted}' (there are {choices((*groups, 'all'), wanted)})"
                problems.append(f"{where}: judges.{name}.reads: {no}")
    attached = _attach(questions, readers)
    known = {**experiment.judges, **judges}
    for question in attached:
        lost = [name for name in question.read_by if name not in known and name not in places]
        place = asked.get(question.id, "")
        if lost and (own or place):
            problems.append(f"{place}{question.id}: unknown judge '{lost[0]}' (judges: {choices(known, lost[0])})")
    used = {name for question in attached for name in question.read_by}
    kept = {name: judge for name, judge in known.items() if name in used or name in experiment.judges}
    return WithJudges(experiment.model_copy(update={"questions": tuple(attached), "judges": kept}), problems)


def added_judges() -> dict[str, PromptedJudge]:
    """The judges that every judged run is given, beside those of its experiment."""
    written = read_yaml(COHERENCE)[0]["judges"]
    return prompted({name: TypeAdapter(Judge).validate_python(judge) for name, judge in written.items()})


def _with_own_again(experiment: Experiment) -> Experiment:
    """A stored run's experiment with the language judges of its file, which were left out if no judging model was named."""
    if experiment.source is None or not is_file(experiment.source):
        return experiment
    try:
        written = load_experiment(experiment.source)
    except SpecError as error:  # the run is in the store; its file may have become another since
        warnings.warn(f"language judges of {experiment.source} are not read: {error.problems[0]}", stacklevel=1)
        return experiment
    own = {name: judge for name, judge in prompted(written.judges).items() if name not in experiment.judges}
    if not own or written.name != experiment.name:
        return experiment
    readers = {q.id: [name for name in q.read_by if name in own] for q in written.questions}
    questions = tuple(_attach(list(experiment.questions), readers))
    return experiment.model_copy(update={"questions": questions, "judges": {**experiment.judges, **own}})


def _readers(questions: Sequence[BaseQuestion], judges: Mapping[str, PromptedJudge]) -> tuple[
    dict[str, list[str]], list[tuple[str, str]]
]:  # fmt: skip
    """Question id → the judges that say that they read it; and each (judge, name) of what a judge reads and nothing is."""
    free = sampled(questions)
    readers: dict[str, list[str]] = {}
    unread: list[tuple[str, str]] = []
    for name, judge in judges.items():
        for wanted in judge.reads:
            group = wanted.removeprefix("group:") if wanted.startswith("group:") else None
            read = [q.id for q in free if wanted == "all" or q.group == group or q.id == wanted]
            if not read and wanted != "all":
                unread.append((name, wanted))
            for question in read:
                readers.setdefault(question, []).append(name)
    return readers, unread


def _attach(questions: Sequence[BaseQuestion], readers: Mapping[str, Sequence[str]]) -> list[BaseQuestion]:
    """The questions, read by these judges too."""
    return [
        question.model_copy(update={"judges": tuple(dict.fromkeys((*question.read_by, *more)))})
        if (more := readers.get(question.id))
        else question
        for question in questions
    ]


def _place_in_own_files(experiment: Experiment, judge: str) -> str:
    """File and line of a judge in `experiment.yaml` or in a file of questions that it includes."""
    if experiment.source is None or not is_file(experiment.source):
        return experiment.file_name
    data, lines = read_yaml(experiment.source, [])
    files = [entry for entry in data.get("questions") or [] if isinstance(entry, str)]
    for beside in [experiment.source.parent / entry for entry in files]:
        if judge not in (data.get("judges") or {}) and is_file(beside):
            included, its_lines = read_yaml(beside)
            if judge in (included.get("judges") or {}):
                return its_lines.at(("judges", judge, "reads"))
    return lines.at(("judges", judge, "reads"))


def _validated(noun: Any, written: Any, path: tuple[str | int, ...], lines: Lines, problems: list[str]) -> Any:
    try:
        return TypeAdapter(noun).validate_python(written)
    except ValidationError as error:
        problems += [explain_noun(problem, path, lines) for problem in error.errors()]
        return None
