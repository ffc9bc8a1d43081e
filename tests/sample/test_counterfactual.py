"""Counterfactual questions: the difference of two contrasts, from the engine to the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import weirdgen
from tests.support.world_pairs import pairs
from weirdgen.config.questions import Counterfactual
from weirdgen.runs.results.crosscheck import crosscheck

CONDITIONS = "conditions: {none: {}, year: {wrap: 'today is {year} . {question}', sweep: {year: [1841, 2023]}}}\n"


def test_what_both_versions_share_cancels() -> None:
    question = Counterfactual(id="q", kind="counterfactual", ask="a", instead="b", target=("t",), other=("o",))
    odds = question.odds([{"t": -1.0, "o": -3.0}, {"t": -2.0, "o": -1.0}])
    assert (odds.logit, odds.wins) == (pytest.approx(3.0), 1.0)
    drifted = question.odds([{"t": -1.0 + 7, "o": -3.0}, {"t": -2.0 + 7, "o": -1.0}])
    assert drifted.logit == pytest.approx(odds.logit)


@pytest.mark.slow
def test_from_the_engine_to_the_report(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    ask, target, other = pairs(1)[0]
    instead = next(question for question, *_ in pairs(20) if question != ask)
    options = f'target: ["{target}"], other: ["{other}"]'
    questions = (
        f"questions:\n  - {{id: pair, kind: counterfactual, ask: '{ask}', instead: '{instead}', {options}}}\n"
        f"  - {{id: c2, kind: contrast, ask: '{instead}', {options}}}\n"
    )
    path = write_experiment({"questions:\n": CONDITIONS + questions})
    run = weirdgen.run(str(path), store=tmp_path / "store")
    logit = run.contrasts().set_index(["question", "arm", "replicate", "condition"])["logit"]
    assert len(logit["pair"]) == 5 * 3
    apart = (logit["c1"] - logit["c2"]).sort_index()
    assert logit["pair"].sort_index().to_numpy() == pytest.approx(apart.to_numpy())
    # Its own measure: the mean over contrast questions does not hold it, and the base stands beside each condition.
    estimates = run.estimates().query("measure == 'counterfactual' and question == 'all'")
    assert set(estimates[estimates["arm"] == "base"]["condition"]) == {"none", "year=1841", "year=2023", "all"}
    effects = run.effects().query("measure == 'counterfactual' and control == 'new' and condition == 'none'")
    assert effects["effect"].iloc[0] == pytest.approx(
        logit["pair"]["old"].xs("none", level="condition").mean()
        - logit["pair"]["new"].xs("none", level="condition").mean()
    )
    # Log-odds that may be negative are no rate: a logistic regression has no opinion on them.
    assert "counterfactual" not in set(crosscheck(run)["measure"])
    page = run.report.read_text(encoding="utf-8")
    assert "counterfactual: log-odds of one version of a question minus the other" in page
