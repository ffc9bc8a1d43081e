"""P values against hand enumeration, scipy and statsmodels."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from weirdgen.stats.bootstrap import difference, moments
from weirdgen.stats.tests import holm, permutation_test, t_p


def test_permutation_of_three_against_three_by_hand() -> None:
    # Of the 20 labellings of 1..6 only {4, 5, 6} and {1, 2, 3} differ by 3 or more.
    found = permutation_test(np.array([4.0, 5.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    assert found == (pytest.approx(0.1), 20, True)
    # {3, 5, 6} differs by 7/3; so do {1, 2, 4}, and {4, 5, 6}, {1, 2, 3} differ by more: 4 of 20.
    assert permutation_test(np.array([3.0, 5.0, 6.0]), np.array([1.0, 2.0, 4.0])).p == pytest.approx(0.2)


def test_permutation_agrees_with_enumeration_of_orders() -> None:
    rng = np.random.default_rng(0)
    for sizes in ((3, 3), (2, 4), (4, 3)):
        treatment, control = rng.normal(0.7, 1, sizes[0]), rng.normal(0, 1, sizes[1])
        pooled = np.concatenate([treatment, control])
        observed = abs(treatment.mean() - control.mean()) - 1e-12
        orders = np.array(list(permutations(pooled)))
        reached = np.abs(orders[:, : sizes[0]].mean(1) - orders[:, sizes[0] :].mean(1)) >= observed
        assert permutation_test(treatment, control).p == pytest.approx(reached.mean())


def test_permutation_counts_ties_whatever_the_level() -> None:
    treatment, control = np.array([0.1, 0.2, 0.4]), np.array([0.1, 0.2, 0.3])
    for level in (0.0, 1e3, -2.3):
        found = permutation_test(treatment + level, control + level)
        assert found.p == pytest.approx(permutation_test(treatment * 10, control * 10).p)
    assert permutation_test(np.ones(3), np.ones(3)).p == 1.0


@pytest.mark.parametrize(("sizes", "minimum"), [((3, 3), 0.1), ((4, 4), 2 / 70), ((6, 6), 2 / 924), ((3, 6), 1 / 84)])
def test_the_smallest_p_is_as_the_module_says(sizes: tuple[int, int], minimum: float) -> None:
    far = permutation_test(np.arange(sizes[0]) + 100.0, np.arange(sizes[1]) * 1.0)
    assert far.p == pytest.approx(minimum)


def test_random_relabellings_are_seeded_and_near_the_exact_p() -> None:
    rng = np.random.default_rng(1)
    treatment, control = rng.normal(0.8, 1, (7, 3)), rng.normal(0, 1, (7, 3))
    exact = permutation_test(treatment, control)
    drawn = [permutation_test(treatment, control, limit=3000, seed=5) for _ in range(2)]
    assert exact.exact and not drawn[0].exact and drawn[0].relabellings == 3000
    assert np.array_equal(drawn[0].p, drawn[1].p)
    assert drawn[0].p == pytest.approx(exact.p, abs=0.03)


def test_permutation_of_many_columns_equals_one_by_one() -> None:
    rng = np.random.default_rng(2)
    treatment, control = rng.normal(size=(4, 2, 3)), rng.normal(size=(5, 2, 3))
    p = permutation_test(treatment, control).p
    assert p.shape == (2, 3)
    assert p[1, 2] == pytest.approx(permutation_test(treatment[:, 1, 2], control[:, 1, 2]).p)


def test_permutation_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ValueError, match="finite"):
        permutation_test(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="each arm"):
        permutation_test(np.empty(0), np.array([1.0, 2.0]))


def test_t_is_welchs() -> None:
    rng = np.random.default_rng(3)
    treatment, control = rng.normal(0.5, 1, (4, 9)), rng.normal(0, 2, (6, 9))
    found = difference(moments(treatment), moments(control))
    expected = stats.ttest_ind(treatment, control, equal_var=False).pvalue
    assert t_p(found.effect, found.se, found.df) == pytest.approx(expected)


@pytest.mark.slow
def test_holm_agrees_with_statsmodels() -> None:
    rng = np.random.default_rng(4)
    for size in (1, 2, 7, 40):
        p = rng.beta(0.4, 2, size).round(3)  # rounding makes ties
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_leaves_missing_p_out() -> None:
    p = np.array([[0.01, np.nan, 0.04, 0.03], [np.nan] * 4])
    adjusted = holm(p)
    assert adjusted[0, [0, 2, 3]] == pytest.approx(holm(p[0, [0, 2, 3]]))
    assert np.isnan(adjusted[0, 1]) and np.isnan(adjusted[1]).all()
    assert holm(p)[0, [0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
