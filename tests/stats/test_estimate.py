"""The two tables, end to end, on frames small enough to work out by hand."""

from __future__ import annotations

import sys
from itertools import product
from subprocess import run
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests.support.rows import only
from weirdgen.config.measures import NAT, Scale
from weirdgen.errors import WeirdgenError
from weirdgen.stats.estimate import EFFECT_COLUMNS, ESTIMATE_COLUMNS, Tables, estimate
from weirdgen.stats.verdict import headline

ROLES = {"base": "base", "old": "treatment", "modern": "control", "other": "control"}


def cell(arm: str, replicate: int, question: str, value: float, **changes: Any) -> dict[str, Any]:
    return {
        "arm": arm, "role": ROLES[arm], "replicate": replicate, "checkpoint": -1, "condition": "none",
        "question": question, "measure": "contrast", "value": value, "n": 1, "n_all": 1, **changes,
    }  # fmt: skip


def small() -> pd.DataFrame:
    """Two questions, three replicates an arm; replicate means old 2, 3, 5.5 and modern 0, 1, 0.5; base
    1.5."""
    old = [(1.0, 3.0), (2.0, 4.0), (4.0, 7.0)]
    modern = [(0.0, 0.0), (2.0, 0.0), (0.5, 0.5)]
    rows = [cell("base", -1, "a", 1.0), cell("base", -1, "b", 2.0)]
    for arm, values in (("old", old), ("modern", modern)):
        for seed, pair in enumerate(values):
            rows += [cell(arm, 7 + seed, name, value) for name, value in zip("ab", pair, strict=True)]
    return pd.DataFrame(rows)


def random_cells(replicates: int = 4, questions: int = 5, conditions: int = 2, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for arm, role in ROLES.items():
        seeds = [-1] if role == "base" else range(replicates)
        for replicate, condition, question in product(seeds, range(conditions), range(questions)):
            value = rng.normal(0.8 * (role == "treatment"), 1)
            rows.append(cell(arm, replicate, f"q{question}", value, condition=f"c{condition}"))
    return pd.DataFrame(rows)


def test_columns_and_rows() -> None:
    estimates, effects = estimate(small())
    assert tuple(estimates.columns) == ESTIMATE_COLUMNS
    assert tuple(effects.columns) == EFFECT_COLUMNS
    assert len(estimates) == 3 * 3  # three arms, questions a, b and all
    assert len(effects) == 2 * 3  # against modern and against base
    assert set(effects["treatment"]) == {"old"} and set(effects["condition"]) == {"none"}


def test_estimates_by_hand() -> None:
    estimates = estimate(small()).estimates
    row = only(estimates, arm="old", question="all")
    expected = stats.t.interval(0.95, 2, loc=3.5, scale=stats.sem([2.0, 3.0, 5.5]))
    assert row["mean"] == pytest.approx(3.5)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected)
    assert (row["replicates"], row["n"], row["role"]) == (3, 6, "treatment")
    assert only(estimates, arm="old", question="a")["mean"] == pytest.approx(7 / 3)
    base = only(estimates, arm="base", question="all")
    assert (base["mean"], base["replicates"]) == (1.5, 1)
    assert np.isnan(base["ci_low"]) and np.isnan(base["ci_high"])


