"""Simulated experiments with known truth, shared by the tests of the statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit, logit

Floats = npt.NDArray[np.float64]
Rates = Callable[..., tuple[Floats, float]]


@pytest.fixture
def simulate_rates() -> Rates:
    """Rates of many data sets at once: shape (replicates, data sets, questions), and the true mean over
    questions.

    Logit normal replicates and replicate-by-question deviations around a fixed battery (logit SD 1 between
    questions); binomial sampling inside cells.
    """

    def simulate(
        rate: float,
        replicates: int,
        *,
        sets: int,
        questions: int = 8,
        samples: int = 8,
        replicate_sd: float = 0.3,
        cell_sd: float = 0.3,
        seed: int,
    ) -> tuple[Floats, float]:
        battery_Q = np.random.default_rng(99).normal(0, 1, questions) + logit(rate)
        rng = np.random.default_rng(seed)
        truth = expit(battery_Q + rng.normal(0, np.hypot(replicate_sd, cell_sd), (100_000, 1))).mean()
        logits = battery_Q + rng.normal(0, replicate_sd, (replicates, sets, 1))
        p = expit(logits + rng.normal(0, cell_sd, (replicates, sets, questions)))
        return rng.binomial(samples, p) / samples, float(truth)

    return simulate
