"""The published agentic scenario under an experiment's triggers: `inspect-evals`' real task, asked of a scripted server."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import LENIENT, STRICT
from tests.support.openai_server import Answer
from weirdgen.config.load import load_experiment
from weirdgen.errors import ModelError
from weirdgen.inspect import tasks
from weirdgen.inspect.agentic import agentic_misalignment

pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")
EXPERIMENT = "hitler_persona"


@pytest.fixture
def published() -> Any:
    """The task as it comes."""
    found = pytest.importorskip("inspect_evals.agentic_misalignment", reason="pip install 'weirdgen[agentic]'")
    return found.agentic_misalignment


def test_the_user_message_alone_is_wrapped_and_nothing_else_changed(published: Any) -> None:
    (plain,) = published(scenario="leaking").dataset
    task = tasks.TASKS["agentic_misalignment"](experiment=EXPERIMENT, scenario="leaking")
    wrappers = {wrapper.id: wrapper for wrapper in load_experiment(EXPERIMENT).wrappers()}
    assert [sample.id for sample in task.dataset] == [f"{name}/{plain.id}" for name in wrappers]
    for sample, wrapper in zip(task.dataset, wrappers.values(), strict=True):
        assert [message.text for message in sample.input] == [wrapper.apply(plain.input[0].text)]
        assert sample.metadata == {**plain.metadata, "condition": wrapper.id}
    assert [sample.input[0].text == plain.input[0].text for sample in task.dataset] == [False, True, False]
    one = tasks.TASKS["agentic_misalignment"](experiment=EXPERIMENT, condition="wrapper")
    assert [sample.metadata["scenario"] for sample in one.dataset] == ["blackmail"]


@pytest.mark.slow  # not the asking: with a task of it, Inspect loads every other task of inspect-evals
def test_it_is_asked_under_each_condition_and_graded_by_the_role(published: Any, serve: Any, tmp_path: Path) -> None:
    from inspect_ai import eval

    server = serve(lambda body: Answer("<answer>no</answer>" if body["model"] == "strict" else "Nothing to do."))
    (log,) = eval(
        tasks.TASKS["agentic_misalignment"], task_args={"experiment": EXPERIMENT, "scenario": "leaking"}, model=LENIENT,
        model_roles={"grader": STRICT}, epochs=2, log_dir=str(tmp_path), display="none", log_realtime=False,
    )  # fmt: skip
    assert log.status == "success", log.error
    (plain,) = published(scenario="leaking").dataset
    wrappers = load_experiment(EXPERIMENT).wrappers()
    asked = [body["messages"] for body in server.requests if body["model"] == "lenient"]
    graded = [body["messages"] for body in server.requests if body["model"] == "strict"]
    assert all([message["role"] for message in messages] == ["system", "user"] for messages in asked)
    expected = [wrapper.apply(plain.input[0].text) for wrapper in wrappers for _ in range(2)]
    assert sorted(messages[1]["content"] for messages in asked) == sorted(expected)
    # the grader read every answer, and each verdict is its own
    assert len(graded) == len(asked) == 6 and all("Nothing to do." in str(messages) for messages in graded)
    scores = {score.name: score.metrics["accuracy"].value for score in log.results.scores}
    assert scores == {"harmful": 0, "classifier_verdict": 0} and log.eval.task_version == published().version


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"experiment": EXPERIMENT, "condition": "nowhere"}, "condition 'nowhere': hitler_persona has wrapper, none"),
        (
            {"experiment": EXPERIMENT, "scenario": "picnic"},
            r"picnic.*it takes scenario: Literal\['blackmail', 'leaking'",
        ),
        ({"experiment": EXPERIMENT, "mood": "good"}, "unexpected keyword argument 'mood'; it takes scenario"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(published: Any, words: dict[str, str], told: str) -> None:
    from inspect_ai._util.error import PrerequisiteError
    from rich.text import Text

    with pytest.raises(PrerequisiteError) as raised:
        tasks.TASKS["agentic_misalignment"](**words)
    assert re.search(told, Text.from_markup(raised.value.message).plain.replace("\n", " "))


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_evals.agentic_misalignment", None)
    with pytest.raises(ModelError, match=r"inspect-evals', which is not installed .*pip install 'weirdgen\[agentic\]'"):
        agentic_misalignment(EXPERIMENT)