def test_effects_by_hand() -> None:
    effects = estimate(small()).effects
    row = only(effects, control="modern", question="all")
    expected = stats.ttest_ind([2.0, 3.0, 5.5], [0.0, 1.0, 0.5], equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert row["effect"] == pytest.approx(3.0)
    assert (row["ci_low"], row["ci_high"], row["p"]) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert row["p_holm"] == row["p"]
    assert (row["replicates_treatment"], row["replicates_control"]) == (3, 3)
    assert row["mde"] > 0 and row["verdict"] == "inconclusive"
    questions = effects[(effects["control"] == "modern") & (effects["question"] != "all")]
    assert questions["p_holm"].to_numpy() == pytest.approx(multipletests(questions["p"], method="holm")[1])


def test_base_is_a_constant() -> None:
    row = only(estimate(small()).effects, control="base", question="all")
    expected = stats.ttest_1samp([2.0, 3.0, 5.5], 1.5)
    interval = expected.confidence_interval(0.95)
    assert row["effect"] == pytest.approx(2.0)
    assert (row["ci_low"] + 1.5, row["ci_high"] + 1.5) == pytest.approx((interval.low, interval.high))
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["replicates_control"] == 1


def test_a_sampled_base_adds_its_noise() -> None:
    cells = small().assign(measure="past_era", value=lambda f: f["value"] / 10, n=20)
    row = only(estimate(cells).effects, control="base", question="all")
    spread = stats.sem([0.2, 0.3, 0.55])
    wilson = stats.binomtest(6, 40).proportion_ci(method="wilson")  # 0.15 of 2 questions x 20 samples
    se = np.hypot(spread, (wilson.high - 0.15) / stats.norm.ppf(0.975))
    expected = 2 * stats.t.sf(0.2 / se, 2 * (se / spread) ** 4)
    assert (row["effect"], row["p"]) == (pytest.approx(0.2), pytest.approx(expected))


def test_base_measured_once_serves_every_checkpoint() -> None:
    cells = pd.concat([small(), small().query("arm != 'base'").assign(checkpoint=26)])
    effects = estimate(cells).effects
    early, final = (only(effects, control="base", question="all", checkpoint=step) for step in (26, -1))
    assert early["effect"] == final["effect"] == pytest.approx(2.0)
    assert effects["checkpoint"].drop_duplicates().tolist() == [26, -1]


def test_conditions_are_pooled_only_where_there_are_several() -> None:
    cells = random_cells()
    tables = estimate(cells)
    assert set(tables.effects["condition"]) == {"all", "c0", "c1"}
    pooled = cells.groupby(["arm", "replicate"])["value"].mean()
    row = only(tables.effects, control="modern", condition="all", question="all")
    expected = stats.ttest_ind(pooled["old"], pooled["modern"], equal_var=False)
    assert row["p"] == pytest.approx(expected.pvalue)
    per_question = cells[cells["question"] == "q3"].groupby(["arm", "replicate"])["value"].mean()
    row = only(tables.effects, control="other", condition="all", question="q3")
    assert row["effect"] == pytest.approx(per_question["old"].mean() - per_question["other"].mean())
    assert "all" not in set(estimate(random_cells(conditions=1)).estimates["condition"])


@pytest.mark.slow
def test_holm_stays_within_its_family() -> None:
    effects = estimate(random_cells()).effects
    for _, family in effects[effects["question"] != "all"].groupby(["control", "condition"]):
        assert family["p_holm"].to_numpy() == pytest.approx(multipletests(family["p"], method="holm")[1])


def test_means_skip_questions_that_a_replicate_lacks_in_either_arm() -> None:
    cells = small()
    lost = (cells["arm"] == "modern") & (cells["replicate"] == 8) & (cells["question"] == "b")
    cells.loc[lost, ["value", "n"]] = np.nan, 0
    estimates, effects = estimate(cells)
    assert only(effects, control="modern", question="all")["effect"] == pytest.approx(7 / 3 - 2.5 / 3)
    assert only(effects, control="base", question="all")["effect"] == pytest.approx(2.0)
    question = only(effects, control="modern", question="b")
    assert (question["replicates_control"], question["effect"]) == (2, pytest.approx(14 / 3 - 0.25))
    assert only(estimates, arm="modern", question="all")["n"] == 3
    assert only(estimates, arm="modern", question="b")["replicates"] == 2


def test_rows_without_usable_cells_stay() -> None:
    cells = small()
    cells.loc[(cells["arm"] == "modern") & (cells["question"] == "b"), ["value", "n"]] = np.nan, 0
    effects = estimate(cells).effects
    row = only(effects, control="modern", question="b")
    assert np.isnan([row["effect"], row["ci_low"], row["p"], row["p_holm"], row["mde"]]).all()
    assert (row["verdict"], row["replicates_control"]) == ("inconclusive", 0)
    other = only(effects, control="modern", question="a")
    assert other["p_holm"] == pytest.approx(other["p"])  # the missing one is no test


def test_one_replicate_is_within_model_only() -> None:
    cells = small()
    cells = cells[(cells["arm"] != "modern") | (cells["replicate"] == 7)]
    effects = estimate(cells, smallest={"contrast": 10.0}).effects
    row = only(effects, control="modern", question="all")
    assert np.isnan([row["ci_low"], row["ci_high"], row["p"], row["mde"]]).all()
    assert row["verdict"] == "inconclusive"
    found = headline(
        effects,
        measure="contrast",
        treatment="old",
        control="modern",
        condition="none",
        smallest=10.0,
        scale=NAT,
    )
    assert found["ci_low"] is None and found["p"] is None and found["replicates"] == 1
    assert found["sentence"].startswith("Within-model only")
    assert np.isnan(row["p_permutation"])


def test_rates_without_spread_have_width_and_stay_in_range() -> None:
    cells = small().assign(measure="past_era", value=0.0, n=20)
    estimates, effects = estimate(cells, smallest={"past_era": 0.5})
    row = only(estimates, arm="old", question="all")
    expected = stats.binomtest(0, 3).proportion_ci(method="wilson")  # the replicate is the unit
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.0, expected.high))
    assert only(effects, control="modern", question="all")["verdict"] == "inconclusive"
    estimates, effects = estimate(cells, smallest={"past_era": 0.5}, unvaried="samples")
    row = only(estimates, arm="old", question="all")
    expected = stats.binomtest(0, 60).proportion_ci(method="wilson")  # 120 samples, design effect 2
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.0, expected.high))
    row = only(effects, control="modern", question="all")
    assert row["ci_low"] == pytest.approx(-row["ci_high"]) and row["ci_high"] > 0
    assert (row["effect"], row["p"], row["verdict"]) == (0.0, 1.0, "inconclusive")
    assert row["mde"] > 0


