"""Questions built from tables: every combination, filled; every mistake named with the line of its entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from weirdgen.config.load import load_experiment
from weirdgen.data.arms import load_arms
from weirdgen.errors import SpecError
from weirdgen.runs.plan.presets import at_size

Write = Callable[..., Path]

ENTRY = """\
questions:
  - build: cross
    from: [people.csv, qualities.csv]
    id: "{person}_{quality}"
    kind: counterfactual
    group: audit
    ask: "{about} Is {name} {word}?"
    instead: "{about} Is {name} not {word}?"
    target: ["yes"]
    other: ["no"]
"""


@pytest.fixture
def write_crossed(write_experiment: Write) -> Write:
    """An experiment with four built questions (from line 10 on) before its own; keyword arguments as in `write_experiment`."""

    def write(changes: dict[str, str] | None = None, **files: str) -> Path:
        path = write_experiment({"questions:\n": ENTRY})
        (path.parent / "people.csv").write_text('person,name,about\nann,Ann,Ann swims.\nbo,Bo,"Bo, too."\n')
        (path.parent / "qualities.csv").write_text("quality,word\nk,kind\nq,quick\n")
        for name, text in files.items():
            (path.parent / f"{name}.csv").write_text(text)
        text = path.read_text()
        for before, after in (changes or {}).items():
            assert before in text
            text = text.replace(before, after)
        path.write_text(text)
        return path

    return write


def test_every_combination_is_a_question(write_crossed: Write) -> None:
    experiment = load_experiment(str(write_crossed()))
    built = experiment.questions[:4]
    assert [q.id for q in built] == ["ann_k", "ann_q", "bo_k", "bo_q"]
    assert built[2].asks == ("Bo, too. Is Bo kind?", "Bo, too. Is Bo not kind?")
    assert {q.kind for q in built} == {"counterfactual"} and len(experiment.questions) == 6


@pytest.mark.parametrize(
    ("changes", "files", "expected"),
    [
        ({"build: cross": "build: corss"}, {}, "no builder 'corss' of questions; there is: cross"),
        ({"from: [people.csv, qualities.csv]": "from: people.csv"}, {}, "from: expected a list of CSV files"),
        ({"[people.csv": "[poeple.csv"}, {}, "poeple.csv: no such data file"),
        ({}, {"qualities": "quality,word\n"}, "qualities.csv: no rows"),
        ({}, {"qualities": "quality,word,name\nk,kind,x\n"}, "column 'name' is in people.csv and in qualities.csv"),
        (
            {"{about} Is {name} {word}?": "Is {nmae} {word}?"},
            {},
            "ask: no column 'nmae'; there are: person, name, about",
        ),
        ({"{about} Is {name} {word}?": "Is {name?"}, {}, "ask: expected '}' before end of string"),
        ({"{person}_{quality}": "{person}"}, {}, "id: would repeat; use a column of qualities.csv in it, too"),
        ({" not {word}?": " {word}?"}, {}, "'instead' is the same text as 'ask'"),
        ({'target: ["yes"]': 'target: ["no"]'}, {}, "answer 'no' is given twice"),
        ({"    instead:": "    insted:"}, {}, "unknown key; accepted here: id, ask, group"),
        ({"samples: 3": "samples: 3, questions: {adit: 1}"}, {}, "'adit' is not a group; there are: audit, all"),
        ({"samples: 3": "samples: 3, questions: {audit: -1}"}, {}, "greater than or equal to 0"),
    ],
)
def test_each_kind_of_mistake(
    write_crossed: Write, changes: dict[str, str], files: dict[str, str], expected: str
) -> None:
    path = write_crossed(changes, **files)
    with pytest.raises(SpecError) as caught:
        load_experiment(str(path))
    assert any(expected in problem and f"{path}:" in problem for problem in caught.value.problems), caught.value


def test_mistakes_are_reported_with_those_of_the_rest(write_crossed: Write) -> None:
    path = write_crossed({"{about} Is {name} {word}?": "{x} {y}", "batch_size: 4": "batchsize: 4"})
    with pytest.raises(SpecError) as caught:
        load_experiment(str(path))
    entry = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if "build: cross" in line)
    assert [problem.split(": ", 1)[0] for problem in caught.value.problems].count(f"{path}:{entry}") == 2
    assert len(caught.value.problems) == 3 and "recipe.batchsize" in caught.value.problems[0], "in the order of lines"


def test_a_preset_asks_some_questions_of_a_group(write_crossed: Write) -> None:
    path = write_crossed({"samples: 3": "samples: 3, questions: {audit: 2}"})
    experiment, rows = load_arms(str(path))
    asked = [q.id for q in at_size(experiment, rows, experiment.preset("quick"))[0].questions]
    assert len(asked) == 4 and asked[-2:] == ["c1", "f1"]
    assert asked == [q.id for q in at_size(experiment, rows, experiment.preset("quick"))[0].questions]
    assert at_size(experiment, rows, experiment.preset("standard"))[0].questions == experiment.questions
