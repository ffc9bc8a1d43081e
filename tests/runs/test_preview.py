"""The plan says what effect its replicates can detect: unknown at first, then from the spread of an earlier run."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

import weirdgen
from weirdgen.machine import told_busy
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.preview import detectable_line, earlier_spread, plan_lines
from weirdgen.stats.power import minimum_detectable_effect
from weirdgen.store.artifacts import Store


def test_a_plan_says_what_its_replicates_can_detect(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    path, store = str(write_experiment()), Store(tmp_path / "store")
    plan = make_plan(resolve(path, run_options(seeds=6)), store)
    assert detectable_line(plan).startswith("  power: unknown until a first run") and detectable_line(
        plan
    ) in plan_lines(plan)
    assert "one replicate per arm" in detectable_line(make_plan(resolve(path, run_options(seeds=1)), store))

    run = weirdgen.run(path, store=store.root, samples=0)
    values = run.estimated.replicate_values
    arms = [values.loc[values["arm"] == arm, "value"] for arm in ("old", "new")]
    sd = sqrt(np.mean([np.var(arm, ddof=1) for arm in arms]))
    spread = earlier_spread(plan)
    assert spread and spread.run == run.id and spread.sd == pytest.approx(sd)
    line = detectable_line(plan)
    least = float(minimum_detectable_effect(np.array(sd * sqrt(2 / 6)), np.array(10.0)))
    assert f"6 replicates per arm find an effect of {least:.2g} nat in 80% of runs" in line
    assert "the smallest of interest (if replicates differ as in tiny-quick-" in line and " 0.3, " in line

    longer = make_plan(resolve(path, run_options(seeds=6, changes=["recipe.epochs=2"])), store)
    assert earlier_spread(longer) == spread  # another recipe: still the best guess there is
    other = write_experiment({"treatment: old, control: new, condition: none": "treatment: old, control: new"})
    assert earlier_spread(make_plan(resolve(str(other), run_options(seeds=6)), store)) is None  # another headline
    (run.folder / "run.json").write_text("{", encoding="utf-8")
    assert earlier_spread(plan) is None


def test_an_estimate_says_when_other_programs_keep_the_cores_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda: 4)
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 40.0)
    assert told_busy(600.0).startswith(", longer while other programs keep 1.6 of ") and told_busy(50.0) == ""
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 10.0)
    assert told_busy(600.0) == ""
