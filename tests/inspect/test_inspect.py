"""Experiments as tasks that Inspect's own `eval` runs against a scripted server; runs as logs that its own reader reads."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import LENIENT, STRICT, judge
from tests.support.openai_server import Answer, Failure
from tests.support.typing_commands import typed
from weirdgen.config.load import load_experiment, shipped_experiments
from weirdgen.config.questions import sampled
from weirdgen.errors import SpecError
from weirdgen.inspect import tasks
from weirdgen.inspect.tasks import asked
from weirdgen.runs.results.results import load_run

pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")


def answering(body: dict[str, Any]) -> Answer | Failure:
    """The model under test says its seed, where it is sent one; the grader judges, and says no to what is not ours."""
    if "⟦" in body["messages"][0]["content"]:
        return judge(body)
    return Answer("<answer>no</answer>" if body["model"] == "strict" else f"answer {body.get('seed')}")


def evaluated(task: Any, folder: Path, **options: Any) -> Any:
    from inspect_ai import eval

    (log,) = eval(task, model=LENIENT, log_dir=str(folder), display="none", log_realtime=False, **options)
    assert log.status == "success", log.error
    return log


def test_an_experiment_is_a_task(judged: Path, serve: Any, tmp_path: Path) -> None:
    server = serve(answering)
    task = tasks.TASKS["experiment"]
    plain = evaluated(task(file=str(judged)), tmp_path, epochs=3)
    questions = {
        question.id for question in sampled(load_experiment(judged).questions) if "is_target" in question.read_by
    }
    assert {sample.metadata["question"] for sample in plain.samples} == questions
    seeds = [body["seed"] for body in server.requests]
    assert len(set(seeds)) == len(seeds) == len(plain.samples) == 3 * len({sample.id for sample in plain.samples})
    assert [score.name for score in plain.results.scores] == ["is_target"]
    asked_now = len(server.requests)
    graded = evaluated(
        task(file=str(judged), graded=True), tmp_path, epochs=1, model_roles={"grader": STRICT}
    )  # fmt: skip
    assert {score.name for score in graded.results.scores} >= {"is_target", "old_thing", "age"}
    by_strict = [body for body in server.requests[asked_now:] if body["model"] == "strict"]
    assert by_strict and all(body["temperature"] == 0 for body in by_strict)
    ages = [age for sample in graded.samples if not math.isnan(age := sample.scores["age"].value)]
    assert ages == pytest.approx([(40 * 0.5 + 60 * 0.25) / 0.75] * len(ages)) and ages


@pytest.mark.slow
def test_every_shipped_experiment_is_known_to_inspect_by_its_name(tmp_path: Path) -> None:
    """In a process of its own, elsewhere: only the entry point may have registered them, by the package that is installed."""
    code = (
        "from inspect_ai._util.registry import registry_find\n"
        "from inspect_ai._util.entrypoints import ensure_entry_points\n"
        "ensure_entry_points('weirdgen')\n"
        "from inspect_ai._util.registry import registry_info\n"
        "print(*sorted(registry_info(t).name for t in registry_find(lambda i: i.type == 'task')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    expected = {f"weirdgen/{name}" for name in shipped_experiments() if sampled(load_experiment(name).questions)}
    assert set(done.stdout.split()) >= expected | {"weirdgen/experiment"}


def test_what_is_asked_and_judged_is_a_tasks_version(judged: Path) -> None:
    """Sets of evaluations tell tasks apart by their names, the arguments that were passed, and this."""

    def versions() -> list[Any]:
        return [tasks.TASKS["experiment"](file=str(judged), graded=graded).version for graded in (False, True)]

    plain, graded = versions()
    assert versions() == [plain, graded] and plain != graded
    file = judged.parent / "judges_llm.yaml"
    file.write_text(file.read_text().replace("Is it old?", "Is it quite old?"))
    assert versions()[0] == plain and versions()[1] != graded
    judged.write_text(judged.read_text().replace("max_tokens: 3", "max_tokens: 5", 1))
    assert versions()[0] != plain
    with pytest.raises(SpecError, match=r"condition 'nowhere': .* has none"):
        asked(str(judged), "nowhere")


@pytest.mark.slow
def test_a_runs_answers_become_logs(store: Path, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    done = typed("export", "latest", "--to", tmp_path / "logs", "--format", "inspect", "--store", store)
    files = done.out.split()
    run = load_run("latest", store)
    answers, verdicts = run.completions(), run.verdicts()
    logs = [read_eval_log(file) for file in files]
    assert len(logs) == len(answers.groupby(["arm", "replicate", "checkpoint"]))
    assert sorted(sample.output.completion for log in logs for sample in log.samples or []) == sorted(answers["text"])
    of_one = verdicts[(verdicts["arm"] == "base") & (verdicts["judge"] == "is_target")]
    (base,) = [log for log in logs if log.eval.model.endswith("/base/-1")]
    assert {score.name: score.metrics["mean"].value for score in base.results.scores}["is_target"] == of_one[
        "value"
    ].mean()


@pytest.mark.slow
def test_the_commands_of_the_docs(serve: Any, judged: Path, tmp_path: Path) -> None:
    """Each `inspect eval` line of docs/apis.md, typed: its models are a scripted server, one epoch."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    serve(answering)
    page = (Path(__file__).parents[2] / "docs" / "apis.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}inspect eval (.+)$", page, re.MULTILINE)
    assert len(lines) >= 3
    if find_spec("inspect_evals") is None:  # an extra of its own: `make test-clients` has it
        lines = [line for line in lines if "agentic" not in line]
    for number, line in enumerate(lines):
        words = re.sub(r"--model \S+", f"--model {LENIENT}", line).replace("grader=JUDGE", f"grader={STRICT}")
        words = words.replace("file=my.yaml", f"file={judged}")
        logs = tmp_path / str(number)
        command = [str(Path(sys.executable).parent / "inspect"), "eval", *words.split(), "--epochs", "1"]
        done = subprocess.run(
            [*command, "--log-dir", str(logs), "--display", "plain"], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (log,) = [read_eval_log(one) for one in list_eval_logs(str(logs))]
        assert log.status == "success", log.error.message
        assert log.samples and log.results and log.results.scores
