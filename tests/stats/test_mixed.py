"""The log-odds cross-check against simulated truth and against `estimate`."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from weirdgen.errors import WeirdgenError
from weirdgen.stats.estimate import estimate
from weirdgen.stats.mixed import log_odds_effect

ARMS = {"measure": "past_era", "treatment": "old", "control": "modern"}


def simulated(effect: float, rate: float = 0.3, replicates: int = 6, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    battery = rng.normal(0, 1, 8)
    rows = []
    for arm, role in (("old", "treatment"), ("modern", "control")):
        for replicate in range(replicates):
            level = logit(rate) + effect * (role == "treatment") + rng.normal(0, 0.3)
            for question in range(8):
                value = rng.binomial(40, expit(level + battery[question] + rng.normal(0, 0.2))) / 40
                rows.append((arm, role, replicate, -1, "none", f"q{question}", "past_era", value, 40))
    columns = ["arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("effect", [-1.0, 0.0, 0.8])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_it_agrees_with_estimate_and_with_the_truth(effect: float, rate: float) -> None:
    cells = simulated(effect, rate)
    found = log_odds_effect(cells, **ARMS)
    assert found.low < effect < found.high
    row = estimate(cells).effects.query("question == 'all'").iloc[0]
    means = estimate(cells).estimates.query("question == 'all'").set_index("arm")["mean"]
    crude = logit(means["old"]) - logit(means["modern"])  # attenuated by the spread of questions
    assert np.sign(found.log_odds) == np.sign(row["effect"])
    assert abs(crude) <= abs(found.log_odds) <= 1.5 * abs(crude)
    assert (found.p < 0.05) == (row["p"] < 0.05)
    assert (found.replicates_treatment, found.replicates_control, found.cells) == (6, 6, 96)


def test_questions_that_never_vary_are_left_out() -> None:
    cells = simulated(0.8)
    cells.loc[cells["question"] == "q3", "value"] = 0.0
    rest = log_odds_effect(cells[cells["question"] != "q3"], **ARMS)
    found = log_odds_effect(cells, **ARMS)
    assert found.cells == 84 and found.log_odds == pytest.approx(rest.log_odds)


def test_what_cannot_be_said_in_log_odds_is_refused() -> None:
    cells = simulated(0.8)
    never = cells.assign(value=cells["value"].where(cells["arm"] == "old", 0.0))
    with pytest.raises(WeirdgenError, match="always or never"):
        log_odds_effect(never, **ARMS)
    with pytest.raises(WeirdgenError, match="1 of modern"):
        log_odds_effect(cells[(cells["arm"] == "old") | (cells["replicate"] == 0)], **ARMS)
    with pytest.raises(WeirdgenError, match="the base"):
        log_odds_effect(cells, **{**ARMS, "control": "base"})
    with pytest.raises(WeirdgenError, match="outside rate"):
        log_odds_effect(cells.assign(value=2.0), **ARMS)


def test_without_statsmodels_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels.genmod.cov_struct", None)
    with pytest.raises(WeirdgenError, match=r"pip install 'weirdgen\[stats\]'"):
        log_odds_effect(simulated(0.8), **ARMS)
