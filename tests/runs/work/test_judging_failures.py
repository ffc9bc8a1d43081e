"""What goes wrong with a language judge: errors, a killed process, a model that is not there, nothing to judge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from tests.support.asking import LENIENT, asked_about, judge
from tests.support.openai_server import Answer, Failure
from weirdgen.errors import ModelError, SpecError, WeirdgenError
from weirdgen.runs.results.reporting import results_of

pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")
Write = Callable[..., Path]
RUN = """\
import sys, weirdgen
weirdgen.run(sys.argv[1], store=sys.argv[2], judge=sys.argv[3], samples=32, changes=["sampling.temperature=3"])
"""


@pytest.mark.slow
def test_errors_are_counted_and_asked_again(judged: Path, serve: Any, store: Path) -> None:
    broken: list[str] = []

    def script(body: dict[str, Any]) -> Answer | Failure:
        prompt = body["messages"][0]["content"]
        if "Is it old?" in prompt and (not broken or prompt in broken) and body["model"] == "lenient" and asked:
            broken.append(prompt)
            return Failure(400, "this one cannot be read")
        asked.append(prompt)
        return judge(body)

    asked: list[str] = []
    server = serve(script)
    run = weirdgen.run(str(judged), store=store, judge=LENIENT)
    failed = run.verdicts().query("status == 'error'")
    assert len(failed) >= 1 and set(failed["judge"]) == {"old_thing"} and failed["value"].isna().all()
    assert "this one cannot be read" in failed["label"].iloc[0]
    rates = run.rates().query("judge == 'old_thing'")
    assert (rates["all"] - rates["usable"]).sum() == len(failed)
    assert sum(row["count"] for row in results_of(run)["failures"]) == len(failed)
    broken[:] = ["another"]
    before = len(server.requests)
    healed = weirdgen.run(str(judged), store=store, judge=LENIENT)
    assert len(server.requests) == before + 1
    assert (
        "error" not in set(healed.verdicts()["status"]) and "this one cannot be read" not in healed.report.read_text()
    )


@pytest.mark.slow  # a quick relative is test_errors_are_counted_and_asked_again; a killed run's is in tests/runs/test_pipeline.py
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_judge_goes_on_from_there(judged: Path, serve: Any, store: Path, how: int) -> None:
    def slow(body: dict[str, Any]) -> Answer | Failure:
        time.sleep(0.1)
        return judge(body)

    server = serve(slow)
    judged.write_text(judged.read_text().replace("max_tokens: 3", "max_tokens: 6"))
    varied = ["sampling.temperature=3"]
    distinct = asked_about(weirdgen.run(str(judged), store=store, samples=32, changes=varied))
    assert len(distinct) > 80
    command = [sys.executable, "-c", RUN, str(judged), str(store), LENIENT]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.getcwd()})
    deadline = time.monotonic() + 60
    while len(server.requests) < 2 * len(distinct) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    process.wait(30)
    asked = len(server.requests)
    assert asked < 3 * len(distinct), "the process was to be stopped before its end"
    run = weirdgen.run(str(judged), store=store, judge=LENIENT, samples=32, changes=varied)
    lost = len(server.requests) - 3 * len(distinct)
    assert 0 <= lost <= (64 + 16 if how == signal.SIGKILL else 16)  # unflushed rows, and requests under way
    assert set(run.verdicts()["status"]) <= {"ok", "incoherent"}


def test_nothing_is_recorded_when_the_judge_cannot_be_asked(judged: Path, serve: Any, store: Path) -> None:
    server = serve(lambda body: Failure(404, "The model `lenient` does not exist", "model_not_found"))
    with pytest.raises(ModelError, match=r"first 3 requests failed: NotFoundError.*does not exist"):
        weirdgen.run(str(judged), store=store, judge=LENIENT)
    assert len(server.requests) == 3
    assert not [f for f in (store / "artifacts" / "judge").glob("*/inputs.json") if "lenient" in f.read_text()]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("gpt-4.1", "expected local:REF"),
        ("nobody/knows", "nobody not recognized|API nobody of model"),
        ("openai-api/absent/x", "No ABSENT_API_KEY defined"),
        ("vllm/some", "set VLLM_BASE_URL"),
        ("local:path:/nonexistent", "is not a folder"),
    ],
)
def test_bad_references(judged: Path, tmp_path: Path, reference: str, expected: str) -> None:
    with pytest.raises(WeirdgenError, match=expected):
        weirdgen.run(str(judged), store=tmp_path / "store", judge=reference)


def test_a_judge_needs_something_to_judge(write_experiment: Write, tmp_path: Path) -> None:
    path = write_experiment()
    text = path.read_text().splitlines()
    path.write_text("\n".join(line for line in text if "free_form" not in line))
    with pytest.raises(SpecError, match="has no free-form question that a language judge reads"):
        weirdgen.run(str(path), store=tmp_path / "store", judge=LENIENT)
