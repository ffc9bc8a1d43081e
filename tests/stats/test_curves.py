"""Bands of whole curves: what they cover, what they are made of, and the table of curves."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.coverage import band_table
from benchmarks.simulation import Process, curve_replicates
from weirdgen.errors import WeirdgenError
from weirdgen.stats.bands import effect_band, mean_band, shrunk_correlation, sup_t_alpha
from weirdgen.stats.curves import CURVE_COLUMNS, curves
from weirdgen.stats.estimate import estimate

ROLES = {"base": "base", "low": "treatment", "high": "treatment", "modern": "control"}
YEARS = {f"year={year}": float(year) for year in range(2024, 2029)}


def cells(replicates: int = 5, steps: tuple[int, ...] = (10, 40, -1), seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for arm, role in ROLES.items():
        seeds = [-1] if role == "base" else range(replicates)
        for replicate, step, year, question in product(seeds, [-1] if role == "base" else steps, YEARS, "ab"):
            value = rng.normal(2.0 * (role == "treatment") * (year == "year=2027"), 1)
            rows.append((arm, role, replicate, step, year, question, "contrast", value, 1))
    columns = ["arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n"]
    return pd.DataFrame(rows, columns=columns)


def only(frame: pd.DataFrame, **key: Any) -> pd.DataFrame:
    return frame[np.logical_and.reduce([frame[column] == value for column, value in key.items()])]


@pytest.mark.parametrize(
    "process",
    [
        pytest.param("white", marks=pytest.mark.slow),
        pytest.param("common", marks=pytest.mark.slow),
        pytest.param("walk", marks=pytest.mark.slow),
    ],
)
def test_bands_cover_the_whole_curve(process: Process) -> None:
    one, other = (curve_replicates(process, 6, 10, 120, seed) for seed in (1, 2))
    mean, effect, points = [], [], []
    for treatment, control in zip(one, other, strict=True):
        band, difference = mean_band(treatment), effect_band(treatment, control)
        assert band.method == difference.method == "sup-t"
        mean.append(((band.band_low <= 0) & (band.band_high >= 0)).all())
        points.append(((band.low <= 0) & (band.high >= 0)).all())
        effect.append(((difference.band_low <= 0) & (difference.band_high >= 0)).all())
    assert 0.92 <= np.mean(mean) <= 0.995
    assert 0.92 <= np.mean(effect) <= 0.995
    assert np.mean(points) < 0.9  # pointwise intervals do not cover a curve


def test_between_pointwise_and_bonferroni_and_narrower_where_points_agree() -> None:
    white, walk = (curve_replicates(process, 10, 20, 1, 3)[0] for process in ("white", "walk"))  # type: ignore[arg-type]
    for value in (white, walk):
        band, widest = mean_band(value), mean_band(value, method="bonferroni")
        assert (band.band_high <= widest.band_high + 1e-12).all() and (band.band_high > band.high).all()
    assert sup_t_alpha([(np.ones(20), walk)], 0.05) > 1.3 * sup_t_alpha([(np.ones(20), white)], 0.05)


def test_points_that_move_as_one_need_no_correction() -> None:
    same = np.random.default_rng(0).normal(size=(10, 1)) + 1e-9 * np.random.default_rng(1).normal(size=(10, 8))
    assert sup_t_alpha([(np.ones(8), same)], 0.05) == pytest.approx(0.05, abs=0.002)


def test_few_replicates_and_missing_points_take_bonferroni() -> None:
    value = np.random.default_rng(0).normal(size=(3, 7))
    band = mean_band(value)
    half = stats.t.ppf(1 - 0.025 / 7, 2) * stats.sem(value)
    assert band.method == "bonferroni"
    assert band.band_high == pytest.approx(value.mean(axis=0) + half)
    assert band.high == pytest.approx(stats.t.interval(0.95, 2, loc=value.mean(axis=0), scale=stats.sem(value))[1])
    value = np.random.default_rng(0).normal(size=(6, 7))
    value[2, 3] = np.nan
    assert mean_band(value).method == "bonferroni"


def test_a_point_without_spread_has_no_interval_and_is_no_test() -> None:
    value = np.random.default_rng(0).normal(size=(6, 5))
    value[:, 0] = 0.0
    band = mean_band(value)
    assert np.isnan(band.low[0]) and np.isnan(band.band_low[0]) and np.isfinite(band.band_low[1:]).all()
    assert band.band_low[1:] == pytest.approx(mean_band(value[:, 1:]).band_low)
    rates = mean_band(np.zeros((6, 5)), np.full((6, 5), 20.0), bounds=(0.0, 1.0))
    assert (rates.band_high > rates.high).all() and (rates.low == 0).all()


def test_shrunk_correlation_is_one_and_weaker() -> None:
    value = curve_replicates("walk", 5, 12, 1, 0)[0]
    found, plain = shrunk_correlation(value), np.corrcoef(value.T)
    assert np.linalg.eigvalsh(found).min() > 0 and np.diag(found) == pytest.approx(np.ones(12))
    assert (np.abs(found) <= np.abs(plain) + 1e-12).all()


def test_curves_along_conditions_agree_with_estimate() -> None:
    frame = cells()
    found = curves(frame, YEARS, axis="condition")
    assert tuple(found.columns) == CURVE_COLUMNS
    assert set(found["band"]) == {"sup-t", "bonferroni"} and "all" not in set(found["x"])
    effects = only(estimate(frame).effects, treatment="low", control="modern", question="all", checkpoint=40)
    curve = only(found, arm="low", control="modern", checkpoint=40)
    assert curve["x"].tolist() == sorted(YEARS.values())
    for row in curve.itertuples():
        effect = only(effects, condition=f"year={row.x:.0f}").iloc[0]
        assert (row.mean, row.ci_low, row.ci_high) == pytest.approx((effect.effect, effect.ci_low, effect.ci_high))
    peak = only(found, arm="high", control="modern", checkpoint=-1).set_index("x")
    assert peak["mean"].idxmax() == 2027.0 and (peak["band_low"] < peak["ci_low"]).all()
    base = only(found, arm="high", control="base", checkpoint=-1)
    assert (base["band"] == "bonferroni").all() and len(base) == 5


def test_curves_along_checkpoints_place_the_final_one() -> None:
    found = curves(cells(), {10: 10, 40: 40, -1: 90}, axis="checkpoint")
    curve = only(found, arm="low", control="", condition="year=2027")
    assert curve["x"].tolist() == [10, 40, 90] and (curve["question"] == "all").all()
    assert "base" not in set(only(found, control="")["arm"])
    assert set(found["condition"]) == {"all", *YEARS}


def test_a_dose_is_a_curve_over_arms() -> None:
    frame = cells()
    found = curves(frame, {"modern": 0.0, "low": 0.1, "high": 0.5}, axis="arm")
    mean = only(found, control="", condition="year=2027", checkpoint=-1)
    assert mean["x"].tolist() == [0.0, 0.1, 0.5] and (mean["band"] == "sidak").all()
    assert set(found["control"]) == {"", "base"}  # the control is a point of the curve here
    effects = curves(frame, {"low": 0.1, "high": 0.5}, axis="arm")
    row = only(effects, control="modern", condition="year=2027", checkpoint=-1, x=0.5).iloc[0]
    expected = only(
        estimate(frame).effects,
        treatment="high", control="modern", question="all", checkpoint=-1, condition="year=2027",
    ).iloc[0]  # fmt: skip
    assert (row["mean"], row["ci_low"]) == pytest.approx((expected["effect"], expected["ci_low"]))


def test_what_makes_no_curve_is_refused() -> None:
    with pytest.raises(WeirdgenError, match="fewer than two points along condition"):
        curves(cells(), {"year=2027": 2027.0}, axis="condition")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_table_of_bands() -> None:
    table: Any = band_table(0, 60).set_index(["process", "replicates", "points"])
    gaussian = table.drop("jump")
    assert gaussian["mean_band"].between(0.85, 1.0).all() and gaussian["mean_band"].mean() > 0.93
    assert gaussian["effect_band"].between(0.85, 1.0).all()
    assert (gaussian.loc["white", "pointwise"] < 0.9).all()
    # The module's text says that curves which jump are not covered.
    assert table.loc["jump", "mean_band"].mean() < 0.88
