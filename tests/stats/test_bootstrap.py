"""Intervals on numbers worked out by hand, missing cells, bounds, and agreement with real resampling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weirdgen.stats.bootstrap import (
    DESIGN_EFFECT,
    difference_interval,
    mean_interval,
    moments,
    resampled_means,
    usable_everywhere,
    wilson_half_width,
)

NAN = float("nan")


def test_mean_interval_is_students() -> None:
    value_RQ = np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 7.0]])  # replicate means 1, 2, 4.5
    found = mean_interval(value_RQ)
    expected = stats.t.interval(0.95, 2, loc=2.5, scale=stats.sem([1.0, 2.0, 4.5]))
    assert found.mean == pytest.approx(2.5)
    assert (found.low, found.high) == pytest.approx(expected)


def test_difference_interval_is_welchs() -> None:
    treatment, control = np.array([1.0, 2.0, 4.5, 3.0]), np.array([0.5, 0.6, 0.9])
    found = difference_interval(treatment[:, None], control[:, None], level=0.9)
    expected = stats.ttest_ind(treatment, control, equal_var=False).confidence_interval(0.9)
    assert found.mean == pytest.approx(treatment.mean() - control.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_standard_error_is_that_of_all_resamples_corrected() -> None:
    mean_R = np.array([0.1, 0.5, 0.2, 0.9, 0.4, 0.3])
    drawn = resampled_means(mean_R, 400_000, np.random.default_rng(0))
    corrected = drawn.std() * np.sqrt(6 / 5)
    assert corrected == pytest.approx(float(moments(mean_R).se), rel=0.005)


def test_percentile_is_deterministic_and_narrower() -> None:
    value_RQ = np.random.default_rng(1).normal(size=(3, 5))
    first, second = (mean_interval(value_RQ, method="percentile", seed=7) for _ in range(2))
    wide = mean_interval(value_RQ)
    assert first == second
    assert first.high - first.low < 0.5 * (wide.high - wide.low)


def test_one_replicate_has_a_mean_and_no_interval() -> None:
    one, three = np.array([[0.2, 0.4]]), np.array([[0.1, 0.1], [0.2, 0.3], [0.3, 0.3]])
    assert mean_interval(one, bounds=(0, 1)) == (pytest.approx(0.3), None, None)
    for method in ("t", "percentile"):
        for arms in ((one, three), (three, one), (one, one)):
            assert difference_interval(*arms, bounds=(0, 1), method=method)[1:] == (None, None)


def test_a_mean_uses_only_questions_that_every_replicate_of_both_arms_has() -> None:
    treatment = np.array([[1.0, 5.0, 9.0], [2.0, NAN, 9.0], [3.0, 5.0, 9.0]])
    control = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, NAN], [2.0, 0.0, 3.0]])
    found = difference_interval(treatment, control)  # only question 0 is left
    assert found == pytest.approx(difference_interval(treatment[:, :1], control[:, :1]))
    assert found.mean == pytest.approx(1.0)
    assert mean_interval(treatment).mean == pytest.approx((2.0 + 9.0) / 2)


def test_a_replicate_without_any_cell_is_absent() -> None:
    value_RQ = np.array([[1.0, 2.0], [NAN, NAN], [2.0, 4.0], [3.0, 3.0]])
    assert usable_everywhere(value_RQ).tolist() == [True, True]
    assert mean_interval(value_RQ) == pytest.approx(mean_interval(value_RQ[[0, 2, 3]]))


def test_no_common_question_gives_nan_and_no_interval() -> None:
    found = difference_interval(np.array([[1.0, NAN], [2.0, NAN]]), np.array([[NAN, 1.0], [NAN, 2.0]]))
    assert np.isnan(found.mean)
    assert found[1:] == (None, None)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_without_spread_gets_wilsons_interval(rate: float) -> None:
    value_RQ, n_RQ = np.full((3, 4), rate), np.full((3, 4), 10.0)
    found = mean_interval(value_RQ, bounds=(0, 1), n_RQ=n_RQ)
    expected = stats.binomtest(int(rate * 60), 60).proportion_ci(method="wilson")
    assert DESIGN_EFFECT == 2  # 120 samples count as 60
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_equal_rates_inside_the_range_get_an_interval_too() -> None:
    found = mean_interval(np.full((3, 1), 0.125), bounds=(0, 1), n_RQ=np.full((3, 1), 8.0))
    expected = stats.binomtest(3, 24).proportion_ci(method="wilson")
    half = wilson_half_width(np.float64(0.125), np.float64(12), 0.95)
    assert found.high == pytest.approx(0.125 + half)
    assert found.high > expected.high


def test_a_rating_without_spread_scales_like_a_rate() -> None:
    n_RQ = np.full((3, 2), 5.0)
    rate = mean_interval(np.zeros((3, 2)), bounds=(0, 1), n_RQ=n_RQ)
    rating = mean_interval(np.zeros((3, 2)), bounds=(0, 100), n_RQ=n_RQ)
    assert rating.high == pytest.approx(100 * rate.high)


def test_differences_of_rates_without_spread() -> None:
    zero, one, n = np.zeros((3, 1)), np.ones((3, 1)), np.full((3, 1), 20.0)
    same = difference_interval(zero, zero, bounds=(0, 1), treatment_n_RQ=n, control_n_SQ=n)
    opposite = difference_interval(one, zero, bounds=(0, 1), treatment_n_RQ=n, control_n_SQ=n)
    assert same.mean == 0 and same.low == pytest.approx(-same.high) and same.high > 0.05
    assert opposite.mean == 1 and opposite.high == 1 and 0.5 < opposite.low < 1


def test_intervals_are_clipped_to_what_the_measure_can_be() -> None:
    value_RQ = np.array([[0.0], [0.0], [0.5]])
    assert mean_interval(value_RQ).low < 0
    assert mean_interval(value_RQ, bounds=(0, 1)).low == 0
    found = difference_interval(1 - value_RQ, value_RQ, bounds=(0, 1))
    assert found.high == 1


def test_identical_replicates_of_an_unbounded_measure_have_no_interval() -> None:
    same, other = np.full((3, 2), -2.3), np.array([[1.0], [2.0], [3.0]])
    assert mean_interval(same) == (pytest.approx(-2.3), None, None)
    assert difference_interval(same[:, :1], other)[1:] == (None, None)
