"""Detectable effects against scipy's noncentral t and a normal limit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weirdgen.stats.power import detection_power, minimum_detectable_effect, replicates_needed


@pytest.mark.parametrize("df", [1.5, 2.0, 3.7, 4.0, 10.0, 18.0])
def test_the_detectable_effect_has_that_power(df: float) -> None:
    effect = float(minimum_detectable_effect(np.float64(0.2), np.float64(df)))
    critical = stats.t.ppf(0.975, df)
    assert stats.nct.sf(critical, df, effect / 0.2) == pytest.approx(0.8, abs=1e-4)
    assert float(detection_power(np.float64(effect), np.float64(0.2), np.float64(df))) == pytest.approx(0.8, abs=1e-4)


def test_the_normal_limit_and_the_cost_of_few_replicates() -> None:
    effect = minimum_detectable_effect(np.ones(3), np.array([1e6, 4.0, 2.0]))
    normal = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert effect / normal == pytest.approx([1.0, 1.34, 2.02], abs=0.005)


def test_unknown_spread_gives_no_detectable_effect() -> None:
    found = minimum_detectable_effect(np.array([0.1, np.nan, 0.1]), np.array([4.0, 4.0, np.nan]))
    assert np.isfinite(found).tolist() == [True, False, False]


def test_power_without_an_effect_is_alpha() -> None:
    assert float(detection_power(np.float64(0), np.float64(1), np.float64(4))) == pytest.approx(0.05)


def test_replicates_needed() -> None:
    n = replicates_needed(1.0, 1.0)
    assert n == 17  # the textbook two-sample answer at 80% power and 5%
    assert replicates_needed(0.01, 1.0, most=50) is None
    with pytest.raises(ValueError, match="positive"):
        replicates_needed(0.0, 1.0)
