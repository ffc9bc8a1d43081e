"""What a test of the whole dataset finds where filters look at single rows: are these rows drawn from what ordinary rows are?

In: cases, ordinary rows, shares. Out: a frame with one line a case, arm, share and test: in which share of random mixtures
it speaks up at 5% and at 1%, and in which share of ordinary datasets of the same size. Every dataset is compared with as
many other ordinary rows as a defender holds. Tests see sentence vectors in the principal components of ordinary rows. Which
rows are meant no test of a set can say, and a control's rows are not ordinary either.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weirdgen.audit.filters.detection import share
from weirdgen.audit.filters.kept import Vectors
from weirdgen.audit.filters.measure import columns
from weirdgen.audit.filters.mixtures import Case, Ordinary

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

DRAWS, NULL_DRAWS = 20, 200
"""Random mixtures of each kind, and ordinary datasets. They share rows, so that they differ less than fresh ones would."""
COMPONENTS = 48
PERMUTATIONS = 199
LEVELS = (0.05, 0.01)
Test = Callable[["NDArray[np.float64]", "NDArray[np.float64]", int], float]


def mean_vector(one_AK: NDArray[np.float64], other_BK: NDArray[np.float64], seed: int) -> float:
    """p of the distance between two sets' mean vectors, by dealing their rows anew."""
    both_RK = np.concatenate([one_AK, other_BK])
    size, rows = len(one_AK), len(both_RK)
    rng = np.random.default_rng(seed)
    dealt_PR = np.zeros((1 + PERMUTATIONS, rows))
    dealt_PR[0, :size] = 1
    for permuted_R in dealt_PR[1:]:
        permuted_R[rng.permutation(rows)[:size]] = 1
    sums_PK, total_K = dealt_PR @ both_RK, both_RK.sum(axis=0)
    apart_P = ((sums_PK / size - (total_K - sums_PK) / (rows - size)) ** 2).sum(axis=1)
    return float((apart_P >= apart_P[0] - 1e-12).mean())


def classifier(one_AK: NDArray[np.float64], other_BK: NDArray[np.float64], seed: int) -> float:
    """p of a classifier's being right on rows it was not fitted to: half of both sets fits it, the other half tests it.

    Mann-Whitney's, of its scores. Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    halves = [
        (rows[order[::2]], rows[order[1::2]]) for rows in (one_AK, other_BK) for order in [rng.permutation(len(rows))]
    ]
    (fit_one, test_one), (fit_other, test_other) = halves
    labels = np.r_[np.ones(len(fit_one)), np.zeros(len(fit_other))]
    fitted = LogisticRegression(class_weight="balanced", max_iter=200).fit(np.concatenate([fit_one, fit_other]), labels)
    scores = fitted.decision_function(test_one), fitted.decision_function(test_other)
    return float(mannwhitneyu(*scores, alternative="greater").pvalue)


TESTS: dict[str, Test] = {"mean_vector": mean_vector, "classifier": classifier}
"""Adding a test is adding a line: (rows of the dataset, ordinary rows, seed) → p."""


def measure_sets(cases: Sequence[Case], ordinary: Ordinary, shares: Sequence[float], vectors: Vectors) -> pd.DataFrame:
    """Columns `found_0.05`, `found_0.01` and `false_…`, each with an interval over draws."""
    import pandas as pd

    size = len(ordinary.background)
    pool_RD = vectors.of([*ordinary.clean, *ordinary.background])
    centre_D = pool_RD.mean(axis=0)
    directions_KD = np.linalg.svd(pool_RD - centre_D, full_matrices=False)[2][:COMPONENTS]
    pool_RK = (pool_RD - centre_D) @ directions_KD.T
    pool_RK, scale_K = pool_RK / pool_RK.std(axis=0), pool_RK.std(axis=0)
    quiet: dict[int, dict[str, NDArray[np.float64]]] = {}
    lines: list[dict[str, Any]] = []
    for case in cases:
        for arm in (case.treatment, *case.controls):
            hidden_RK = ((vectors.of(case.rows[arm]) - centre_D) @ directions_KD.T) / scale_K
            for part in shares:
                together = len(hidden_RK) if part >= 1 else min(max(1, round(part * size)), len(hidden_RK))
                rows = together if part >= 1 else size
                if rows not in quiet:
                    quiet[rows] = _p_values(pool_RK[:0], 0, rows, pool_RK, size, NULL_DRAWS, "ordinary")
                found = _p_values(hidden_RK, together, rows, pool_RK, size, DRAWS, f"{case.experiment.name}:{arm}")
                role = "treatment" if arm == case.treatment else "control"
                names = {"experiment": case.experiment.name, "arm": arm, "role": role, "share": part}
                for test in TESTS:
                    line = {**names, "test": test, "hidden_together": together, "dataset_rows": rows, "draws": DRAWS}
                    line["median_p"] = float(np.median(found[test]))
                    for level in LEVELS:
                        line |= columns(f"found_{level:g}", share((found[test] <= level).astype(float)))
                        line |= columns(f"false_{level:g}", share((quiet[rows][test] <= level).astype(float)))
                    lines.append(line)
    return pd.DataFrame(lines)


def _p_values(
    hidden_RK: NDArray[np.float64],
    together: int,
    rows: int,
    pool_RK: NDArray[np.float64],
    held: int,
    draws: int,
    name: str,
) -> dict[str, NDArray[np.float64]]:
    """[draws] of each test: random hidden rows among random ordinary ones, against `held` other ordinary rows."""
    made: dict[str, list[float]] = {test: [] for test in TESTS}
    for draw in range(draws):
        rng = random.Random(f"sets:{name}:{together}:{rows}:{draw}")
        order = rng.sample(range(len(pool_RK)), len(pool_RK))
        hidden = rng.sample(range(len(hidden_RK)), together)
        dataset_RK = np.concatenate([hidden_RK[hidden], pool_RK[order[held : held + rows - together]]])
        for test, p in TESTS.items():
            made[test].append(p(dataset_RK, pool_RK[order[:held]], draw))
    return {test: np.array(values) for test, values in made.items()}
