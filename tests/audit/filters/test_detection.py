"""Thresholds, areas and their intervals against definitions, another library and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from weirdgen.audit.filters.detection import Estimate, area, difference, placements, share, threshold


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("values", [1, 2, 7, 10_000])
def test_a_threshold_flags_exactly_its_rate_of_clean_rows_ties_or_not(rate: float, values: int) -> None:
    clean = np.random.default_rng(0).integers(0, values, 400).astype(float)
    assert threshold(clean, rate).flags(clean).mean() == pytest.approx(rate)


def test_a_row_above_every_clean_one_is_flagged_and_one_below_is_not() -> None:
    limit = threshold(np.arange(100.0), 0.05)
    assert limit.flags(np.array([200.0, -1.0])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("values", [3, 1000])
def test_the_area_is_scikit_learns(values: int) -> None:
    rng = np.random.default_rng(1)
    hidden, ordinary = rng.integers(1, values + 1, 40).astype(float), rng.integers(0, values, 90).astype(float)
    found = area(placements(hidden, ordinary), 90)
    labels = np.r_[np.ones(40), np.zeros(90)]
    assert found.value == pytest.approx(roc_auc_score(labels, np.r_[hidden, ordinary]))
    assert found.low < found.value < found.high


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("rows", [8, 40])
def test_intervals_of_the_area_cover_the_truth(shift: float, rows: int) -> None:
    rng, truth, covered = np.random.default_rng(2), norm.cdf(shift / np.sqrt(2)), 0
    for _ in range(250):
        found = area(placements(rng.normal(shift, 1, rows), rng.normal(0, 1, 120)), 120)
        covered += found.low <= truth <= found.high
    assert covered / 250 >= 0.92


@pytest.mark.parametrize(("sign", "value"), [(1, 1.0), (-1, 0.0)])
def test_a_perfect_area_is_not_taken_for_certain(sign: int, value: float) -> None:
    found = area(placements(sign * np.array([5.0, 6.0, 7.0]), np.zeros(100)), 100)
    assert found.value == value and found.low < found.high and found.high - found.low > 0.2
    assert found.low == 0 or found.high == 1


def test_a_difference_widens_by_both_intervals() -> None:
    same = difference(Estimate(0.5, 0.4, 0.6), Estimate(0.5, 0.4, 0.6))
    assert same.value == 0 and same.high == pytest.approx(np.hypot(0.1, 0.1)) and same.low == -same.high
    assert difference(share(np.ones(50)), share(np.zeros(50))).low > 0.85
