"""A run that is killed, stopped or joined by another at any moment ends as an undisturbed one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import weirdgen
from weirdgen.errors import StoreError
from weirdgen.finetune.replicas import _accumulate_halving
from weirdgen.runs.preview import work_line
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify
from weirdgen.runs.stages.finetune import Finetune, result_of
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import write_whole

Write = Callable[..., Path]
RUN = "import sys, weirdgen; weirdgen.run(sys.argv[1], store=sys.argv[2], samples=24, quiet=False)"


@pytest.mark.parametrize(
    "stage", ["sample", *(pytest.param(s, marks=pytest.mark.slow) for s in ("finetune", "contrast"))]
)
def test_kill_9_and_resume_equals_an_undisturbed_run(write_experiment: Write, tmp_path: Path, stage: str) -> None:
    path, store = str(write_experiment()), tmp_path / "store"
    process = subprocess.Popen([sys.executable, "-c", RUN, path, str(store)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    places = {
        "finetune": "unfinished/*/*/step-*",
        "contrast": "artifacts/contrast/*/part-*",
        "sample": "artifacts/sample/*/part-*",
    }
    while process.poll() is None and not list(store.glob(places[stage])) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    resumed = weirdgen.run(path, store=store, samples=24)
    undisturbed = weirdgen.run(path, store=tmp_path / "other", samples=24)
    pd.testing.assert_frame_equal(resumed.completions(), undisturbed.completions())
    pd.testing.assert_frame_equal(resumed.contrasts(), undisturbed.contrasts())
    assert resumed.headline == undisturbed.headline


def test_training_goes_on_where_it_was_stopped(
    write_experiment: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C keeps the step it is at, and the plan, the bar and the time of a replicate count what was done before."""
    path, store = str(write_experiment()), tmp_path / "store"
    computed: list[object] = []

    def stops(*args: object) -> tuple[torch.Tensor, int]:
        computed.append(args)
        if len(computed) == 2:
            raise KeyboardInterrupt
        return _accumulate_halving(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("weirdgen.finetune.replicas._accumulate_halving", stops)
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="its state after step 1 of [0-9]+ is kept"):
        weirdgen.run(path, store=store)
    (begun,) = (store / "runs").glob("*/run.json")
    with pytest.raises(StoreError, match=r"2 replicates of old, 2 replicates of new, .*`weirdgen run \S+ --store \S+`"):
        load_run(begun.parent.name, store).require_finished()
    (note,) = (store / "unfinished").glob("*/halfway.json")
    note.write_text(json.dumps({"step": 1, "seconds": 1000.0}))
    planned = weirdgen.plan(path, store=store)
    assert all(", 1 of them done: " in work_line(work) for work in Finetune().work(planned))
    assert Finetune().batch(planned).before == len(planned.replicates)
    resumed = weirdgen.run(path, store=store)
    took = [result_of(resumed.plan, replicate)["seconds"] for replicate in resumed.plan.replicates]
    assert sum(took) == pytest.approx(1000.0, rel=0.1)
    assert len(computed) == resumed.losses()["step"].max() + 1  # the interrupted step twice, the one before it once
    assert not list((store / "unfinished").iterdir())
    undisturbed = weirdgen.run(path, store=tmp_path / "other")
    pd.testing.assert_frame_equal(resumed.completions(), undisturbed.completions())


def test_adapters_outlive_artifacts_that_could_not_be_filed(
    write_experiment: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk between two artifacts: the next run files what was trained whole, and leaves the first artifact alone."""
    path, store = str(write_experiment()), tmp_path / "store"
    monkeypatch.setattr("weirdgen.finetune.replicas.EVERY_SECONDS", 0.0)
    filed: list[str] = []

    def fails(self: Store, temporary: Path, stage: str, *args: Any) -> None:
        if stage == "finetune":
            if len(filed) == 1:
                raise StoreError("no space left")
            filed.append(args[0])
        finish(self, temporary, stage, *args)

    finish = Store._finish
    options: dict[str, Any] = {"store": store, "changes": ["recipe.checkpoints=[0,1,2]"]}
    with monkeypatch.context() as full:
        full.setattr(Store, "_finish", fails)
        with pytest.raises(StoreError, match="no space left"):
            weirdgen.run(path, **options)
    (whole,) = (store / "artifacts" / "finetune").iterdir()
    before = {file: file.stat().st_mtime_ns for file in whole.rglob("*")}
    run = weirdgen.run(path, **options)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    for one in run.plan.replicates:
        held = {file.name for file in run.store.artifact("finetune", one.key).iterdir()}
        assert held == {"step-00000", "step-00001", "step-00002", "losses.json", "result.json", "complete.json"}
    assert not list((store / "unfinished").iterdir()) and verify(run.id, store).differences == []


@pytest.mark.slow  # quick relative: tests/runs/work/test_executors.py::test_two_runs_do_not_pay_twice
def test_two_runs_at_once_on_one_store(write_experiment: Write, tmp_path: Path) -> None:
    path, store = str(write_experiment()), tmp_path / "store"
    processes = [
        subprocess.Popen([sys.executable, "-c", RUN, path, str(store)], stderr=subprocess.DEVNULL) for _ in "ab"
    ]
    assert [p.wait(200) for p in processes] == [0, 0]
    shared = weirdgen.run(path, store=store, samples=24)
    alone = weirdgen.run(path, store=tmp_path / "other", samples=24)
    pd.testing.assert_frame_equal(shared.completions(), alone.completions())


def test_a_kill_between_page_and_results_leaves_no_report_that_counts(
    write_experiment: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`results.json` carries the stamp, so it is the last file: a page is never older than what vouches for it."""
    path, store = str(write_experiment()), tmp_path / "store"
    run = weirdgen.run(path, store=store)
    run.report.write_text("old")
    (run.folder / "results.json").unlink()
    order: list[str] = []

    def noting(file: Path, data: bytes) -> None:
        order.append(file.name)
        write_whole(file, data)

    monkeypatch.setattr("weirdgen.report.owned.write_whole", noting)
    assert weirdgen.run(path, store=store).report.read_text() != "old"
    assert order.index("report.html") < order.index("results.json")
