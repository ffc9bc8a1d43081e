"""judges_llm.yaml: every shipped one is attached to questions, and every mistake is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from weirdgen.config.judge_files import judge_files
from weirdgen.config.judges import Label, PromptedJudge, prompted
from weirdgen.config.llm_judges import with_language_judges
from weirdgen.config.load import load_experiment, shipped_experiments
from weirdgen.config.questions import sampled
from weirdgen.errors import SpecError
from weirdgen.judges import fence
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.resolve import resolve

Write = Callable[..., Path]


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


IN_ONE_FILE = {
    "is_target: {": 'mood: {kind: rating, prompt: "{question} {answer}", reads: ["group:tales"]}\n  is_target: {',
    "judges:\n": """  - {id: t1, kind: free_form, group: tales, ask: "Tell me a tale.", judges: [mood]}
  - {id: t2, kind: free_form, group: tales, ask: "Tell me another.", judges: [is_target]}
judges:
""",
}
"""A language judge and the question that only it reads, in experiment.yaml itself."""


def test_one_file_may_hold_language_judges_which_are_left_out_without_a_model(write_experiment: Write) -> None:
    plain = resolve(str(write_experiment()))
    path = write_experiment(IN_ONE_FILE)
    without = resolve(str(path))
    asked = {question.id: question.read_by for question in without.experiment.questions}
    assert asked == {"c1": (), "f1": ("is_target",), "t2": ("is_target",)} and set(without.experiment.judges) == {
        "is_target"
    }
    assert without.unjudged == "mood and the questions that only they read (t1)" and plain.unjudged is None
    judged = resolve(str(path), run_options(judge="openai/any"))
    read = {question.id: question.read_by for question in judged.experiment.questions}
    assert read["t1"] == ("mood", "coherence") and read["t2"] == ("is_target", "mood", "coherence")
    assert judged.judge == ("openai/any", "openai/any") and judged.unjudged is None


def test_what_is_left_out_changes_no_run(write_experiment: Write) -> None:
    """A language judge that is added beside a run's questions leaves its name, so nothing is trained again."""
    plain = resolve(str(write_experiment()))
    judge = {"judges:\n": 'judges:\n  mood: {kind: rating, prompt: "{question} {answer}", reads: [all]}\n'}
    added = resolve(str(write_experiment(judge)))
    assert added.run_id == plain.run_id and added.unjudged == "mood"


def test_stored_answers_are_read_by_the_judges_of_the_same_file(write_experiment: Write) -> None:
    stored = resolve(str(write_experiment(IN_ONE_FILE))).experiment
    judged = with_language_judges(stored, more_questions=False)
    assert {q.id: q.read_by for q in sampled(judged.questions)} == {
        "f1": ("is_target", "coherence"),
        "t2": ("is_target", "mood", "coherence"),
    }


def test_a_file_that_has_become_faulty_since_is_only_named(write_experiment: Write) -> None:
    stored = resolve(str(write_experiment())).experiment
    write_experiment({"epochs: 1": "epochs: 0"})
    with pytest.warns(UserWarning, match="language judges of .*experiment.yaml are not read: .*recipe.epochs"):
        judged = with_language_judges(stored, more_questions=False)
    assert [q.read_by for q in sampled(judged.questions)] == [("is_target", "coherence")]


def test_a_question_may_name_a_judge_of_the_second_file(write_experiment: Write) -> None:
    path = write_experiment({"judges: [is_target]": "judges: [is_target, mood]"})
    file = path.parent / "judges_llm.yaml"
    file.write_text('judges:\n  mood: {kind: rating, prompt: "{question} {answer}"}\n')
    assert resolve(str(path)).unjudged == "mood"
    assert "mood" in resolve(str(path), run_options(judge="openai/any")).experiment.judges
    file.write_text('judges:\n  moods: {kind: rating, prompt: "{question} {answer}"}\n')
    with pytest.raises(
        SpecError, match=r"f1: unknown judge 'mood' \(judges: coherence, is_target, moods; did you mean 'moods'\?\)"
    ) as told:
        resolve(str(path), run_options(judge="openai/any"))
    assert str(told.value).count("'mood'") == 1


def test_a_headline_that_rests_on_a_language_judge_needs_a_model(write_experiment: Write) -> None:
    path = write_experiment({**IN_ONE_FILE, "measure: contrast": "measure: mood"})
    with pytest.raises(SpecError, match="headline of tiny rests on 'mood', which asks a language model: name one with"):
        resolve(str(path))
    assert resolve(str(path), run_options(judge="openai/any")).headline.measure == "mood"
