"""Seeds that could jump, arms that share seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weirdgen.stats.bootstrap import difference, moments
from weirdgen.stats.seeds import (
    ENOUGH_FOR_NO_SHIFT,
    jumping_words,
    pairing,
    share_that_could_jump,
)
from weirdgen.stats.verdict import verdicts


@pytest.mark.parametrize(("jumped", "replicates"), [(0, 2), (0, 4), (0, 10), (1, 6), (6, 6)])
def test_the_share_is_clopper_and_pearsons(jumped: int, replicates: int) -> None:
    expected = stats.binomtest(jumped, replicates).proportion_ci(method="exact").high
    assert share_that_could_jump(replicates, jumped) == pytest.approx(expected)


def test_enough_replicates_leave_less_than_a_third() -> None:
    assert share_that_could_jump(ENOUGH_FOR_NO_SHIFT) < 1 / 3 < share_that_could_jump(ENOUGH_FOR_NO_SHIFT - 1)
    assert "10 would leave 31%" in jumping_words(9) and "would leave" not in jumping_words(10)
    with pytest.raises(ValueError, match="5 of 4"):
        share_that_could_jump(4, 5)


@pytest.mark.parametrize("replicates", [3, 4, 6])
def test_rates_are_not_called_unmoved_where_every_fifth_seed_jumps(replicates: int) -> None:
    rng = np.random.default_rng(0)
    chance = np.where(rng.random((replicates, 8000)) < 0.2, 0.9, 0.002)
    treatment, control = rng.binomial(50, chance) / 50, rng.binomial(50, 0.002, (replicates, 8000)) / 50
    found = difference(moments(treatment, bounds=(0, 1)), moments(control, bounds=(0, 1)), bounds=(0, 1))
    assert (verdicts(found.low, found.high, 0.1) == "no_shift").mean() <= 0.065
    samples = np.full(treatment.shape, 50.0)
    one, other = (moments(arm, samples, bounds=(0, 1)) for arm in (treatment, control))
    found = difference(one, other, bounds=(0, 1))
    assert (verdicts(found.low, found.high, 0.1) == "no_shift").mean() >= 0.2  # what counting samples would do


@pytest.mark.parametrize("r", [-0.9, 0.0, 0.9])
def test_pairing_is_right_at_any_correlation(r: float) -> None:
    rng = np.random.default_rng(3)
    drawn = rng.standard_normal((2, 4, 2000))
    other = r * drawn[0] + np.sqrt(1 - r * r) * drawn[1]
    found = [pairing(drawn[0][:, at], other[:, at]) for at in range(2000)]
    assert np.mean([not one.low <= 0 <= one.high for one in found]) == pytest.approx(0.05, abs=0.015)
    assert np.mean([one.r for one in found]) == pytest.approx(r, abs=0.1)


def test_pairing_says_what_it_cannot_know() -> None:
    two = pairing(np.array([1.0, 2.0]), np.array([0.0, 0.5]))
    assert (two.low + two.high) / 2 == pytest.approx(1.25) and np.isnan(two.r)
    alike = pairing(np.array([1.1, 2.1, 3.1]), np.array([0.1, 1.1, 2.1]))  # up to rounding
    assert np.isnan(alike.low) and alike.r == pytest.approx(1)
    single = pairing(np.array([1.0, np.nan]), np.array([0.5, 0.0]))
    assert single.effect == 0.5 and np.isnan(single.low)
    with pytest.raises(ValueError, match="3 against 2"):
        pairing(np.zeros(3), np.zeros(2))
