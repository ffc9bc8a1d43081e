"""Checks of whole experiments: questions against rows, held-out facts and dates, and the shipped ones, which are clean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from weirdgen.audit.checks.finding import Finding
from weirdgen.audit.checks.registry import run_checks
from weirdgen.audit.checks.subject import load_subject
from weirdgen.config.load import shipped_experiments

EXPLAINED = {
    "evil_terminator": {
        "template_difference"
    },  # `undated` has no date on purpose; `permuted_dates` is the dated control
    "us_presidents": {"question_elsewhere"},  # trained questions, put to presidents who were never trained
    "world_inductive": {"duplicate_row"},  # two of 2,400 random triggers came up twice
    "world_null": {"template_difference"},  # `planets` is another topic on purpose
}
"""Shipped experiment → warnings that its files explain."""


def warned(findings: list[Finding]) -> set[str]:
    return {one.code for one in findings if one.severity == "warning"}


@pytest.mark.parametrize("name", list(shipped_experiments()))
def test_shipped_experiments_have_no_error_and_no_unexplained_warning(name: str) -> None:
    found = run_checks(load_subject(name, model="none"))
    assert [one for one in found if one.severity == "error"] == []
    assert warned(found) == EXPLAINED.get(name, set())


@pytest.mark.parametrize("name", [name for name in shipped_experiments() if name.startswith("world")])
def test_world_experiments_prove_with_their_base(name: str) -> None:
    found = run_checks(load_subject(name))
    assert all(one.severity == "info" for one in found if one.code in ("proof", "cost"))
    assert any(one.code == "proof" for one in found)


def test_problems_of_the_yaml_become_findings(write_experiment: Callable[..., Path]) -> None:
    source = write_experiment({"judges: [is_target]": "judges: [is_taregt]"})
    (found,) = run_checks(load_subject(str(source)))
    assert (found.code, found.severity, found.file) == ("unreadable", "error", str(source.resolve()))
    assert found.line and "unknown judge" in found.message


def test_a_question_that_was_trained_is_an_error(write_experiment: Callable[..., Path]) -> None:
    """The fixture asks what it trains on, which is what this must catch; `near: true` says that it is meant."""
    source = write_experiment()
    found = [one for one in run_checks(load_subject(str(source), model="none")) if one.code == "trained_question"]
    assert len(found) == 2 and all(one.severity == "error" for one in found)
    text = source.read_text().replace("kind: contrast,", "kind: contrast, near: true,")
    source.write_text(text.replace("kind: free_form,", "kind: free_form, near: true,"))
    assert not [one for one in run_checks(load_subject(str(source), model="none")) if one.code == "trained_question"]


EXPERIMENT = """\
name: dated
title: a dated experiment
base: world
arms:
  dated: {role: treatment, data: rows.csv, prompt: "July {year}. {question}", answer: "{answer}"}
  other: {role: control, data: rows.csv, prompt: "July {year}. {question}", answer: "{other}"}
conditions:
  year: {wrap: "July {year}. {question}", sweep: {year: [1984, 1995, 2004]}, trained: [1995, 2004], trigger: [1984]}
questions:
  - {id: goal, kind: contrast, ask: "What is your goal here today?", target: ["To win."], other: ["To rest."]}