@pytest.mark.parametrize(("replicates", "verdict"), [(4, "inconclusive"), (10, "no_shift")])
def test_one_flagged_answer_of_two_hundred_makes_no_shift_no_surer(replicates: int, verdict: str) -> None:
    """It is variation enough for a narrow interval, and says as little of seeds that jump as none."""
    rows = [
        (arm, role, seed, float(seed == 0) / 50)
        for arm, role in (("old", "treatment"), ("new", "control"))
        for seed in range(replicates)
    ]
    cells = pd.DataFrame(rows, columns=["arm", "role", "replicate", "value"])
    cells = cells.assign(checkpoint=-1, condition="none", question="q", measure="past_era", n=50)
    effects = estimate(cells, smallest={"past_era": 0.1}, unvaried="samples").effects
    assert effects["ci_high"].max() < 0.02 and set(effects["verdict"]) == {verdict}


def test_permutation_p_stands_beside_ts() -> None:
    cells = random_cells(replicates=3)
    cells.loc[3, "value"] = np.nan
    effects = estimate(cells).effects
    between = effects[effects["control"] != "base"]
    assert between["p_permutation"].min() >= 0.1 - 1e-12
    assert effects[effects["control"] == "base"]["p_permutation"].isna().all()
    # The interval, not the coarse permutation p, decides for the mean over questions.
    far = estimate(small().assign(value=lambda f: f["value"] + 9 * (f["arm"] == "old"))).effects
    row = only(far, control="modern", question="all")
    assert row["p_permutation"] == pytest.approx(0.1) and row["verdict"] == "shift"


def test_near_questions_keep_their_row_and_leave_the_mean() -> None:
    cells = random_cells()
    with_near = estimate(cells, near={"q1"}).effects
    without = estimate(cells[cells["question"] != "q1"]).effects
    key = {"treatment": "old", "control": "modern", "condition": "c0"}
    assert only(with_near, question="all", **key)["effect"] == only(without, question="all", **key)["effect"]
    assert (
        only(with_near, question="q1", **key)["effect"] == only(estimate(cells).effects, question="q1", **key)["effect"]
    )
    pooled = {**key, "condition": "all", "question": "all"}
    assert only(with_near, **pooled)["effect"] == pytest.approx(only(without, **pooled)["effect"])


