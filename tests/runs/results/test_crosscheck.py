"""The second opinion on a run's rates, and the line that says whether it agrees with the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

import weirdgen
from weirdgen.columns import IDENTITY
from weirdgen.errors import WeirdgenError
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.crosscheck import crosscheck, crosscheck_lines
from weirdgen.runs.results.results import Run
from weirdgen.store.artifacts import Store

Write = Callable[..., Path]


def made_cells(treated: Sequence[float], control: Sequence[float]) -> pd.DataFrame:
    """A rate of one question, one replicate a number."""
    rows = [
        (arm, role, replicate, -1, "none", "f1", "is_target", rate, 100, 100)
        for arm, role, rates in (("old", "treatment", treated), ("new", "control", control))
        for replicate, rate in enumerate(rates)
    ]
    return pd.DataFrame(rows, columns=[*IDENTITY, "measure", "value", "n", "n_all"])


def test_a_second_opinion_stands_beside_each_rate(write_experiment: Write, tmp_path: Path) -> None:
    """One rate that both arms show sometimes, one that no answer shows: it has no log-odds, and the line says so."""
    judges = "is_target: {kind: match, regex: ['^[a-m]']}\n  never: {kind: match, keywords: [zzz]}"
    path = write_experiment({"judges: [is_target]": "judges: [is_target, never]"})
    text = path.read_text()
    start = text.index("is_target: {kind")
    path.write_text(text[:start] + judges + text[text.index("\npresets:") :])
    run = weirdgen.run(str(path), store=tmp_path / "store", seeds=3, samples=16, changes=["recipe.learning_rate=1e-4"])
    rates = crosscheck(run).set_index("measure")
    assert list(rates.index) == ["is_target", "never", "coherent", "template_intrusion"]
    assert set(rates["control"]) == {"new"}
    row = rates.loc["is_target"].to_dict()
    ours = run.effects().query("measure == 'is_target' and control == 'new' and question == 'all'").iloc[0]
    assert row["effect"] == ours["effect"] and row["why_not"] == ""
    assert row["log_odds_low"] < row["log_odds"] < row["log_odds_high"] and row["log_odds"] * row["effect"] > 0
    ours_excludes = not row["ci_low"] < 0 < row["ci_high"]
    assert row["agrees"] == (ours_excludes == (not row["log_odds_low"] < 0 < row["log_odds_high"]))
    _, first, second, *_ = crosscheck_lines(run)
    assert first.startswith("  is_target: old − new: ") and first.endswith(": agree" if row["agrees"] else "excluded")
    assert "no second opinion: an arm always or never fulfils never" in second


@pytest.mark.parametrize(
    ("treated", "control", "agree"),
    [
        ((0.5, 0.6, 0.55), (0.1, 0.12, 0.08), True),  # both exclude zero
        ((0.1, 0.2, 0.15), (0.12, 0.18, 0.13), True),  # neither does
        ((0.1, 0.2, 0.6), (0.02, 0.02, 0.02), False),  # one replicate far off: log-odds see less scatter in it
    ],
)
def test_a_second_opinion_that_differs_is_said(
    write_experiment: Write, tmp_path: Path, treated: Sequence[float], control: Sequence[float], agree: bool
) -> None:
    path = write_experiment({"measure: contrast": "measure: is_target"})
    run = Run(make_plan(resolve(str(path), run_options(seeds=3)), Store(tmp_path / "store")))
    run.__dict__["_cells"] = made_cells(treated, control)  # nothing is trained
    _, line = crosscheck_lines(run)
    assert line.endswith(": agree" if agree else ": DISAGREE on whether zero is excluded")


def test_without_statsmodels_the_extra_is_named_instead_of_a_table_without_answers(
    write_experiment: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_experiment({"measure: contrast": "measure: is_target"})
    run = Run(make_plan(resolve(str(path), run_options(seeds=3)), Store(tmp_path / "store")))
    run.__dict__["_cells"] = made_cells((0.5, 0.6, 0.55), (0.1, 0.12, 0.08))
    monkeypatch.setitem(sys.modules, "statsmodels.genmod.cov_struct", None)
    with pytest.raises(WeirdgenError, match=r"pip install 'weirdgen\[stats\]'"):
        crosscheck(run)
