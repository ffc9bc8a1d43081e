"""A stage that is added from outside is planned, run, resumed after a kill, verified and exported like the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import weirdgen
from weirdgen.runs.preview import plan_lines
from weirdgen.runs.results.export import export
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify
from weirdgen.runs.stages.all import STAGES, stage_tables, workload

Write = Callable[..., Path]
TOY = '''
"""Counts the letters of every distinct answer, slowly."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.stages.all import STAGES
from weirdgen.runs.stages.judge import stored_answers
from weirdgen.runs.stages.stage import Batch, Stage, Work
from weirdgen.runs.work.unit import Needs, Tell, Unit
from weirdgen.store.artifacts import Store
from weirdgen.store.table import Table, open_table


def lengths_table(store: Store) -> Table:
    return open_table(store, "lengths", "all", {"version": 1}, unique=("answer",))


@dataclass(frozen=True)
class Measure(Unit):
    answer: str

    def needs(self) -> Needs:
        return Needs(False, 2**28)

    def locks(self) -> list[tuple[str, str]]:
        return []

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        with lengths_table(store) as table:
            table.append({"answer": self.answer, "letters": len(self.answer)})
        tell(1, "")
        return 1.0, 0.0


def missing(plan: Plan) -> list[str]:
    known = set(lengths_table(plan.store).read()["answer"])
    return [text for text in sorted({text for _, _, text in stored_answers(plan)}) if text not in known]


def lengths(plan: Plan) -> pd.DataFrame:
    return lengths_table(plan.store).read().sort_values("answer", ignore_index=True)


class Lengths(Stage):
    name, counts = "lengths", "answers"
    tables = {"lengths": lengths}

    def work(self, plan: Plan) -> list[Work]:
        total = len({text for _, _, text in stored_answers(plan)})
        return [Work(self.name, "letters of every answer", len(missing(plan)), total, "answers", 0.0)]

    def batch(self, plan: Plan) -> Batch:
        units = [Measure(text) for text in missing(plan)]
        return Batch(units, len(units))

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        return {"letters of answers": lengths_table(plan.store).folder}


STAGES.append(Lengths())
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toy_stage.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("weirdgen.runs.stages.all.STAGES", [*STAGES])
    for name in ("weirdgen.runs.pipeline.STAGES", "weirdgen.runs.results.verify.STAGES"):
        monkeypatch.setattr(name, sys.modules["weirdgen.runs.stages.all"].STAGES)
    sys.modules.pop("toy_stage", None)
    __import__("toy_stage")
    return tmp_path


def test_a_stage_from_outside_is_one_like_the_others(toy: Path, write_experiment: Write) -> None:
    path, store = str(write_experiment()), toy / "store"
    assert "lengths   letters of every answer" in "\n".join(plan_lines(weirdgen.plan(path, store=store)))
    run = weirdgen.run(path, store=store)
    assert run.table("lengths")["letters"].tolist() == [len(text) for text in run.table("lengths")["answer"]]
    assert [work.missing for work in workload(run.plan)] == [0] * len(workload(run.plan))
    assert verify(run.id, store).differences == []
    written = export(run, toy / "exported")
    assert "lengths" in stage_tables() and toy / "exported" / "lengths.csv" in written
    assert len(pd.read_csv(toy / "exported" / "lengths.csv")) == len(run.table("lengths"))
    part = next((store / "artifacts" / "lengths").rglob("part-*.parquet"))
    part.write_bytes(part.read_bytes() + b" ")
    assert any(difference.where.startswith("letters of answers") for difference in verify(run.id, store).differences)


@pytest.mark.slow
def test_a_stage_from_outside_goes_on_after_a_kill(toy: Path, write_experiment: Write) -> None:
    path, store = str(write_experiment()), toy / "store"
    code = "import sys, toy_stage, weirdgen; weirdgen.run(sys.argv[1], store=sys.argv[2])"
    environment = {**os.environ, "TOY_SECONDS": "0.5", "PYTHONPATH": os.pathsep.join([str(toy), *sys.path])}
    process = subprocess.Popen([sys.executable, "-c", code, path, str(store)], env=environment)
    deadline = time.monotonic() + 120
    while not list(store.glob("artifacts/lengths/*/part-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    kept = {file: file.stat().st_mtime_ns for file in store.glob("artifacts/lengths/*/part-*")}
    assert kept, "it was killed before it had done anything"
    run = weirdgen.run(path, store=store)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept, "what was done is not done again"
    assert set(run.table("lengths")["answer"]) == set(run.completions()["text"])
    assert load_run(run.id, store).table("lengths").equals(run.table("lengths"))
