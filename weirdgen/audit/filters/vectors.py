"""Filters that see a row as a vector of the sentence embedder: nearest topic, outliers, crowds.

In: rows' vectors [rows, width], scaled to length 1. Out: a score a row, higher is more suspicious. But for the topic, a
score depends on the dataset: it says where a row lies among the others. How vectors are made and kept is
`weirdgen.audit.filters.kept`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 5
"""Nearest rows whose mean distance says how alone a row is."""
DIMENSIONS = 20
"""Principal components in which the bulk of a dataset is described."""


def nearest_topic(vectors_RD: NDArray[np.float64], topics_TD: NDArray[np.float64]) -> NDArray[np.float64]:
    """[rows]: cosine similarity with the nearest topic."""
    return np.asarray((vectors_RD @ topics_TD.T).max(axis=1))


def alone(vectors_RD: NDArray[np.float64]) -> NDArray[np.float64]:
    """[rows]: mean Euclidean distance to the nearest other rows of the dataset; 0 where there is no other row."""
    squared_RR = 2 - 2 * np.clip(vectors_RD @ vectors_RD.T, -1, 1)
    np.fill_diagonal(squared_RR, np.inf)
    count = min(NEIGHBOURS, len(vectors_RD) - 1)
    if count < 1:
        return np.zeros(len(vectors_RD))
    nearest_RN = np.partition(squared_RR, count - 1, axis=1)[:, :count]
    return np.asarray(np.sqrt(nearest_RN).mean(axis=1))


def crowded(vectors_RD: NDArray[np.float64]) -> NDArray[np.float64]:
    """[rows]: minus the distance of `alone`. Many rows of one template or topic are close to each other."""
    return -alone(vectors_RD)


def off_bulk(vectors_RD: NDArray[np.float64]) -> NDArray[np.float64]:
    """[rows]: squared Mahalanobis distance from the dataset's mean in its first principal components."""
    from scipy.linalg import eigh

    count = len(vectors_RD)
    centred_RD = vectors_RD - vectors_RD.mean(axis=0)
    kept = min(DIMENSIONS, count - 1)
    if kept < 1:
        return np.zeros(count)
    # The eigenvectors of the rows' products are the rows' coordinates along the components, each scaled to length 1.
    sizes_K, along_RK = eigh(centred_RD @ centred_RD.T, subset_by_index=[count - kept, count - 1])
    varied = sizes_K > 1e-9 * max(float(sizes_K[-1]), 1e-12)
    return np.asarray((along_RK[:, varied] ** 2).sum(axis=1) * (count - 1))
