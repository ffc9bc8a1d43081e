"""Where a dataset lies among harmless ones: exact ranks, families of traits, pairs, intervals, sizes that are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.simulation import shifts
from benchmarks.specificity import cell
from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import FloatArray
from weirdgen.stats.specificity import pair_specificity, pool, size, specificity

TRAITS = ["era"] * 30 + ["place"] * 30


def harmless(count: int, seed: int = 0) -> FloatArray:
    """Shifts [count, 60]."""
    value, _ = shifts(count, 30, sets=1, traits=2, seed=seed)
    shift: FloatArray = value[0, :, 0].reshape(count, -1)
    return shift


def test_a_large_shift_is_first_and_specific_on_its_trait_alone() -> None:
    null = harmless(41)
    moved = null[-1:] + np.repeat([6.0, 0.0], 30)
    found: Any = specificity(null[:-1], moved, traits=TRAITS).set_index("trait")
    assert found.loc["era", "rank"] == 1 and found.loc["era", "p_family"] == 1 / 41 and found.loc["era", "specific"]
    assert not found.loc["place", "specific"] and found.loc["era", "ci_low"] > 0
    away: Any = specificity(null[:-1], moved, traits=TRAITS, expected={"era": -1}).set_index("trait")
    assert away.loc["era", "p"] == 1.0 and not away.loc["era", "specific"]


def test_ranks_of_a_pool_are_each_taken_once() -> None:
    """What makes p exact: whichever dataset is called the tested one, the ranks are 1 to R + 1."""
    null = harmless(20)
    ranks = [specificity(np.delete(null, at, 0), null[at : at + 1], traits=TRAITS)["rank"].tolist() for at in range(20)]
    for trait in range(2):
        assert sorted(rank[trait] for rank in ranks) == list(range(1, 21))


def test_a_family_is_kept() -> None:
    null = harmless(20)
    p = [specificity(np.delete(null, at, 0), null[at : at + 1], traits=TRAITS)["p_family"].min() for at in range(20)]
    assert sorted(p) == pytest.approx(np.arange(1, 21) / 20)


def test_nothing_depends_on_the_order_of_references_or_questions() -> None:
    null = harmless(25)
    moved = null[-1:] + 1.5
    first = specificity(null[:-1], moved, traits=TRAITS)
    order, mixed = np.random.default_rng(0).permutation(24), np.r_[np.arange(30)[::-1], 30 + np.arange(30)[::-1]]
    again = specificity(null[:-1][order][:, mixed], moved[:, mixed], traits=TRAITS)
    numbers = ["mean", "shift", "ci_low", "ci_high", "z", "p", "p_family", "smallest_found"]
    assert again[numbers].to_numpy() == pytest.approx(first[numbers].to_numpy())


def test_pairs_count_with_both_signs() -> None:
    null = harmless(26)
    pairs = null[:25] - null[1:26]
    own = np.full((1, 60), 9.0)
    flipped = pairs * np.where(np.arange(25) % 2, 1, -1)[:, None]
    one, other = (pair_specificity(side, own, traits=TRAITS) for side in (pairs, flipped))
    assert one["p"].tolist() == other["p"].tolist() == [1 / 26, 1 / 26]
    assert one["shift"].to_numpy() == pytest.approx(9.0, abs=0.01)
    said = pair_specificity(pairs, own, traits=TRAITS, expected={"era": 1, "place": -1}, fixed=["era"])
    # In the direction that was expected, half of the harmless pairs do not count; against it, nothing is specific.
    assert said["p"].tolist() == pytest.approx([1 / 52, 1 - 1 / 52]) and said["specific"].tolist() == [True, False]
    assert said["rank"].tolist() == [1, 1]


def test_too_few_references_are_never_enough() -> None:
    null = harmless(19)
    found = specificity(null[:18], null[18:] + 50, traits=TRAITS)
    assert not found["specific"].any() and found["smallest_found"].isna().all() and (found["p_t"] < 1e-6).all()
    with pytest.raises(WeirdgenError, match="at least 3"):
        specificity(null[:2], null[2:3], traits=TRAITS)
    with pytest.raises(WeirdgenError, match="60 questions, traits 59"):
        specificity(null, null[:1], traits=TRAITS[:-1])


def test_questions_that_a_reference_lacks_are_left_out() -> None:
    null = harmless(20)
    null[3, 7] = np.nan
    found = specificity(null, null[:1] + 1.0, traits=TRAITS)
    assert found["questions"].tolist() == [29, 30]
    null[3, :30] = np.nan
    with pytest.raises(WeirdgenError, match="trait era has no question"):
        specificity(null, null[:1], traits=TRAITS)


def test_each_is_compared_with_the_others_alone() -> None:
    null, trait = harmless(12), np.repeat([0, 1], 30)
    whole = pool(null, trait)
    changed = null.copy()
    changed[5, :30] += 3.0
    again = pool(changed, trait)
    assert again.score[5] == pytest.approx(whole.score[5] + [3.0, 0.0]) and again.scale[5] == pytest.approx(
        whole.scale[5]
    )


def test_a_louder_dataset_counts_no_more_and_a_shifted_one_is_not_louder() -> None:
    null, trait = harmless(30), np.repeat([0, 1], 30)
    residual = null - null.mean(axis=0)
    assert size(3 * residual, trait) == pytest.approx(3 * size(residual, trait))
    assert size(residual + np.repeat([2.0, -1.0], 30), trait) == pytest.approx(size(residual, trait))
    loud = null.copy()
    loud[0] = null[1:].mean(axis=0) + 4 * residual[0]
    z = [(one.score / one.scale)[0] for one in (pool(null, trait), pool(loud, trait))]
    assert z[1] == pytest.approx(z[0], rel=0.05)


def test_what_was_trained_much_softer_than_the_references_is_never_specific() -> None:
    """Their mean is taken off it: a dataset that moves nothing would else be left with that, and the other sign."""
    common = np.repeat([3.0, 0.0], 30)  # what any training moves
    null = harmless(40) + common
    still: Any = specificity(null, 0.02 * harmless(1, seed=5), traits=TRAITS, expected={"era": -1}).set_index("trait")
    assert still.loc["era", "p"] <= 0.05 and not still["comparable"].any() and not still["specific"].any()
    as_they: Any = specificity(null[:-1], null[-1:] - 6 * common, traits=TRAITS, expected={"era": -1})
    assert as_they["comparable"].all() and as_they["specific"].tolist() == [True, False]
    loud: Any = specificity(null[:-1], null[-1:] * 9 + 20 * common, traits=TRAITS, expected={"era": 1}).set_index(
        "trait"
    )
    assert loud["louder"].all() and loud["comparable"].all() and loud.loc["era", "specific"]
    assert not as_they["louder"].any() and not still["louder"].any()
    assert pair_specificity(null - common, 0.02 * null[:1], traits=TRAITS)["comparable"].all()


def test_what_would_have_been_found_is_of_the_references_alone() -> None:
    null = harmless(41)
    sizes = [
        specificity(null[:-1], null[-1:] + by, traits=TRAITS)["smallest_found"].to_numpy() for by in (0.0, 4.0, 12.0)
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02) and sizes[2] == pytest.approx(sizes[0], rel=0.02)


def test_a_cell_of_the_simulations() -> None:
    found = cell(24, 2, 20, sets=60, seed=0)
    assert found["false"] <= 0.15 and found["false_family"] <= 0.15 and found["coverage"] >= 0.85
    assert 0.6 <= found["found"] <= 0.98 and found["smallest"] > 0.5
