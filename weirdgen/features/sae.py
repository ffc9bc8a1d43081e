"""A sparse autoencoder in one canonical form, whatever file it came from.

In: weights. Out: feature activations and reconstructions of hidden states. Every published kind becomes one of three activations:
`relu`; `threshold` (JumpReLU, and BatchTopK as it is used after training); `topk` (per token). Files are read by
`sae_read`; `sae_train` trains.

Shape letters: N tokens, D hidden width, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch

from weirdgen.errors import ModelError

Kind = Literal["relu", "threshold", "topk"]
PORTION = 4096
"""Hidden states that are encoded at a time."""


@dataclass(frozen=True)
class Sae:
    """a = act((s·x − b_dec if subtracted) W_enc + b_enc), x̂ = (a W_dec + b_dec) / s."""

    w_enc_DF: torch.Tensor
    b_enc_F: torch.Tensor
    w_dec_FD: torch.Tensor
    b_dec_D: torch.Tensor
    kind: Kind = "relu"
    threshold_F: torch.Tensor | None = None
    """Of `threshold`: below it a feature is silent. One number for all (shape []) or one a feature."""
    k: int = 0
    """Of `topk`: how many features fire on a token."""
    subtracts: bool = True
    """Whether `b_dec` is taken from the input first."""
    scale: float = 1.0
    """s: what the input is multiplied by."""

    @property
    def features(self) -> int:
        return len(self.w_dec_FD)

    @property
    def width(self) -> int:
        return self.w_dec_FD.shape[1]

    def encode(self, x_ND: torch.Tensor, only: Sequence[int] | None = None) -> torch.Tensor:
        """Activations [N, F], or of some features only, which of `topk` needs all of them."""
        if only is not None and self.kind == "topk":
            return self.encode(x_ND)[..., list(only)]
        w_enc, b_enc, threshold = self.w_enc_DF, self.b_enc_F, self.threshold_F
        if only is not None:
            w_enc, b_enc = w_enc[:, list(only)], b_enc[list(only)]
            threshold = threshold[list(only)] if threshold is not None and threshold.ndim else threshold
        x_ND = x_ND.to(w_enc.dtype) * self.scale
        pre_NF = (x_ND - self.b_dec_D if self.subtracts else x_ND) @ w_enc + b_enc
        positive_NF = torch.relu(pre_NF)
        if self.kind == "threshold" and threshold is not None:
            return positive_NF * (pre_NF > threshold)
        if self.kind == "topk":
            top = positive_NF.topk(self.k, dim=-1)
            return torch.zeros_like(positive_NF).scatter(-1, top.indices, top.values)
        return positive_NF

    def decode(self, activation_NF: torch.Tensor) -> torch.Tensor:
        """Hidden states [N, D]."""
        decoded_ND: torch.Tensor = (activation_NF @ self.w_dec_FD + self.b_dec_D) / self.scale
        return decoded_ND

    @cached_property
    def directions(self) -> torch.Tensor:
        """Decoder rows of norm 1, [F, D]."""
        length_F1: torch.Tensor = self.w_dec_FD.norm(dim=1, keepdim=True)
        return self.w_dec_FD / length_F1.clamp(min=1e-12)

    def folded(self) -> Sae:
        """The same function of raw hidden states, with `scale` 1."""
        if self.scale == 1.0:
            return self
        return replace(
            self,
            w_enc_DF=self.w_enc_DF * self.scale,
            w_dec_FD=self.w_dec_FD / self.scale,
            b_dec_D=self.b_dec_D / self.scale,
            scale=1.0,
        )

    def in_fp32(self) -> Sae:
        """In fp32, `scale` folded in."""
        return self._each(lambda tensor: tensor.float()).folded()

    def to(self, device: torch.device) -> Sae:
        """On this device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Sae:
        threshold_F = None if self.threshold_F is None else change(self.threshold_F)
        weights = [change(tensor) for tensor in (self.w_enc_DF, self.b_enc_F, self.w_dec_FD, self.b_dec_D)]
        return replace(
            self,
            w_enc_DF=weights[0],
            b_enc_F=weights[1],
            w_dec_FD=weights[2],
            b_dec_D=weights[3],
            threshold_F=threshold_F,
        )


def require_shapes(sae: Sae, what: str) -> None:
    """Raises `ModelError` naming `what` unless the shapes fit each other, whatever the numbers are."""
    features, width = sae.w_dec_FD.shape if sae.w_dec_FD.ndim == 2 else (0, 0)
    shapes = {
        "W_enc": (sae.w_enc_DF, (width, features)),
        "b_enc": (sae.b_enc_F, (features,)),
        "b_dec": (sae.b_dec_D, (width,)),
    }
    for name, (tensor, expected) in shapes.items():
        if tuple(tensor.shape) != expected or not features:
            raise ModelError(
                f"{what}: {name} has shape {list(tensor.shape)}, but W_dec {list(sae.w_dec_FD.shape)} needs {list(expected)}"
            )
    if sae.threshold_F is not None and tuple(sae.threshold_F.shape) not in ((), (features,)):
        raise ModelError(f"{what}: the threshold has shape {list(sae.threshold_F.shape)}; expected [] or [{features}]")
    if sae.kind == "threshold" and sae.threshold_F is None:
        raise ModelError(f"{what}: features fire above a threshold, and the file has none")
    if sae.kind == "topk" and not 0 < sae.k <= features:
        raise ModelError(f"{what}: k is {sae.k}; expected 1 to {features}")


def require_finite(sae: Sae, what: str) -> Sae:
    """The autoencoder, if every number of it is finite. Raises `ModelError` naming `what`."""
    weights = [sae.w_enc_DF, sae.b_enc_F, sae.w_dec_FD, sae.b_dec_D, sae.threshold_F]
    if not all(bool(tensor.isfinite().all()) for tensor in weights if tensor is not None):
        raise ModelError(f"{what}: some weights are no finite numbers; the file is damaged")
    return sae


def require_fits(sae: Sae, width: int, what: str) -> None:
    """Raises `ModelError` if an autoencoder is for another model."""
    if sae.width != width:
        raise ModelError(
            f"{what} is for hidden states of width {sae.width}, and the model's are {width} wide; name one for this model, or "
            "--sae train"
        )


@dataclass(frozen=True)
class Fitness:
    """How well an autoencoder describes some hidden states."""

    fvu: float
    """Share of the variance left unexplained."""
    l0: float
    """Features that fire on a token, on average."""
    dead: float
    """Share of the features that fire on none."""
    tokens: int


def fitness(sae: Sae, x_ND: torch.Tensor) -> Fitness:
    """Reconstruction and sparsity over these hidden states."""
    mean_D = x_ND.float().mean(0)
    error = total = fired = 0.0
    ever_F = torch.zeros(sae.features, dtype=torch.bool, device=x_ND.device)
    for start in range(0, len(x_ND), PORTION):
        part_ND = x_ND[start : start + PORTION].float()
        activation_NF = sae.encode(part_ND)
        error += float((sae.decode(activation_NF) - part_ND).square().sum())
        total += float((part_ND - mean_D).square().sum())
        fired += float((activation_NF > 0).sum())
        ever_F |= (activation_NF > 0).any(0)
    return Fitness(error / max(total, 1e-12), fired / len(x_ND), 1 - float(ever_F.float().mean()), len(x_ND))
