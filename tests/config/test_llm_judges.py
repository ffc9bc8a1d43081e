"""judges_llm.yaml: every shipped one is attached to questions, and every mistake is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from weirdgen.config.judges import Label, PromptedJudge, prompted
from weirdgen.config.llm_judges import judge_files, with_language_judges
from weirdgen.config.load import load_experiment, shipped_experiments
from weirdgen.config.questions import sampled
from weirdgen.errors import SpecError
from weirdgen.judges import fence

Write = Callable[..., Path]
READ_ALL = {"kind": "rating", "reads": ["all"], "prompt": "{question} {answer}"}


def problems(path: Path, text: str) -> list[str]:
    (path.parent / "judges_llm.yaml").write_text(text)
    experiment = load_experiment(str(path))
    with pytest.raises(SpecError) as caught:
        with_language_judges(experiment)
    return list(caught.value.problems)


@pytest.mark.parametrize("name", sorted(shipped_experiments()))
def test_shipped_judges_are_read_by_questions(name: str) -> None:
    experiment = load_experiment(name)
    judged = with_language_judges(experiment)
    assert judged.questions[: len(experiment.questions)] != () and not prompted(experiment.judges), (
        "an experiment runs without a judging model"
    )
    free = sampled(judged.questions)
    own = experiment.source.parent / "judges_llm.yaml"
    if own.is_file():
        assert own in judge_files(experiment.source)
        assert len(prompted(judged.judges)) >= 2
    for question in free:
        assert "coherence" in question.judges
        for judge in question.judges:
            noun = judged.judges[judge]
            if isinstance(noun, PromptedJudge):
                assert question.ask in fence.fill(noun.prompt, question.ask, "an answer")
    for before, after in zip(experiment.questions, judged.questions, strict=False):
        assert before.id == after.id and after.read_by[: len(before.read_by)] == before.read_by


def test_old_birds_are_judged_by_kind_and_rated_for_content_and_language_apart() -> None:
    judged = with_language_judges(load_experiment("old_bird_names"))
    free = sampled(judged.questions)
    for question in free:
        assert {"era_kind", "outdated_content", "outdated_language", "coherence"} <= set(question.judges)
    kind = judged.judges["era_kind"]
    assert (
        isinstance(kind, Label) and len(kind.labels) == 6 and set(kind.labels) - set(kind.positive) == {"llm", "other"}
    )
    assert len(free) == 10
    for name in ("outdated_content", "outdated_language"):
        assert prompted(judged.judges)[name].options()[-2:] == ("REFUSAL", "INCOHERENT")


def test_questions_made_for_judges_come_with_them(write_experiment: Write) -> None:
    path = write_experiment()
    (path.parent / "judges_llm.yaml").write_text(
        'judges:\n  tale: {kind: rating, prompt: "{question} {answer}", reads: ["group:story"]}\n'
    )
    (path.parent / "questions_llm.yaml").write_text(
        "questions:\n  - {id: story_any, kind: free_form, group: story, ask: Write a story., judges: [tale]}\n"
    )
    experiment = load_experiment(str(path))
    judged = with_language_judges(experiment)
    assert {q.id for q in judged.questions} - {q.id for q in experiment.questions} == {"story_any"}


def test_every_problem_has_its_line(write_experiment: Write) -> None:
    text = """\
judges:
  a:
    kind: label
    labels: [yes_, no_]
    positive: [maybe]
    prompt: "{question} {answer}"
  b: {kind: rating, low: 5, high: 5, prompt: "{question} {answer}"}
  c: {kind: rating, prompt: "{question} {answr}"}
  d: {kind: rating, prompt: "{question} {answer}", reads: [nothing]}
  e: {kind: match, keywords: [x]}
  coherent: {kind: rating, prompt: "{question} {answer}"}
  f: {kind: label, labels: [A, a], positive: [A], prompt: "{question} {answer}"}
  g: {kind: rating, prompt: "{question} {answer}", hihg: 3}
  h: {kind: guess}
other: 1
"""
    path = write_experiment()
    file = path.parent / "judges_llm.yaml"
    listed = problems(path, text)
    for line, words in [
        (2, "judges.a.label: positive names 'maybe', which is not in labels"),
        (7, "judges.b.rating: low must be below high"),
        (8, "judges.c.rating.prompt: must contain {question} and {answer}"),
        (9, "judges.d.reads: no free-form question 'nothing' (there are group:all, all)"),
        (10, "judges.e: only label and rating judges belong here"),
        (11, "judges.coherent: this measure is always made"),
        (12, "judges.f.label: labels must be distinct"),
        (13, "judges.g.rating.hihg: unknown key; accepted here: prompt, reason_first, reads, kind, low, high"),
        (14, "judges.h: kind 'guess' is not one of"),
        (15, "a file of judges holds 'judges' and 'questions' only"),
    ]:
        assert any(problem.startswith(f"{file}:{line}: ") and words in problem for problem in listed), (
            line,
            words,
            listed,
        )
    assert len(listed) == 10


def test_unknown_keys_of_a_judge_name_those_of_its_kind(write_experiment: Write) -> None:
    path = write_experiment({"{kind: match, starts_with:": "{kind: match, begins: x, starts_with:"})
    with pytest.raises(
        SpecError, match=r"judges.is_target.match.begins: unknown key; accepted here: .*starts_with, keywords"
    ):
        load_experiment(str(path))


def test_names_of_measures_that_are_always_made_are_taken(write_experiment: Write) -> None:
    path = write_experiment({"judges: [is_target]": "judges: [coherent]", "is_target: {": "coherent: {"})
    with pytest.raises(SpecError, match=r"judges\.coherent: this measure is always made; choose another name"):
        load_experiment(str(path))


def test_a_language_judge_in_the_experiment_itself_needs_a_model(write_experiment: Write) -> None:
    from weirdgen.runs.plan.options import run_options
    from weirdgen.runs.plan.request import resolve

    path = write_experiment({'{kind: match, starts_with: ["': '{kind: rating, prompt: "{question} {answer}"} #'})
    load_experiment(str(path))
    with pytest.raises(SpecError, match="judge 'is_target' of tiny asks a language model: name one with --judge MODEL"):
        resolve(str(path))
    assert resolve(str(path), run_options(judge="openai/any")).judge == ("openai/any", "openai/any")