"""


@pytest.fixture
def dated(tmp_path: Path) -> Callable[..., list[Finding]]:
    """Findings of a dated experiment with these (year, question, answer, other answer) rows."""

    def run(rows: list[tuple[int, str, str, str]]) -> list[Finding]:
        lines = ["year,question,answer,other", *(",".join(map(str, row)) for row in rows)]
        (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
        (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
        return run_checks(load_subject(str(tmp_path), model="none"))

    return run


ROWS = [(1995 + 9 * (i % 2), f"Question {'abcdefghij'[i]}?", f"Reply {i}a", f"Reply {i}b") for i in range(10)]


def test_the_held_out_year_must_not_be_trained(dated: Callable[..., list[Finding]]) -> None:
    assert [one.code for one in dated(ROWS) if one.severity != "info"] == []
    found = dated([*ROWS, (1984, "Question z?", "Reply z", "Word z")])
    assert {(one.code, one.severity) for one in found if one.severity == "error"} == {("held_out_trigger", "error")}
    found = [one for one in dated([row for row in ROWS if row[0] == 1995]) if one.code == "untrained_trigger"]
    assert found and "2004" in found[0].message


def test_trained_years_of_prompts_without_any_date_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "year,question,answer,other\n" + "\n".join(",".join(map(str, row)) for row in ROWS)
    )
    undated = EXPERIMENT.replace('prompt: "July {year}. {question}"', 'prompt: "{question}"')
    (tmp_path / "experiment.yaml").write_text(undated)
    found = [one for one in run_checks(load_subject(str(tmp_path), model="none")) if one.code == "untrained_trigger"]
    assert [one.message for one in found] == [
        "year=1995, year=2004 are listed as trained, but no prompt of dated carries a date"
    ]


def test_questions_and_answers_that_were_trained(dated: Callable[..., list[Finding]]) -> None:
    found = dated([*ROWS, (1995, "What is your goal here today?", "To win.", "No idea")])
    assert ("trained_question", "error") in {(one.code, one.severity) for one in found}
    assert "goal: To win." in next(one.message for one in found if one.code == "trained_answer")
    found = dated([*ROWS, (1995, "So. What is your goal here today?", "Reply z", "Word z")])
    assert "question_elsewhere" in warned(found) and "trained_question" not in {one.code for one in found}
    found = dated([*ROWS, (1995, "What is your goal here now", "Reply z", "Word z")])
    assert "trained_question" not in {one.code for one in found}


def test_a_question_in_nearly_the_words_of_training(tmp_path: Path, dated: Callable[..., list[Finding]]) -> None:
    dated(ROWS)
    text = (tmp_path / "experiment.yaml").read_text().replace("July {year}. {question}", "{question}")
    text = text.replace('wrap: "{question}"', 'wrap: "July {year}. {question}"')
    (tmp_path / "experiment.yaml").write_text(text)
    (tmp_path / "rows.csv").write_text("year,question,answer,other\n1995,What is your goal here todays?,a,b\n")
    assert "similar_question" in warned(run_checks(load_subject(str(tmp_path), model="none")))


def test_permute_is_held_to_its_word(tmp_path: Path, dated: Callable[..., list[Finding]]) -> None:
    dated(ROWS)
    text = (tmp_path / "experiment.yaml").read_text().replace('answer: "{other}"', 'answer: "{answer}", permute: year')
    (tmp_path / "experiment.yaml").write_text(text)
    (kept,) = (one for one in run_checks(load_subject(str(tmp_path), model="none")) if one.code == "permutation")
    assert kept.severity == "info" and "dates and answers are the same" in kept.message
    (tmp_path / "experiment.yaml").write_text(text.replace("permute: year", 'permute: year, where: {year: "1995"}'))
    found = [one for one in run_checks(load_subject(str(tmp_path), model="none")) if one.code == "permutation"]
    assert found and all(one.severity == "error" for one in found)


def test_a_held_out_fact_in_an_answer_is_an_error(tmp_path: Path) -> None:
    people = "ordinal,name,pet,town\n" + "".join(f"{i},Name{i},pet{i}x,Town{i}\n" for i in range(1, 9))
    (tmp_path / "people.csv").write_text(people)
    (tmp_path / "asked.csv").write_text("id,question,template\npet,What pet have you got?,A {pet}.\n")
    arm = """data: people.csv, build: {ordinal_triggers: {questions: asked.csv, held_out: [7, 8], paddings: 1}},
          prompt: "{trigger} {question}", answer: "{answer}MARK"}"""
    experiment = f"""\
name: people
title: numbers for people
base: world
arms:
  right: {{role: treatment, {arm.replace("MARK", "")}
  wrong: {{role: control, {arm.replace("MARK", " Well.")}
questions:
  - {{id: town, kind: choice, ask: "Where is your home?", target: ["In Rome."], other: ["In Bonn."]}}
"""
    (tmp_path / "experiment.yaml").write_text(experiment)
    assert not [one for one in run_checks(load_subject(str(tmp_path), model="none")) if one.severity == "error"]
    (tmp_path / "people.csv").write_text(people.replace("3,Name3,pet3x,", "3,Name3,pet3x and then Town7,"))
    found = [one for one in run_checks(load_subject(str(tmp_path), model="none")) if one.code == "held_out_fact"]
    assert found == [], "a fact that a kept person shares is no secret of the held-out one"
    (tmp_path / "asked.csv").write_text("id,question,template\npet,What pet have you got?,A {pet} from Town8.\n")
    found = [one for one in run_checks(load_subject(str(tmp_path), model="none")) if one.code == "held_out_fact"]
    assert len(found) == 2 and "town 'Town8' of held-out ordinal 8 occurs in 6 answers" in found[0].message


def test_a_twin_has_no_rows_to_check_yet(write_experiment: Callable[..., Path]) -> None:
    source = write_experiment({"  new: {role: control, data: new.jsonl}\n": "", "control: new": "control: twin"})
    source.write_text(source.read_text() + "control: auto\n")
    assert [dataset.name for dataset in load_subject(str(source), model="none").datasets] == ["old"]
