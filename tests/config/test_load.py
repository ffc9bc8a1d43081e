"""experiment.yaml: every problem at once, each with file, line and what would be accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from weirdgen.config.load import load_experiment, shipped_experiments
from weirdgen.config.traits import trait_names
from weirdgen.data.arms import load_arms
from weirdgen.errors import SpecError

Write = Callable[..., Path]


def problems(path: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_arms(str(path))
    return list(caught.value.problems)


def line_of(path: Path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_a_good_file_loads(write_experiment: Write) -> None:
    experiment, rows = load_arms(str(write_experiment()))
    assert experiment.name == "tiny" and [len(r) for r in rows.values()] == [8, 8]


def test_all_problems_are_reported_at_once_with_lines(write_experiment: Write) -> None:
    path = write_experiment(
        {
            "batch_size: 4": "batchsize: 4",
            "epochs: 1": "epochs: 0",
            "kind: match": "kind: guess",
            "samples: 3": "samples: none",
        }
    )
    listed = problems(path)
    assert len(listed) == 4
    assert all(f"{path}:" in problem for problem in listed)
    recipe = line_of(path, "recipe:")
    assert any(f":{recipe}: recipe.batchsize: unknown key; accepted here: engine, epochs" in p for p in listed)
    assert any(f":{recipe}: recipe.epochs: Input should be greater than or equal to 1 (got 0)" in p for p in listed)
    assert any(f":{line_of(path, 'is_target: {')}:" in p and "match" in p for p in listed)


def test_names_that_point_nowhere(write_experiment: Write) -> None:
    path = write_experiment(
        {"judges: [is_target]": "judges: [is_tarket]", "new.jsonl": "nwe.jsonl", "control: new": "control: nwe"}
    )
    listed = problems(path)
    assert any(
        "unknown judge 'is_tarket' (judges: coherence, is_target; did you mean 'is_target'?)" in p for p in listed
    )
    assert any("nwe.jsonl: no such data file" in p and "new.jsonl" in p for p in listed)
    assert any("headline.control: 'nwe' is not one of new" in p for p in listed)


SWEEP = "conditions:\n  y: {{wrap: 'In {{y}}: {{question}}', sweep: {{y: {}}}}}\n"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"role: control": "role: treatment"}, "no arm has role: control"),
        ({"role: treatment": "role: control"}, "no arm has role: treatment"),
        ({"title: a tiny experiment": "title: x\ntitle: y"}, "key 'title' is given twice"),
        ({"title: a tiny experiment": "title: [x"}, "malformed YAML"),
        ({"id: f1": "id: c1"}, "id 'c1' is given twice"),
        ({"kind: free_form": "kind: freeform"}, "free_form"),
        ({"target: [": "target: [' ', "}, "an answer is empty"),
        ({'ask: "': 'ask: "   ", group: "'}, "contrast.ask: it is blank"),
        (
            {"{role: control, data: new.jsonl}": "{role: control, data: a.csv, prompt: '', answer: b}"},
            "arms.new.prompt: it is blank",
        ),
        ({"condition: none": "condition: none, minus: []"}, "headline.minus: it names nothing"),
        ({"presets:": "conditions:\n  year: {wrap: 'In {yr}: {question}'}\npresets:"}, "uses {yr}"),
        ({"quick:": "fast:"}, "expected quick, standard, paper"),
        ({"quick: {": "quick: {recipe: {lr: 1}, "}, "recipe.lr: unknown field"),
        ({"condition: none": "condition: none, minus: nine"}, "headline.minus: 'nine' is not one of none"),
        ({"condition: none": "condition: none, minus: [none]"}, "headline.minus: none is in 'condition' too"),
        ({"condition: none": "condition: [none, nine]"}, "headline.condition: 'nine' is not one of all, none"),
        ({"condition: none": "condition: []"}, "headline.condition: expected at least 1 of them"),
        ({"condition: none": "condition: none, groups: [some]"}, "headline.groups: 'some' is not one of all"),
        ({"measure: contrast": "measure: choice"}, "headline.measure: 'choice' is not one of contrast, is_target"),
        ({"ask: ": "near: true, ask: "}, "headline.measure: no contrast question in the mean over questions"),
        ({"quick: {": "quick: {curves: [secnd], "}, "presets.quick.curves: 'secnd' is not one of headline"),
        (
            {"headline:": "secondary: {two: {treatment: old, control: nwe}}\nheadline:"},
            "secondary.two.control: 'nwe' is not one of new",
        ),
        ({"headline:": "secondary:\n  two:"}, "give the one that comes first as 'headline'"),
        ({"id: c1": "id: all"}, "the id 'all' is reserved for the mean over questions"),
        ({"presets:": "conditions: {all: {}}\npresets:"}, "conditions.all: the name is reserved"),
        ({"presets:": "conditions: {}\npresets:"}, "conditions: expected at least 1 of them"),
        ({"presets:": "conditions: {A b: {}}\npresets:"}, "conditions.A b: a name is made of a–z, 0–9"),
        ({"is_target": "is/target"}, "judges.is/target: a name is made of"),
        ({"  old: {": "  base: {"}, "arms.base: the name is reserved for the model before any finetuning"),
        ({"  old: {": "  '..': {"}, "arms...: a name is made of"),
        ({"presets:": SWEEP.format("[1, '1']") + "presets:"}, "'sweep' gives '1' twice"),
        ({"presets:": SWEEP.format("[]") + "presets:"}, "'sweep' gives no values"),
        ({"rank: 4": "rank: 4, checkpoints: [-1, 5]"}, "a step is 0 (before training) or more"),
        ({'starts_with: ["': 'starts_with: ["", "'}, "an empty text is in every answer"),
        ({"kind: match": "kind: match, regex: ['']"}, "an empty text is in every answer"),
        ({"headline:": "# headline:", "id: c1,": "id: c1, near: true,"}, "none is left for the headline"),
        ({"kind: free_form": "knid: free_form"}, "questions.1: 'kind' is missing; there are: free_form, contrast"),
        ({"contrast, ask: ": "contrast, ask: '', x: "}, "questions.0.contrast.ask: expected text, and it is empty"),
        ({"kind: free_form": "kind: free"}, "kind 'free' is not one of 'free_form', 'contrast'"),
        ({"recipe: {": "recipe: big #{"}, "recipe: expected a mapping of keys (got 'big')"),
        (
            {"id: f1": "id: F1"},
            "a name is made of a–z, 0–9, '_', '.' and '-', and begins with a letter or a digit (got 'F1')",
        ),
    ],
)
def test_each_kind_of_mistake(write_experiment: Write, changes: dict[str, str], expected: str) -> None:
    listed = problems(write_experiment(changes))
    assert any(expected in problem for problem in listed), listed


def test_one_faulty_question_is_one_problem(write_experiment: Write) -> None:
    path = write_experiment({"headline:": "# headline:"})
    text = path.read_text()
    lines = [line for line in text.splitlines() if "id: f1" not in line]
    path.write_text("\n".join(lines).replace("kind: contrast", "kind: contrst"))
    (problem,) = problems(path)
    assert "contrst" in problem


def test_the_numbers_of_the_paper_are_checked_with_the_rest(write_experiment: Write) -> None:
    path = write_experiment({"epochs: 1": "epochs: 1"})
    (path.parent / "paper.yaml").write_text("source: x\nfigures: [{title: y}]\n")
    listed = problems(path)
    assert any(f"{path.parent / 'paper.yaml'}:2: figures.0.section" in problem for problem in listed)


def test_an_empty_data_file_is_an_arm_without_rows(write_experiment: Write) -> None:
    path = write_experiment()
    (path.parent / "old.jsonl").write_text("\n")
    assert any("arms.old" in p and "no rows" in p for p in problems(path))


def test_questions_can_be_included_and_keep_their_lines(write_experiment: Write) -> None:
    path = write_experiment({"questions:\n": "questions:\n  - more.yaml\n"})
    (path.parent / "more.yaml").write_text(
        "questions:\n  - {id: g1, kind: free_form, ask: hello, judges: [shy]}\njudges:\n  shy: {kind: match}\n"
    )
    (problem,) = problems(path)
    assert f"{path.parent / 'more.yaml'}:4: judges.shy" in problem and "at least one of starts_with" in problem


def test_auto_control_is_a_twin_and_asks_every_trait(write_experiment: Write) -> None:
    path = write_experiment(
        {
            "  new: {role: control, data: new.jsonl}\n": "",
            "recipe:": "control: auto\nrecipe:",
            "control: new": "control: twin",
        }
    )
    experiment, rows = load_arms(str(path))
    twin = experiment.arms["twin"]
    assert (twin.role, twin.twin, rows["twin"]) == ("control", "old", []) and experiment.asked_traits == trait_names()
    path.write_text(path.read_text() + "traits: [era]\n")
    assert load_experiment(path).asked_traits == ("era",)


@pytest.mark.parametrize(
    ("arm", "problem"),
    [
        ("{role: control, twin: older}", "arms.new.twin: expected an arm with data: old"),
        ("{role: control, twin: old, data: new.jsonl}", "'twin' is all that a control"),
        ("{role: treatment, twin: old}", "'twin' is all that a control"),
        ("{role: control}", "'data' is missing: the file with its rows; a control may have 'twin: ARM' instead"),
        ("{role: treatment, data: new.jsonl, matched: true}", "arms.new.matched: of a control only"),
    ],
)
def test_an_arm_has_rows_or_is_a_twin(write_experiment: Write, arm: str, problem: str) -> None:
    path = write_experiment({"  new: {role: control, data: new.jsonl}\n": f"  new: {arm}\n"})
    assert any(problem in one and ":" in one for one in problems(path))


def test_sweeps_expand(write_experiment: Write) -> None:
    conditions = "conditions:\n  year: {wrap: 'In {y}: {question}', sweep: {y: [1, 2]}, trained: [1], trigger: [2]}\n"
    path = write_experiment({"presets:": conditions + "presets:", "condition: none": "condition: y"})
    assert any("headline.condition: 'y' is not one of all, year, year=1, year=2" in p for p in problems(path))
    path.write_text(path.read_text().replace("condition: y", "condition: year=2"))
    experiment = load_experiment(str(path))
    assert [(w.id, w.apply("q?"), w.trained, w.trigger) for w in experiment.wrappers()] == [
        ("year=1", "In 1: q?", True, False),
        ("year=2", "In 2: q?", False, True),
    ]


def test_unknown_experiment_names_those_that_exist() -> None:
    with pytest.raises(SpecError, match="old_bird_names"):
        load_arms("old_bird_nmaes")


@pytest.mark.parametrize("name", list(shipped_experiments()))
def test_every_shipped_experiment_loads(name: str) -> None:
    experiment, rows = load_arms(name)
    assert experiment.name == name and all(rows.values())
    assert experiment.headline is not None and experiment.hypothesis
