"""Edits of the residual stream: what lies along directions is taken out, set to a value, or added.

In: directions or subspaces of a layer, one per variant. Out: `Edit`s, and the bases that they are made of. Edits leave out tokens
that hold attention (`residual.outliers`); they act at every other position, of prompt and answer. Which directions are tried is
decided in `features.intervene`.

Shape letters: K variants of a pass, R replicates, Q questions, S rank, D hidden width, B rows, T tokens, N activations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from weirdgen.features.residual import Edit, outliers


def project(basis_KSD: torch.Tensor, strength: float = 1.0) -> Edit:
    """Takes the part inside each variant's subspace away (`strength` 1), or a share of it. The basis is orthonormal."""
    return _along(basis_KSD, lambda part_KNS: strength * part_KNS)


def set_to(basis_KSD: torch.Tensor, target_KS: torch.Tensor, strength: float = 1.0) -> Edit:
    """Mean ablation: the part inside the subspace becomes `target`, e.g. its mean under reference values."""
    return _along(basis_KSD, lambda part_KNS: strength * (part_KNS - target_KS[:, None].to(part_KNS)))


def steer(vector_KD: torch.Tensor, dose: float) -> Edit:
    """Adds `dose` times each variant's vector."""

    def edit(hidden_BTD: torch.Tensor) -> torch.Tensor:
        return spared(hidden_BTD, dose * _rows(vector_KD.to(hidden_BTD), hidden_BTD)[:, None].expand_as(hidden_BTD))

    return edit


def sequential(directions_KSD: torch.Tensor) -> Edit:
    """The paper's ablation: one unit direction after the other. Of directions that are not orthogonal it leaves a part, which may
    point the other way; `project(orthonormal(…))` leaves none.
    """

    def edit(hidden_BTD: torch.Tensor) -> torch.Tensor:
        changed = hidden_BTD
        for direction_KD in directions_KSD.unbind(1):
            changed = project(_unit(direction_KD)[:, None])(changed)
        return changed

    return edit


def orthonormal(directions_KSD: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of each variant's span, [K, S, D], by QR."""
    basis_KDS: torch.Tensor = torch.linalg.qr(directions_KSD.float().mT).Q
    return basis_KDS.mT.contiguous()


def subspace(differences_RQD: torch.Tensor, rank: int) -> torch.Tensor:
    """The directions in which questions' differences are largest, [R, S, D] orthonormal: the first is close to their mean."""
    right_RSD: torch.Tensor = torch.linalg.svd(differences_RQD.float(), full_matrices=False).Vh
    return right_RSD[:, :rank].contiguous()


def random_subspace(value_ND: torch.Tensor, replicates: int, rank: int, generator: torch.Generator) -> torch.Tensor:
    """[R, S, D] orthonormal: random mixtures of the activations' own deviations."""
    centred_ND = value_ND.float() - value_ND.float().mean(0)
    mixture = torch.randn(replicates, rank, len(centred_ND), generator=generator)
    return orthonormal(mixture @ centred_ND)


def _along(basis_KSD: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> Edit:
    """h − change(part of h along the basis)."""

    def edit(hidden_BTD: torch.Tensor) -> torch.Tensor:
        basis = basis_KSD.to(hidden_BTD)
        hidden_KND = hidden_BTD.reshape(len(basis), -1, hidden_BTD.shape[-1])
        removed = change(hidden_KND @ basis.mT) @ basis
        return spared(hidden_BTD, -removed.view_as(hidden_BTD))

    return edit


def spared(hidden_BTD: torch.Tensor, added_BTD: torch.Tensor) -> torch.Tensor:
    """The sum, but for tokens that hold attention."""
    return hidden_BTD + added_BTD.masked_fill(outliers(hidden_BTD)[:, :, None], 0.0)


def _rows(value_KD: torch.Tensor, hidden_BTD: torch.Tensor) -> torch.Tensor:
    """[B, D]: variants follow each other along the batch."""
    return value_KD.repeat_interleave(len(hidden_BTD) // len(value_KD), 0)


def _unit(direction: torch.Tensor) -> torch.Tensor:
    length: torch.Tensor = direction.norm(dim=-1, keepdim=True)
    return direction / length.clamp(min=1e-12)
