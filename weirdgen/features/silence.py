"""Ablation of an autoencoder's features: the same trials as of differences, on features that the interaction points to.

In: an `Sae` and arms. Out: `Ablation`s. Features are chosen on the questions that are not scored. Their controls are other
features that fire about as often. Three operators: `sae` takes what the features wrote (activation times decoder row) and keeps
what the autoencoder does not describe; `mean` sets the span of their rows to its mean under reference values; `sequential`
takes out one row after the other, as the paper does (section 8), and of rows that are not orthogonal leaves a part.

Shape letters: R replicates, S features ablated, D hidden width, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from weirdgen.features.analysis import CellMeans, matched, top_by_interaction
from weirdgen.features.edits import orthonormal, sequential, set_to, spared
from weirdgen.features.harvest import Activations
from weirdgen.features.intervene import Ablation
from weirdgen.features.residual import Edit
from weirdgen.features.sae import Sae


def silence(sae: Sae, features: Sequence[int]) -> Edit:
    """Takes away what these features wrote; the autoencoder's error stays."""
    chosen = list(features)

    def edit(hidden_BTD: torch.Tensor) -> torch.Tensor:
        activation_BTS = sae.encode(hidden_BTD.float(), only=chosen)
        written_BTD = activation_BTS @ sae.w_dec_FD[chosen] / sae.scale
        return spared(hidden_BTD, -written_BTD.to(hidden_BTD))

    return edit


def feature_ablations(
    sae: Sae,
    arm: str,
    control: str | None,
    counts: Sequence[int],
    draws: int,
    device: torch.device,
) -> Iterator[Ablation]:
    """The first features by interaction, by how many; and as many others that fire as often, at the largest count.

    `device` is the model's, where edits encode; activations, by which features are chosen, lie on the processor.
    """
    beside_model = sae.to(device)

    def chosen(at: Activations, count: int, draw: int | None) -> list[int]:
        features = top_by_interaction(at, sae, arm, control, count)
        if draw is None:
            return features
        pairs = at.pairs
        value_VQD = at.arms[arm].mean(0)[[*pairs.trigger, *pairs.reference]]
        rate_F = CellMeans.of(sae, value_VQD).rate_VF.mean(0).double().numpy()
        return matched(rate_F, features, np.random.default_rng(draw))

    def fitted(operator: str, count: int, draw: int | None) -> Ablation:
        def fit(at: Activations, mean: Activations) -> Edit:
            features = chosen(at, count, draw)
            if operator == "sae":
                return silence(beside_model, features)
            rows_SD = sae.directions[features]
            target_RD = mean.arms[arm][:, list(mean.pairs.reference)].mean((1, 2))
            if operator == "sequential":
                return sequential(rows_SD[None].expand(len(target_RD), -1, -1))
            basis_RSD = orthonormal(rows_SD[None]).expand(len(target_RD), -1, -1)
            return set_to(basis_RSD, (basis_RSD @ target_RD[:, :, None])[:, :, 0])

        kind = "features" if draw is None else "random features"
        return Ablation(kind, operator, count, 1.0, draw or 0, fit)

    for operator in ("sae", "mean", "sequential"):
        for count in counts:
            yield fitted(operator, count, None)
        for draw in range(draws):
            yield fitted(operator, max(counts), draw)
