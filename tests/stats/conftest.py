"""Simulated experiments with known truth, shared by the tests of the statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.simulation import rates

Floats = npt.NDArray[np.float64]
Rates = Callable[..., tuple[Floats, float]]


@pytest.fixture
def simulate_rates() -> Rates:
    """Rates of many data sets at once: shape (replicates, data sets, questions), and the true mean over
    questions; see `benchmarks.simulation.rates`."""
    return rates
