"""`--until`: what it accepts, that it stops by its rule, and that the intervals say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import weirdgen
from weirdgen.errors import SpecError
from weirdgen.runs.pipeline import decision
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.plan.until import decision_line
from weirdgen.runs.results.results import Run, load_run
from weirdgen.runs.results.verify import verify
from weirdgen.stats.sequential import look_level

Write = Callable[..., Path]


@pytest.mark.slow
def test_samples_are_added_until_the_interval_is_narrow(write_experiment: Write, tmp_path: Path) -> None:
    path, store = str(write_experiment()), tmp_path / "store"
    run = weirdgen.run(path, store=store, samples=4, until="is_target ci<0.6")
    samples, decided = run.request.samples, decision(run)
    for fewer in (look for look in (4, 8, 16, 32, 64) if look < samples):
        earlier = Run(make_plan(replace(run.request, samples=fewer), run.store))
        said = decision(earlier)
        assert said.reason == "more_samples" and fewer < (said.suggested_samples or 0) <= 64
        line = decision_line(said, run.request.until)
        assert line.endswith(f"wanted ±0.6: sampling more, probably to {said.suggested_samples}")
    assert decided.done and decided.samples == samples and decided.level == run.level
    assert run.level == look_level((4, 8, 16, 32, 64), 2, 2) > 0.95
    row = run.effects().query("measure == 'is_target' and control == 'new' and question == 'all'").iloc[0]
    assert decided.half_width == pytest.approx((row["ci_high"] - row["ci_low"]) / 2)
    assert (decided.reason == "reached") == (decided.half_width <= 0.6)
    assert verify(run.id, store).differences == []
    results = json.loads((run.folder / "results.json").read_text())
    assert results["ran"]["sampling"]["samples"] == samples and results["ran"]["sampling"]["level"] == run.level
    assert "Samples were added until the effect on is_target was known to ±0.6" in run.report.read_text()
    again = load_run(run.id, store)
    assert again.headline == run.headline and again.request.samples == samples
    stamp = run.report.stat().st_mtime_ns
    assert weirdgen.run(path, store=store, samples=4, until="is_target ci<0.6").report.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("words", "arguments", "expected"),
    [
        ("ci<0.05", {}, "contrast is computed from log-probabilities, so more samples cannot narrow it"),
        ("narrow", {}, "expected 'ci<0.05' or 'JUDGE ci<0.05' (judges: is_target)"),
        ("past ci<0.1", {}, "there is no judge 'past'"),
        ("is_target ci<0", {}, "expected a number above 0"),
        ("is_target ci<0.1", {"samples": 0}, "with --samples 0 nothing is sampled"),
        ("is_target ci<0.1", {"seeds": 1}, "ask for --seeds 2 or more"),
    ],
)
def test_what_cannot_be_decided_is_refused(
    write_experiment: Write, words: str, arguments: dict[str, int], expected: str
) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(str(write_experiment()), run_options(until=words, **arguments))
    assert expected in str(caught.value)