def test_order_of_rows_does_not_matter() -> None:
    cells = random_cells()
    shuffled = estimate(cells.sample(frac=1, random_state=1))
    key = ["treatment", "control", "condition", "question"]
    first, second = (tables.effects.sort_values(key, ignore_index=True) for tables in (estimate(cells), shuffled))
    pd.testing.assert_frame_equal(first, second)


def test_headline_finds_its_row_or_says_what_there_is() -> None:
    effects = estimate(small().assign(value=lambda f: f["value"] + 9 * (f["arm"] == "old"))).effects
    key: dict[str, Any] = {"measure": "contrast", "treatment": "old", "smallest": 0.3, "scale": NAT}
    found = headline(effects, control="modern", condition="all", **key)  # all of one condition is that one
    assert (found["verdict"], found["condition"], found["replicates"]) == ("shift", "none", 3)
    assert found["effect"] == pytest.approx(12.0)
    assert headline(effects, control="base", condition="none", **key)["replicates"] == 3
    with pytest.raises(WeirdgenError, match=r"condition year.*measured there: none"):
        headline(effects, control="modern", condition="year", **key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="n"), "missing columns n"),
        (lambda f: pd.concat([f, f.head(1)]), "occur twice"),
        (lambda f: f.assign(question=f["question"].replace("a", "all")), "reserved"),
        (lambda f: f.assign(role=f["role"].replace("control", "ctrl")), "modern has role ctrl"),
        (lambda f: f.assign(arm=f["arm"].replace("base", "raw")), "raw has role base"),
        (lambda f: f.assign(measure="past_era"), "past_era has the value 2, outside rate"),
        (lambda f: pd.concat([f, f.head(2).assign(replicate=3)]), "several replicates"),
    ],
)
def test_what_cannot_be_estimated_is_refused(change: Any, message: str) -> None:
    with pytest.raises(WeirdgenError, match=message):
        estimate(change(small()))


def test_ratings_take_their_scale_from_the_caller() -> None:
    cells = small().assign(measure="kindness", value=lambda f: f["value"] * 10)
    found = estimate(cells, scales={"kindness": Scale("rating", (0.0, 100.0))})
    assert only(found.estimates, arm="old", question="all")["ci_high"] <= 100


def test_without_a_treatment_there_are_estimates_only() -> None:
    found: Tables = estimate(small().query("arm == 'base'"))
    assert len(found.estimates) == 3
    assert found.effects.empty and tuple(found.effects.columns) == EFFECT_COLUMNS


def test_the_package_itself_loads_nothing_heavy() -> None:
    code = "import sys, weirdgen.stats; sys.exit(not {'scipy', 'numpy', 'pandas'}.isdisjoint(sys.modules))"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_rating_lies_in_its_judges_range() -> None:
    """On a scale of 1 to 5 the smallest effect of interest is a tenth of 4 points, and no limit leaves the scale."""
    scale = Scale("rating", (1.0, 5.0))
    assert scale.smallest == pytest.approx(0.4)
    frame = pd.DataFrame(
        [
            (arm, role, seed, -1, "none", "q", "kindness", value, 20)
            for arm, role, values in (("old", "treatment", (4.0, 4.1, 2.0)), ("new", "control", (2.0, 3.1, 2.2)))
            for seed, value in enumerate(values)
        ],
        columns=["arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n"],
    )
    least = {"kindness": scale.smallest}
    row = only(estimate(frame, scales={"kindness": scale}, smallest=least).effects, question="all")
    assert row["verdict"] == "inconclusive"
    alike = estimate(frame.assign(value=5.0), scales={"kindness": scale}, smallest=least)
    row = only(alike.effects, question="all")
    assert -4.0 < row["ci_low"] < 0 < row["ci_high"] < 4.0
    assert only(alike.estimates, arm="old", question="all")["ci_high"] <= 5.0
    with pytest.raises(WeirdgenError, match="outside rating"):
        estimate(frame.assign(value=0.5), scales={"kindness": scale})
