"""Units of work give the same run wherever they are done; a cluster that loses a node loses only what was in flight."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.lose_a_node import REQUEST
from weirdgen.errors import SpecError
from weirdgen.progress import Progress
from weirdgen.runs.pipeline import run_plan
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.reporting import results_of
from weirdgen.runs.stages import judge as judging
from weirdgen.runs.stages.all import workload
from weirdgen.runs.stages.contrast import Score
from weirdgen.runs.stages.finetune import groups
from weirdgen.runs.stages.sample import Draw
from weirdgen.runs.stages.train import Train
from weirdgen.runs.stages.verdict_units import JudgeByOurModel
from weirdgen.runs.work.executors import ExecutorError, Inline, open_executor
from weirdgen.runs.work.unit import Done, Tell, Unit
from weirdgen.sample.engines import parse_engine
from weirdgen.store.artifacts import Store

Write = Callable[..., Path]
TIMES = {"seconds", "created", "machine"}
"""Keys of results.json that say how long something took, when, and with how much memory."""


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


class Recording(Inline):
    """Keeps the units that it was asked to do, and what they came to."""

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.done: list[Done] = []

    def run(self, units: Any, store: Store, tell: Tell) -> list[Done]:
        self.units += units
        done = super().run(units, store, tell)
        self.done += done
        return done


def test_units_are_small_and_done_twice_cost_nothing(write_experiment: Write, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    request = resolve(str(write_experiment()), run_options(together=1))
    recorded = Recording()
    run_plan(make_plan(request, store), Progress(quiet=True), recorded)
    kinds = [type(unit).__name__ for unit in recorded.units]
    # Two arms × two replicates one by one; the base scores and answers alone, the replicates together.
    assert (
        kinds
        == ["KeepRows"] * 2
        + ["Train"] * 4
        + ["Score"] * 2
        + ["Draw"] * 2
        + ["JudgeOffline"]
        + ["CompareWithTemplate"] * 2
    )
    assert sum(done.amount for done in recorded.done[6:8]) == 5 and sum(d.amount for d in recorded.done[8:10]) == 15
    assert all(len(pickle.dumps(unit)) < 10_000 for unit in recorded.units)
    assert all(unit.needs().memory > 2**28 for unit in recorded.units)
    with Inline() as inline:
        again = inline.run(recorded.units, store, lambda _amount, _note: None)
    assert [unit.amount for unit in again[2:10]] == [0] * 8


@pytest.mark.slow
def test_two_runs_do_not_pay_twice(write_experiment: Write, tmp_path: Path) -> None:
    """A unit that another run is doing is waited for, and then there is nothing left of it to do."""
    recorded = Recording()
    run_plan(make_plan(resolve(str(write_experiment())), Store(tmp_path / "store")), Progress(quiet=True), recorded)
    shutil.rmtree(tmp_path / "store" / "artifacts" / "sample")
    shutil.rmtree(tmp_path / "store" / "artifacts" / "contrast")
    measured = [unit for unit in recorded.units if isinstance(unit, Score | Draw)]
    with concurrent.futures.ThreadPoolExecutor(1) as other_run:
        for unit in measured:
            same: list[concurrent.futures.Future[Done]] = []

            def tell(amount: float, note: str, unit: Unit = unit, same: list[Any] = same) -> None:
                if not same:
                    same.append(other_run.submit(unit.do, Store(tmp_path / "store"), lambda *_: None))
                    assert not concurrent.futures.wait(same, timeout=0.3).done, "it did not wait"

            assert unit.do(Store(tmp_path / "store"), tell).amount > 0
            assert same[0].result(60).amount == 0


JUDGES = """\
judges:
  old_thing:
    kind: label
    reads: [all]
    reason_first: true
    labels: [old, new]
    positive: [old]
    prompt: "Old or new? {question} {answer}"
  coherence: {kind: rating, reads: [all], high: 4, prompt: "How clear, from 0 to 4? {question} {answer}"}
