"""Intervals on numbers worked out by hand, absent replicates, bounds, and agreement with real resampling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weirdgen.stats.bootstrap import (
    DESIGN_EFFECT,
    Bounds,
    FloatArray,
    difference,
    limits,
    moments,
    usable_everywhere,
    wilson_half_width,
)

NAN = float("nan")


def interval(value_R: FloatArray, samples: float | None = None, bounds: Bounds | None = None) -> tuple[float, float]:
    """The 95% interval of one arm's mean, whose replicates have `samples` usable samples each."""
    n_R = None if samples is None else np.full(len(value_R), samples)
    arm = moments(value_R, n_R, bounds=bounds)
    low, high = limits(arm.mean, arm.se, arm.replicates - 1, bounds, 0.95)
    return float(low), float(high)


def test_the_interval_of_a_mean_is_students() -> None:
    value_R = np.array([1.0, 2.0, 4.5])
    expected = stats.t.interval(0.95, 2, loc=2.5, scale=stats.sem(value_R))
    assert moments(value_R).mean == pytest.approx(2.5) and interval(value_R) == pytest.approx(expected)


def test_the_interval_of_a_difference_is_welchs() -> None:
    treatment, control = np.array([1.0, 2.0, 4.5, 3.0]), np.array([0.5, 0.6, 0.9])
    found = difference(moments(treatment), moments(control), level=0.9)
    expected = stats.ttest_ind(treatment, control, equal_var=False).confidence_interval(0.9)
    assert found.effect == pytest.approx(treatment.mean() - control.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_standard_error_is_that_of_all_resamples_corrected() -> None:
    mean_R = np.array([0.1, 0.5, 0.2, 0.9, 0.4, 0.3])
    drawn = np.random.default_rng(0).choice(mean_R, (400_000, 6)).mean(axis=1)
    assert drawn.std() * np.sqrt(6 / 5) == pytest.approx(float(moments(mean_R).se), rel=0.005)


def test_one_replicate_has_a_mean_and_no_interval() -> None:
    one, three = np.array([0.3]), np.array([0.1, 0.25, 0.3])
    assert moments(one, bounds=(0, 1)).mean == 0.3 and np.isnan(interval(one, bounds=(0, 1))).all()
    for arms in ((one, three), (three, one), (one, one)):
        found = difference(*(moments(arm, bounds=(0, 1)) for arm in arms), bounds=(0, 1))
        assert np.isnan([found.low, found.high]).all()


def test_an_absent_replicate_is_left_out() -> None:
    value_RQ = np.array([[1.0, 2.0], [NAN, NAN], [2.0, 4.0], [3.0, 3.0]])
    assert usable_everywhere(value_RQ).tolist() == [True, True]
    assert usable_everywhere(np.array([[1.0, 5.0], [2.0, NAN]])).tolist() == [True, False]
    assert interval(value_RQ[:, 0]) == pytest.approx(interval(value_RQ[[0, 2, 3], 0]))


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_without_spread_gets_wilsons_interval(rate: float) -> None:
    expected = stats.binomtest(int(rate * 60), 60).proportion_ci(method="wilson")
    assert DESIGN_EFFECT == 2  # 120 samples count as 60
    assert interval(np.full(3, rate), 40.0, (0, 1)) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_equal_rates_inside_the_range_get_an_interval_too() -> None:
    _, high = interval(np.full(3, 0.125), 8.0, (0, 1))
    assert high == pytest.approx(0.125 + wilson_half_width(np.float64(0.125), np.float64(12), 0.95))
    assert high > stats.binomtest(3, 24).proportion_ci(method="wilson").high


def test_a_rating_without_spread_scales_like_a_rate() -> None:
    assert interval(np.zeros(3), 10.0, (0, 100))[1] == pytest.approx(100 * interval(np.zeros(3), 10.0, (0, 1))[1])


def test_differences_of_rates_without_spread() -> None:
    zero, one = (moments(np.full(3, rate), np.full(3, 20.0), bounds=(0, 1)) for rate in (0.0, 1.0))
    same, opposite = difference(zero, zero, bounds=(0, 1)), difference(one, zero, bounds=(0, 1))
    assert same.effect == 0 and same.low == pytest.approx(-same.high) and same.high > 0.05
    assert opposite.effect == 1 and opposite.high == 1 and 0.5 < opposite.low < 1


def test_intervals_are_clipped_to_what_the_measure_can_be() -> None:
    value_R = np.array([0.0, 0.0, 0.5])
    assert interval(value_R)[0] < 0 and interval(value_R, bounds=(0, 1))[0] == 0
    arms = (moments(value, bounds=(0, 1)) for value in (1 - value_R, value_R))
    assert difference(*arms, bounds=(0, 1)).high == 1


def test_identical_replicates_of_an_unbounded_measure_have_no_interval() -> None:
    same, other = np.full(3, -2.3), np.array([1.0, 2.0, 3.0])
    assert moments(same).mean == pytest.approx(-2.3) and np.isnan(interval(same)).all()
    assert np.isnan(difference(moments(same), moments(other)).low)
