"""Seeds that could jump, seeds added after looking, arms that share seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weirdgen.stats.bootstrap import difference, moments
from weirdgen.stats.seeds import (
    ENOUGH_FOR_NO_SHIFT,
    added_seeds_level,
    jumping_words,
    pairing,
    replicates_for_share,
    share_that_could_jump,
)
from weirdgen.stats.tests import t_p
from weirdgen.stats.verdict import verdicts


@pytest.mark.parametrize(("jumped", "replicates"), [(0, 2), (0, 4), (0, 10), (1, 6), (6, 6)])
def test_the_share_is_clopper_and_pearsons(jumped: int, replicates: int) -> None:
    expected = stats.binomtest(jumped, replicates).proportion_ci(method="exact").high
    assert share_that_could_jump(replicates, jumped) == pytest.approx(expected)


def test_enough_replicates_leave_less_than_a_third() -> None:
    assert replicates_for_share(1 / 3) == ENOUGH_FOR_NO_SHIFT
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


@pytest.mark.parametrize("counts", [(4, 6), (4, 6, 12), (3, 5, 8, 10)])
def test_looks_at_added_seeds_miss_zero_in_five_percent(counts: tuple[int, ...]) -> None:
    level = added_seeds_level(counts)
    rng = np.random.default_rng(9)
    one, other = rng.standard_normal((2, counts[-1], 20_000))
    flagged, naive = np.zeros(20_000, dtype=bool), np.zeros(20_000, dtype=bool)
    for count in counts:
        found = difference(moments(one[:count]), moments(other[:count]))
        p = t_p(found.effect, found.se, found.df)
        flagged |= p < 1 - level
        naive |= p < 0.05
    assert 0.045 <= flagged.mean() <= 0.055 and naive.mean() > 0.065


def test_one_look_keeps_the_level() -> None:
    assert added_seeds_level((6,)) == 0.95 and added_seeds_level((1, 4)) == 0.95
    assert 0.95 < added_seeds_level((4, 8), against_base=True) < 0.99
    with pytest.raises(ValueError, match="ascend"):
        added_seeds_level((6, 4))


@pytest.mark.parametrize("r", [-0.9, 0.0, 0.9])
def test_pairing_is_right_at_any_correlation(r: float) -> None:
    rng = np.random.default_rng(3)
    drawn = rng.standard_normal((2, 4, 2000))
    other = r * drawn[0] + np.sqrt(1 - r * r) * drawn[1]
    found = [pairing(drawn[0][:, at], other[:, at]) for at in range(2000)]
    assert np.mean([one.p < 0.05 for one in found]) == pytest.approx(0.05, abs=0.015)
    assert np.mean([one.r for one in found]) == pytest.approx(r, abs=0.1)


def test_pairing_says_what_it_cannot_know() -> None:
    two = pairing(np.array([1.0, 2.0]), np.array([0.0, 0.5]))
    assert two.effect == 1.25 and np.isnan(two.r) and np.isfinite(two.low)
    with pytest.raises(ValueError, match="3 against 2"):
        pairing(np.zeros(3), np.zeros(2))