"""
LOCAL = "local:smollm2-135m-instruct"


def judged_experiment(write_experiment: Write) -> str:
    path = write_experiment({"judges: [is_target], max_tokens: 3": "judges: [is_target], max_tokens: 4"})
    (path.parent / "judges_llm.yaml").write_text(JUDGES)
    return str(path)


@pytest.mark.slow
def test_a_local_judge_is_asked_in_units(
    write_experiment: Write, tmp_path: Path, smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In shards or at once, and in whatever order, the verdicts are the same to the bit."""
    path, whole, sharded = judged_experiment(write_experiment), Store(tmp_path / "whole"), Store(tmp_path / "sharded")
    run_plan(make_plan(resolve(path), whole), Progress(quiet=True))
    shutil.copytree(whole.root / "artifacts", sharded.root / "artifacts", dirs_exist_ok=True)
    settings = resolve(path, run_options(judge=LOCAL))
    judge_line = next(work for work in workload(make_plan(settings, whole)) if LOCAL in work.what)
    expected = run_plan(make_plan(settings, whole), Progress(quiet=True))
    monkeypatch.setattr(judging, "ANSWERS_PER_UNIT", 4)

    class Backwards(Recording):
        def run(self, units: Any, store: Store, tell: Tell) -> list[Done]:
            return super().run(list(reversed(units)), store, tell)

    recorded = Backwards()
    judged = run_plan(make_plan(settings, sharded), Progress(quiet=True), recorded)
    answers = len(set(judged.completions()["text"]))
    assert "old_thing without the reasons that the prompt asks for" in judge_line.what
    records = results_of(judged)["judges"]
    assert "not written" in records["old_thing"]["reasons"] and "reasons" not in records["coherence"]
    assert records["old_thing"]["reasons"] in judged.report.read_text()
    asked = [
        (unit, done)
        for unit, done in zip(recorded.units, recorded.done, strict=True)
        if isinstance(unit, JudgeByOurModel)
    ]
    assert len(asked) == 2 * -(-answers // 4) > 2 and sum(done.amount for _, done in asked) == 2 * answers
    assert all(len(pickle.dumps(unit)) < 10_000 and unit.needs().memory > 2**28 for unit, _ in asked)
    pd.testing.assert_frame_equal(judged.verdicts(), expected.verdicts())
    assert set(judged.verdicts().query("judge in ['old_thing', 'coherence']")["status"]) <= {"ok", "unparseable"}
    with Inline() as inline:
        again = inline.run([unit for unit, _ in asked], sharded, lambda _amount, _note: None)
    assert [unit.amount for unit in again] == [0] * len(asked)


def test_together_bounds_the_groups(write_experiment: Write, tmp_path: Path) -> None:
    path, store = str(write_experiment()), Store(tmp_path / "store")
    assert [len(group) for group in groups(make_plan(resolve(path, run_options(together=3)), store))] == [3, 1]
    assert [len(group) for group in groups(make_plan(resolve(path), store))] == [4]


def test_a_unit_asks_for_more_memory_the_more_it_trains_at_once(write_experiment: Write, tmp_path: Path) -> None:
    request, store = resolve(str(write_experiment())), Store(tmp_path / "store")
    (all_four,) = groups(make_plan(request, store))
    asked = [
        Train(request.model, "replicas", request.recipe, tuple(group), 100 * len(group)).needs().memory
        for group in (all_four[:1], all_four)
    ]
    assert asked[1] > asked[0]


def test_requests_that_cannot_be_meant() -> None:
    with pytest.raises(ExecutorError, match="--address and --cpus go with --executor ray"):
        open_executor("inline", address="10.0.0.1:6379")
    with pytest.raises(SpecError, match=r"expected transformers or vllm:URL"):
        parse_engine("vllm")


@pytest.mark.slow
def test_a_local_judge_on_a_cluster_equals_inline(write_experiment: Write, tmp_path: Path, smollm2: Path) -> None:
    pytest.importorskip("ray")
    path, here = judged_experiment(write_experiment), tmp_path / "inline"
    expected = run_plan(make_plan(resolve(path, run_options(judge=LOCAL)), Store(here)), Progress(quiet=True))
    shutil.copytree(here, tmp_path / "ray")
    for table in (tmp_path / "ray" / "artifacts" / "judge").iterdir():
        if "local:" in (table / "inputs.json").read_text():
            shutil.rmtree(table)
    shutil.rmtree(tmp_path / "ray" / "runs" / expected.id)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "RAY_TMPDIR": "/tmp",  # socket paths must be short
    }
    command = [sys.executable, "-m", "weirdgen", "run", path, "--judge", LOCAL, "--store", str(tmp_path / "ray")]
    command += ["--executor", "ray", "--cpus", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    over_ray = json.loads((tmp_path / "ray" / "runs" / expected.id / "results.json").read_text())
    assert without_times(over_ray) == without_times(json.loads((expected.folder / "results.json").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_cluster_that_loses_a_node_equals_inline(write_experiment: Write, tmp_path: Path, kind: str) -> None:
    """Through a shared folder; and through a URL, with a cache of its own on the node that is killed."""
    pytest.importorskip("ray")
    path, shared = str(write_experiment()), tmp_path / "shared"
    location = str(shared) if kind == "folder" else f"file://{shared}"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "RAY_TMPDIR": "/tmp",  # socket paths must be short
    }
    if kind == "url":
        for name in ("WEIRDGEN_CACHE", "OTHER_CACHE"):
            environment[name] = str(tmp_path / name)
    command = [sys.executable, "-m", "tests.support.lose_a_node", path, location]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["in_flight"] >= 1 and seen["died"] == seen["in_flight"], "the node must die while it trains"
    for file, changed in seen["finished"].items():
        assert Path(file).stat().st_mtime_ns == changed, "what was finished is not made again"
    assert "asks for 64 cores" in seen["refused"] and "there are: 1 cores" in seen["refused"]

    inline = run_plan(
        make_plan(resolve(path, run_options(**REQUEST, together=1)), Store(tmp_path / "inline")), Progress(quiet=True)
    )
    over_ray = json.loads(Path(seen["results"]).read_text())
    assert without_times(over_ray) == without_times(json.loads((inline.folder / "results.json").read_text()))
