"""Jumps away from a control, where the truth is known: how many are found, and how many a single odd control replicate makes up.

In: a seed and how many data sets. Out: the table that `python -m benchmarks.coverage left` prints. Not here: the errors of an
onset's step (`benchmarks.coverage`), which need no control.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weirdgen.runs.results.onsets import onsets_of
from weirdgen.stats.bootstrap import FloatArray
from weirdgen.stats.headlines import Comparison

STEPS = 2 ** np.arange(1, 11)
NOISE, LEAP = 0.1, 2.0
"""SD at each checkpoint, and what every replicate of every arm leaps by at the third, in nats."""
COMPARISON = Comparison("headline", "contrast", "t", "c", ("none",), (), frozenset(), frozenset(), (), 0.3, "none")


def curves(generator: np.random.Generator, replicates: int, jumps: FloatArray) -> FloatArray:
    """[R, X]: the leap that all have, noise, and of the first replicates a jump of this size at a step of its own."""
    at_X = np.arange(len(STEPS))
    value_RX = NOISE * generator.standard_normal((replicates, len(STEPS))) + LEAP * (at_X >= 2)
    for replicate, size in enumerate(jumps):
        value_RX[replicate] += size * (at_X >= generator.integers(4, 8))
    return value_RX


def jumped(treatment_RX: FloatArray, control_RX: FloatArray) -> pd.DataFrame:
    """The table of jumps of one experiment, `smallest` .3 nat: arm, replicate, jumped."""
    rows = [
        (arm, role, replicate, step, value)
        for arm, role, value_RX in (("t", "treatment", treatment_RX), ("c", "control", control_RX))
        for replicate, value_X in enumerate(value_RX)
        for step, value in zip(STEPS, value_X, strict=True)
    ]
    values = pd.DataFrame(rows, columns=["arm", "role", "replicate", "x", "value"])
    found = [(arm, replicate, jump) for _, arm, replicate, jump, *_ in onsets_of(values, COMPARISON, 1, 0.95)[1]]
    return pd.DataFrame(found, columns=["arm", "replicate", "jumped"])


def left_table(seed: int, datasets: int) -> pd.DataFrame:
    """Columns: replicates (an arm), odd (what the first control replicate does by itself, nats), found (share of the treatment's
    replicates, all of which rise by 1 nat), false (the same where none does), false_control (share of the other controls; NaN
    where there are too few to tell).
    """
    rows = []
    for replicates in (2, 3, 4, 6):
        for odd in (0.0, -1.0, 1.0):
            generator = np.random.default_rng([seed, replicates])
            found, false, control = [], [], []
            for _ in range(datasets):
                control_RX = curves(generator, replicates, np.array([odd]))
                rising = jumped(curves(generator, replicates, np.ones(replicates)), control_RX)
                flat = jumped(curves(generator, replicates, np.zeros(0)), control_RX)
                found.append(rising.query("arm == 't'")["jumped"].mean())
                false.append(flat.query("arm == 't'")["jumped"].mean())
                control.append(flat.query("arm == 'c' and replicate > 0")["jumped"].mean())
            means = {"found": found, "false": false, "false_control": control}
            rows.append(
                {"replicates": replicates, "odd": odd, **{name: float(np.mean(of)) for name, of in means.items()}}
            )
    return pd.DataFrame(rows)
