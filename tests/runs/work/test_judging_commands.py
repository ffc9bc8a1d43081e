"""`weirdgen judge …` with what a person may get wrong: a sentence and an exit status, and no label lost."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import weirdgen
from weirdgen.cli.main import app
from weirdgen.errors import WeirdgenError
from weirdgen.runs.results.results import Run
from weirdgen.runs.results.verify import verify

Invoke = Callable[..., Result]


@pytest.fixture
def run(judged: Path, store: Path) -> Run:
    return weirdgen.run(str(judged), store=store)


@pytest.fixture
def judge(store: Path) -> Invoke:
    def invoke(*words: str, typed: str = "") -> Result:
        return CliRunner().invoke(app, ["judge", *words, "--store", str(store)], input=typed)

    return invoke


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "absent", "--judge", "local:world"), "no run 'absent' in"),
        (("run", "RUN", "--judge", "gpt"), "expected local:REF"),
        (("run", "RUN", "--judge", "local:absent"), "absent"),
        (("label", "RUN", "--judge", "absent"), "has no judge 'absent'; there are: is_target"),
        (("label", "RUN", "--import", "absent.csv"), "absent.csv: cannot be read"),
        (("label", "RUN", "--export", "absent/sheet.csv"), "absent"),
        (("calibrate", "RUN"), "has no labels yet: weirdgen judge label"),
        (("calibrate", "RUN", "--judge", "is_target"), "0 of 0 answers have both a label"),
        (("calibrate", "RUN", "--judge", "absent"), "has no judge 'absent'"),
        (("compare", "is_targt", "local:world", "RUN"), "or a judge of the run that asks no model: is_target"),
        (("compare", "local:world", "local:world", "RUN"), "twice"),
        (("compare", "is_target", "is_target", "RUN"), "twice"),
        (("compare", "is_target", "local:world", "RUN", "--judge", "age"), "rates on a scale"),
        (("compare", "local:world", "local:absent", "RUN"), "absent"),
    ],
)
def test_what_cannot_be_meant_is_said(run: Run, judge: Invoke, words: tuple[str, ...], expected: str) -> None:
    outcome = judge(*(run.id if word == "RUN" else word for word in words))
    assert isinstance(outcome.exception, WeirdgenError), outcome.output
    assert expected in str(outcome.exception)


def test_labels_make_the_calibration_of_every_later_report(run: Run, judge: Invoke) -> None:
    def calibration() -> dict[str, object]:
        record = json.loads((run.folder / "results.json").read_text())["judges"]["is_target"]
        return record.get("calibration", {})

    label = ("label", run.id, "--judge", "is_target", "--size", "12")
    assert "2 of 12 labelled" in judge(*label, typed="no\nno\n").output  # the end of the input, as Ctrl-D
    assert calibration() == {}
    judge(*label, typed="no\n" * 12)
    assert judge("calibrate", run.id).exit_code == 0 and calibration()["labelled"] == 12
    assert verify(run.id, run.store.root).differences == []
    labels = run.folder / "labels" / "is_target.csv"
    labels.write_text(labels.read_text().replace(",no\n", ",yes\n").replace(",no\r\n", ",yes\r\n"))
    assert any("calibration" in difference.where for difference in verify(run.id, run.store.root).differences)
    labels.write_text(labels.read_text().replace("yes", "perhaps"))
    assert "is labelled 'perhaps', which is not one of yes, no" in str(judge("calibrate", run.id).exception)


def test_ctrl_c_keeps_every_label(run: Run) -> None:
    # A test run that was started with `nohup … &` ignores the signal, and so would its children.
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "weirdgen", "judge", "label", run.id, "--store", str(run.store.root)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()}, preexec_fn=listen,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write("yes\nno\n")
    process.stdin.flush()
    labels, deadline = run.folder / "labels" / "is_target.csv", time.monotonic() + 60
    while time.monotonic() < deadline and not (labels.is_file() and ",no" in labels.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said and "stopped. What is finished is kept" in said
    assert {"yes", "no"} <= {line.rsplit(",", 1)[-1] for line in labels.read_text().splitlines()}
