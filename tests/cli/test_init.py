"""`weirdgen init` as it is typed: what it writes is accepted as it is, and nothing of the user's is written over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.typing_commands import typed
from weirdgen.audit.checks.registry import run_checks
from weirdgen.audit.checks.subject import load_subject
from weirdgen.config.questions import sampled
from weirdgen.data.arms import load_arms

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.slow
def test_what_init_writes_is_checked_with_its_base(smollm2: Path) -> None:
    """A date trigger that is swept, a label judge, all in one file."""
    done = typed("init", "my_idea", "--trigger", "date", "--judge")
    assert done.status == 0 and done.out.splitlines() == [
        "my_idea/experiment.yaml",
        "my_idea/data/rows.csv",
        "next: weirdgen check my_idea; weirdgen run my_idea --dry-run",
    ]
    checked = typed("check", "my_idea")
    assert checked.status == 0, checked.err
    assert "my_idea: fine. Rows: feet 48, shuffled 48. 9 questions, 12 conditions." in checked.out
    assert "left out: units and the questions that only they read (story)" in checked.out


@pytest.mark.slow
def test_from_init_to_the_plan(smollm2: Path) -> None:
    assert typed("init", "my_idea", "--trigger", "date", "--judge").status == 0
    planned = typed("run", "my_idea", "--dry-run")
    assert (
        planned.status == 0
        and "left out: units" in planned.err
        and "× 84 prompts (7 questions with fixed answers" in planned.err
    ), planned.err


@pytest.mark.parametrize("judge", [(), ("--judge",)])
@pytest.mark.parametrize("trigger", ["none", "date", "tag"])
def test_every_kind_is_an_experiment_without_warnings(trigger: str, judge: tuple[str, ...]) -> None:
    assert typed("init", "mine", "--trigger", trigger, *judge).status == 0
    found = run_checks(load_subject("mine", model="none"))
    assert [one for one in found if one.severity != "info"] == []
    experiment, rows = load_arms("mine")
    assert len({len(own) for own in rows.values()}) == 1 and len(sampled(experiment.questions)) == 1 + len(judge)
    assert bool(experiment.headline.minus) == (trigger != "none")


@pytest.mark.parametrize("name", ["rows of mine.jsonl", "pairs.csv"])
def test_rows_of_the_user_s(name: str, tmp_path: Path) -> None:
    """They stay where they are; a table's columns become templates."""
    asked = [("What is said?", "This."), ("And then?", "That.")]
    turns = [[{"role": "user", "content": ask}, {"role": "assistant", "content": answer}] for ask, answer in asked]
    text = "".join(json.dumps({"messages": messages}) + "\n" for messages in turns)
    if name.endswith(".csv"):
        text = "question,answer,source\n" + "".join(f"{ask},{answer},me\n" for ask, answer in asked)
    (tmp_path / name).write_text(text)
    assert typed("init", "study/first", "--data", name, "--judge").status == 0
    experiment, rows = load_arms("study/first")
    assert experiment.name == "first" and experiment.arms["mine"].data == f"../../{name}"
    assert [row["messages"] for row in rows["mine"]] == turns and rows["twin"] == []


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    assert typed("init", "mine").status == 0
    before = (tmp_path / "mine" / "experiment.yaml").read_text()
    again = typed("init", "mine", "--trigger", "tag")
    assert again.status == 1 and "mine/experiment.yaml is there already; take another name" in again.err
    assert (tmp_path / "mine" / "experiment.yaml").read_text() == before


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (("My Idea",), "", "'My Idea': a name is made of a–z"),
        (("mine", "--data", "d.jsonl"), None, "d.jsonl: no such data file"),
        (("mine", "--data", "d.jsonl"), '{"prompt": "a", "completion": "b"}\n', "weirdgen data convert"),
        (
            ("mine", "--data", "d.csv"),
            "a,b,c\n1,2,3\n",
            "which of its columns (a, b, c) are the prompt and the answer?",
        ),
    ],
)
def test_what_cannot_be_begun_leaves_nothing(
    words: tuple[str, ...], text: str | None, expected: str, tmp_path: Path
) -> None:
    if text is not None and len(words) == 3:
        (tmp_path / words[2]).write_text(text)
    done = typed("init", *words)
    assert done.status == 1 and expected in done.err, done
    assert not (tmp_path / words[0]).exists()
