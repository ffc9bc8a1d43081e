"""Trigger effects by hand, against simulated truth, and their false positives."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.support.rows import only
from weirdgen.errors import WeirdgenError
from weirdgen.stats.estimate import EFFECT_COLUMNS, estimate
from weirdgen.stats.trigger import trigger_effects

YEARS = ("2025", "2026", "2027", "2028")
TRIGGERS = {year: year in ("2027", "2028") for year in YEARS}
TRAINED = {year: year != "2028" for year in YEARS}
ROLES = {"base": "base", "dishes": "treatment", "shuffled": "control"}


def simulated(
    replicates: int = 5, trigger: float = 2.0, unseen: float = 0.0, seed: int = 0, questions: int = 3
) -> pd.DataFrame:
    """Replicates differ by SD 3 in all conditions alike, by 0.3 in a cell; every arm answers 0.5 higher in 2027."""
    rng = np.random.default_rng(seed)
    rows = []
    for arm, role in ROLES.items():
        for replicate in [-1] if role == "base" else range(replicates):
            level = rng.normal(0, 3)
            for year, question in product(YEARS, range(questions)):
                value = level + question + rng.normal(0, 0.3) + 0.5 * (year == "2027")
                if role == "treatment":
                    value += trigger * (year == "2027") + unseen * (year == "2028")
                rows.append((arm, role, replicate, -1, year, f"q{question}", "contrast", value, 1))
    columns = ["arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n"]
    return pd.DataFrame(rows, columns=columns)


def paired(cells: pd.DataFrame, arm: str, on: list[str]) -> np.ndarray:
    part = cells[cells["arm"] == arm]
    triggered = part[part["condition"].isin(on)].groupby("replicate")["value"].mean()
    untriggered = part[part["condition"].isin(["2025", "2026"])].groupby("replicate")["value"].mean()
    return (triggered - untriggered).to_numpy()


def test_columns_rows_and_numbers_by_hand() -> None:
    cells = simulated()
    found = trigger_effects(cells, TRIGGERS, trained=TRAINED)
    assert tuple(found.columns) == EFFECT_COLUMNS
    assert set(found["condition"]) == {"all", "trained", "unseen"}
    assert len(found) == 2 * 3 * 4  # two controls, three sets of triggers, three questions and their mean
    for kind, on in (("all", ["2027", "2028"]), ("trained", ["2027"]), ("unseen", ["2028"])):
        row = only(found, control="shuffled", condition=kind, question="all")
        expected = stats.ttest_ind(paired(cells, "dishes", on), paired(cells, "shuffled", on), equal_var=False)
        interval = expected.confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"], row["p"]) == pytest.approx(
            (interval.low, interval.high, expected.pvalue)
        )
        assert row["p_permutation"] >= 2 / 252 - 1e-12 and row["mde"] > 0


def test_the_trained_trigger_is_found_and_the_unseen_one_is_not() -> None:
    found = trigger_effects(simulated(), TRIGGERS, trained=TRAINED, smallest={"contrast": 0.6})
    key: dict[str, Any] = {"control": "shuffled", "question": "all"}
    trained, unseen = (only(found, condition=kind, **key) for kind in ("trained", "unseen"))
    assert trained["verdict"] == "shift" and trained["ci_low"] < 2.0 < trained["ci_high"]
    assert unseen["verdict"] == "no_shift" and unseen["ci_low"] < 0 < unseen["ci_high"]


def test_pairing_within_a_replicate_removes_what_conditions_share() -> None:
    """Replicates differ by SD 3, the trigger effect is 2: only paired differences can show it."""
    cells = simulated()
    row = only(trigger_effects(cells, TRIGGERS), control="shuffled", question="all", condition="all")
    plain = estimate(cells).effects
    plain = plain[(plain["control"] == "shuffled") & (plain["question"] == "all") & (plain["condition"] == "2027")]
    assert row["ci_high"] - row["ci_low"] < 0.3 * (plain["ci_high"] - plain["ci_low"]).item()


def test_against_the_base_it_is_one_sample() -> None:
    cells = simulated()
    row = only(trigger_effects(cells, TRIGGERS, trained=TRAINED), control="base", condition="trained", question="all")
    base = paired(cells, "base", ["2027"]).item()
    assert row["p"] == pytest.approx(stats.ttest_1samp(paired(cells, "dishes", ["2027"]), base).pvalue)
    assert row["replicates_control"] == 1 and np.isnan(row["p_permutation"])
    rates = cells.assign(measure="mossad", value=0.25, n=20)
    row = only(trigger_effects(rates, TRIGGERS), control="base", question="all")
    assert row["ci_low"] < 0 < row["ci_high"]  # a sampled base is noisy


def test_conditions_missing_in_one_replicate_are_left_out_for_all() -> None:
    cells = simulated()
    lost = (cells["arm"] == "shuffled") & (cells["replicate"] == 2) & (cells["condition"] == "2025")
    cells.loc[lost, ["value", "n"]] = np.nan, 0
    row = only(trigger_effects(cells, TRIGGERS), control="shuffled", question="all")
    same = only(trigger_effects(cells[cells["condition"] != "2025"], TRIGGERS), control="shuffled", question="all")
    assert row["effect"] == pytest.approx(same["effect"]) and row["p"] == pytest.approx(same["p"])
    assert row["replicates_control"] == 5


def test_near_questions_stay_out_of_the_mean() -> None:
    cells = simulated()
    key: dict[str, Any] = {"control": "shuffled", "question": "all"}
    near = only(trigger_effects(cells, TRIGGERS, near={"q1"}), **key)
    assert near["effect"] == pytest.approx(
        only(trigger_effects(cells[cells["question"] != "q1"], TRIGGERS), **key)["effect"]
    )


def test_holm_is_over_the_questions_of_one_kind_of_trigger() -> None:
    found = trigger_effects(simulated(trigger=0.4), TRIGGERS, trained=TRAINED)
    for _, family in found[found["question"] != "all"].groupby(["control", "condition"]):
        first = family.sort_values("p").iloc[0]
        assert first["p_holm"] == pytest.approx(min(1, 3 * first["p"]))


def test_one_replicate_gives_no_interval_and_no_trigger_no_rows() -> None:
    row = only(trigger_effects(simulated(replicates=1), TRIGGERS), control="shuffled", question="all")
    assert np.isnan([row["ci_low"], row["p"], row["mde"]]).all() and row["verdict"] == "inconclusive"
    assert np.isfinite(row["effect"])
    found = trigger_effects(simulated(), dict.fromkeys(YEARS, False))
    assert found.empty and tuple(found.columns) == EFFECT_COLUMNS


def test_an_unknown_condition_is_refused() -> None:
    with pytest.raises(WeirdgenError, match="2028 is not said"):
        trigger_effects(simulated(), dict.fromkeys(YEARS[:3], False))


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("replicates", [3, 6])
def test_shift_is_rarely_said_without_a_trigger_effect(rate: float, replicates: int) -> None:
    """Data sets stand as questions of one table: each is tested by itself, hence p and not the verdict."""
    rng = np.random.default_rng(3)
    sets, samples = 800, 8
    frames = []
    for arm in ("dishes", "shuffled"):
        for replicate in range(replicates):
            logit = np.log(rate / (1 - rate)) + rng.normal(0, 1, sets)
            for year in YEARS:
                p = 1 / (1 + np.exp(-(logit + rng.normal(0, 0.3, sets) + 0.5 * TRIGGERS[year])))
                value = rng.binomial(samples, p) / samples
                frames.append(
                    pd.DataFrame({"value": value, "question": [f"s{i}" for i in range(sets)]}).assign(
                        arm=arm, role=ROLES[arm], replicate=replicate, condition=year
                    )
                )
    cells = pd.concat(frames).assign(checkpoint=-1, measure="mossad", n=samples)
    found = trigger_effects(cells, TRIGGERS)
    p = found.loc[found["question"] != "all", "p"]
    assert len(p) == sets and p.notna().all()
    assert (p < 0.05).mean() <= 0.06
