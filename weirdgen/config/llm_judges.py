"""`judges_llm.yaml` and `questions_llm.yaml`: what is measured in addition with a judging model.

In: an experiment. Out: the same experiment with the language judges that stand beside it and beside the question files
that it includes, each attached to the questions that it `reads`. Raises one `SpecError` with every problem and line.
An experiment itself runs without any of this; nothing here asks a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from weirdgen.config.base import NAME_WORDS, is_name
from weirdgen.config.experiment import Experiment
from weirdgen.config.files import Lines, read_yaml
from weirdgen.config.judges import JUDGE_KINDS, Judge, PromptedJudge, prompted
from weirdgen.config.load import PACKAGE, explain_noun
from weirdgen.config.measures import MEASURES
from weirdgen.config.questions import BaseQuestion, Question, sampled
from weirdgen.errors import SpecError
from weirdgen.parsing import is_file

COHERENCE = PACKAGE / "questions" / "coherence_llm.yaml"
"""Added to every judged run, unless a file of the experiment has a judge of that name."""


def judge_files(source: Path | None) -> list[Path]:
    """The files that hold language judges and their questions for an `experiment.yaml`, its own first."""
    if source is None:
        return [COHERENCE]
    folders = [source.parent]
    batteries: list[Path] = []
    included = read_yaml(source)[0].get("questions") if is_file(source) else None
    for entry in included if isinstance(included, list) else []:
        if isinstance(entry, str):
            beside = source.parent / entry
            if is_file(beside):
                folders.append(beside.parent)
            else:
                batteries.append(PACKAGE / "questions" / f"{entry}_llm.yaml")
    files = [folder / name for folder in folders for name in ("judges_llm.yaml", "questions_llm.yaml")]
    return [file for file in dict.fromkeys(f.resolve() for f in [*files, *batteries, COHERENCE]) if is_file(file)]


def with_language_judges(
    experiment: Experiment, more_questions: bool = True, files: list[Path] | None = None
) -> Experiment:
    """The experiment with its language judges attached; with `more_questions`, also with the questions made for them."""
    problems: list[str] = []
    judges: dict[str, PromptedJudge] = {}
    where: dict[str, Lines] = {}
    questions = list(experiment.questions)
    for file in files if files is not None else judge_files(experiment.source):
        data, lines = read_yaml(file)
        if unknown := sorted(set(data) - {"questions", "judges"}):
            problems.append(f"{lines.at((unknown[0],))}: a file of judges holds 'judges' and 'questions' only")
        for name, written in (data.get("judges") or {}).items():
            if (
                name in judges or name in experiment.judges
            ):  # the experiment's own file takes precedence over a battery's
                continue
            judge = _validated(Judge, written, ("judges", name), lines, problems)
            asking = prompted({name: judge})
            if judge is not None and not asking:
                kinds = " and ".join(kind for kind, noun in JUDGE_KINDS.items() if issubclass(noun, PromptedJudge))
                problems.append(f"{lines.at(('judges', name))}: judges.{name}: only {kinds} judges belong here")
            elif not is_name(name):
                problems.append(f"{lines.at(('judges', name))}: judges.{name}: {NAME_WORDS}")
            elif name in MEASURES:
                problems.append(f"{lines.at(('judges', name))}: judges.{name}: this measure is always made; rename it")
            elif asking:
                judges[name], where[name] = asking[name], lines
        for index, written in enumerate((data.get("questions") or []) if more_questions else []):
            question = _validated(Question, written, ("questions", index), lines, problems)
            if question is not None and question.id not in {q.id for q in questions}:
                questions.append(question)
    unread: list[str] = []
    attached = _attach(questions, judges, where, unread)
    problems += unread if more_questions else []  # a stored run may have asked fewer, by its preset
    known = {**experiment.judges, **judges}
    for question in attached:
        if lost := [name for name in question.read_by if name not in known]:
            problems.append(f"{question.id}: unknown judge '{lost[0]}' (judges: {', '.join(known)})")
    if problems:
        raise SpecError(problems)
    used = {name for question in attached for name in question.read_by}
    kept = {name: judge for name, judge in known.items() if name in used or name in experiment.judges}
    return experiment.model_copy(update={"questions": tuple(attached), "judges": kept})


def _attach(
    questions: list[BaseQuestion], judges: dict[str, PromptedJudge], where: dict[str, Lines], problems: list[str]
) -> list[BaseQuestion]:
    """Add each judge to the questions that it reads."""
    free = sampled(questions)
    readers: dict[str, list[str]] = {}
    for name, judge in judges.items():
        for wanted in judge.reads:
            group = wanted.removeprefix("group:") if wanted.startswith("group:") else None
            read = [q.id for q in free if wanted == "all" or q.group == group or q.id == wanted]
            if not read and wanted != "all" and where[name].source != COHERENCE:
                line = where[name].at(("judges", name, "reads"))
                groups = ", ".join(sorted({f"group:{q.group}" for q in free}))
                problems.append(
                    f"{line}: judges.{name}.reads: no free-form question '{wanted}' (there are {groups}, all)"
                )
            for question in read:
                readers.setdefault(question, []).append(name)
    return [
        question.model_copy(update={"judges": tuple(dict.fromkeys((*question.read_by, *readers[question.id])))})
        if question.id in readers
        else question
        for question in questions
    ]


def _validated(noun: Any, written: Any, path: tuple[str | int, ...], lines: Lines, problems: list[str]) -> Any:
    try:
        return TypeAdapter(noun).validate_python(written)
    except ValidationError as error:
        problems += [explain_noun(problem, path, lines) for problem in error.errors()]
        return None
