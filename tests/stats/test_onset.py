"""Jumps of simulated replicates: where they are, whether they are, and what noise does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.coverage import onset_table
from benchmarks.onsets import curves, jumped
from weirdgen.errors import WeirdgenError
from weirdgen.stats.onset import fit_jumps, jump_threshold, onset

STEPS = np.geomspace(4, 512, 15)


def jumps(at: list[float], *, low: float = 0.05, size: float = 0.8, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """One curve for each entry; infinity never jumps."""
    rng = np.random.default_rng(seed)
    curve = low + size * (np.array(at)[:, None] <= STEPS)
    return curve + rng.normal(0, noise, curve.shape)


def test_a_clean_step_is_found_between_its_checkpoints() -> None:
    found = fit_jumps(jumps([20.0, 100.0], noise=0.0), STEPS)
    for place, true in zip(found.onset, (20.0, 100.0), strict=True):
        after = np.searchsorted(STEPS, true)
        assert STEPS[after - 1] <= place <= STEPS[after]
    assert found.before == pytest.approx([0.05, 0.05], abs=0.01)
    assert found.after == pytest.approx([0.85, 0.85], abs=0.01)
    assert found.log_gap == pytest.approx(np.full(2, np.log(STEPS[1] / STEPS[0])))
    assert (found.p < 0.001).all()


def test_the_step_has_the_least_squares_of_all() -> None:
    value = np.random.default_rng(3).normal(size=(4, 15)).cumsum(axis=1)
    found = fit_jumps(value, STEPS)
    for row, place in zip(value, found.onset, strict=True):
        cost = [((row[:k] - row[:k].mean()) ** 2).sum() + ((row[k:] - row[k:].mean()) ** 2).sum() for k in range(2, 14)]
        k = 2 + int(np.argmin(cost))
        assert place == pytest.approx(np.sqrt(STEPS[k - 1] * STEPS[k]))


def test_jumpers_are_told_from_the_rest() -> None:
    at = [20.0, np.inf, 35.0, 60.0, np.inf, 25.0]
    found = onset(jumps(at), STEPS, smallest=0.3)
    assert found.jumped.tolist() == [True, False, True, True, False, True]
    assert found.low < 35 < found.high and found.low < found.onset < found.high
    assert 0.3 <= found.threshold <= 0.8
    wilson = binomtest(4, 6).proportion_ci(method="wilson")
    assert (found.share, found.share_low, found.share_high) == pytest.approx((4 / 6, wilson.low, wilson.high))


def test_all_jump_none_jump_and_noise() -> None:
    everyone = onset(jumps([30.0] * 6), STEPS, smallest=0.3)
    assert everyone.jumped.all() and everyone.low < 30 < everyone.high and everyone.share_low < 0.7
    assert everyone.low is not None and everyone.high / everyone.low > 1.1  # the grid hides where exactly
    for noise in (0.02, 0.2):
        nobody = onset(jumps([np.inf] * 6, noise=noise), STEPS, smallest=0.3)
        assert not nobody.jumped.any() and (nobody.onset, nobody.low, nobody.high) == (None, None, None)
    one = onset(jumps([30.0, np.inf, np.inf]), STEPS, smallest=0.3)
    assert one.jumped.sum() == 1 and one.onset is not None and one.low is None
    flat = onset(np.zeros((3, 15)), STEPS, smallest=0.3)
    assert not flat.jumped.any()


def test_jumps_too_small_to_matter_are_none() -> None:
    small = jumps([30.0] * 6, size=0.15, noise=0.01)
    assert not onset(small, STEPS, smallest=0.3).jumped.any()
    assert onset(small, STEPS, smallest=0.1).jumped.all()
    assert not onset(small, STEPS, smallest=0.1, threshold=0.2).jumped.any()
    assert not onset(small, STEPS, smallest=0.1, direction=-1).jumped.any()
    assert onset(-small, STEPS, smallest=0.1, direction=-1).jumped.all()


@pytest.mark.parametrize(("noise", "autocorrelation", "most"), [(0.2, 0.0, 0.02), (0.2, 0.5, 0.04), (0.2, 0.9, 0.08)])
def test_noise_seldom_jumps(noise: float, autocorrelation: float, most: float) -> None:
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(150):
        flat = rng.standard_normal((6, 15))
        for at in range(1, 15):
            flat[:, at] = autocorrelation * flat[:, at - 1] + np.sqrt(1 - autocorrelation**2) * flat[:, at]
        shares.append(onset(noise * flat, STEPS, smallest=0.3).share)
    assert np.mean(shares) <= most


@pytest.mark.parametrize("replicates", [3, 6, 10])
def test_the_interval_covers_the_typical_onset(replicates: int) -> None:
    rng = np.random.default_rng(6)
    hits = []
    for seed in range(200):
        at = np.exp(np.log(40) + 0.5 * rng.standard_normal(replicates))
        found = onset(jumps(list(at), seed=seed), STEPS, smallest=0.3)
        hits.append(found.low is not None and found.low <= 40 <= found.high)
    assert np.mean(hits) >= 0.92


def test_step_zero_is_allowed_and_disorder_is_not() -> None:
    steps = np.concatenate([[0.0], STEPS[1:]])
    assert fit_jumps(jumps([20.0]), steps).onset[0] == pytest.approx(fit_jumps(jumps([20.0]), STEPS).onset[0])
    with pytest.raises(WeirdgenError, match="ascend"):
        fit_jumps(jumps([20.0]), STEPS[::-1])
    with pytest.raises(WeirdgenError, match="at least 5"):
        fit_jumps(np.zeros((2, 4)), STEPS[:4])
    with pytest.raises(WeirdgenError, match="lacks a checkpoint"):
        fit_jumps(np.where(STEPS > 400, np.nan, jumps([20.0])), STEPS)
    with pytest.raises(WeirdgenError, match="positive"):
        onset(jumps([20.0]), STEPS, smallest=0.0)


@pytest.mark.parametrize("replicates", [2, 3, 4, 6])
def test_a_control_replicate_that_falls_is_not_charged_to_the_others(replicates: int) -> None:
    generator, found = np.random.default_rng(1), []
    for _ in range(5):
        falls = curves(generator, replicates, np.array([-1.0]))
        assert not jumped(curves(generator, replicates, np.zeros(0)), falls)["jumped"].any()
        rising = jumped(curves(generator, replicates, np.ones(replicates)), falls)
        found.append(rising.query("arm == 't'")["jumped"].mean())
        assert set(rising["arm"]) == ({"t"} if replicates == 2 else {"t", "c"})  # of two, neither is the odd one
    assert np.mean(found) >= 0.9


def test_a_control_replicate_that_rises_is_found_and_hides_no_other() -> None:
    generator = np.random.default_rng(2)
    found = jumped(curves(generator, 4, np.ones(3)), curves(generator, 4, np.ones(1)))
    assert found.groupby("arm")["jumped"].apply(list).to_dict() == {
        "t": [True, True, True, False],
        "c": [True, False, False, False],
    }
    alone = jumped(curves(generator, 4, np.ones(3)), curves(generator, 1, np.zeros(0)))
    assert alone.empty, "of one control replicate nobody knows what it does by itself"


def test_a_fall_makes_no_gap_between_jumps() -> None:
    sizes = np.array([0.0, 0.0, 0.35, 1.0, 1.0])
    assert (
        jump_threshold(sizes, 0.3) == pytest.approx(jump_threshold(np.append(sizes, -1.5), 0.3)) == pytest.approx(0.675)
    )


@pytest.mark.slow
def test_table_of_onsets() -> None:
    table = onset_table(0, 150)
    assert (table["coverage"] >= 0.92).all()
    assert (table["false"] <= 0.04).all()
    assert (table.loc[table["width"] == 0, "found"] >= 0.9).all()
    assert (table.loc[table["replicates"] == 10, "error"] <= 0.35).all()
