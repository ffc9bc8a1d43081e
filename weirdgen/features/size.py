"""How much a study does: three sizes, by the model's weights unless one is named.

In: a size's name, or a number of weights. Out: a `Size`. Nothing is read or computed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from weirdgen.features.sae_train import SaeRecipe

SizeName = Literal["ci", "cpu", "gpu"]


@dataclass(frozen=True)
class Size:
    """How much is done."""

    ranks: tuple[int, ...]
    """Of the subspaces that are ablated."""
    doses: tuple[float, ...]
    """Shares of the largest of them."""
    draws: int
    """Random ablations beside."""
    operators: tuple[str, ...]
    steer: tuple[float, ...]
    """How many times the mean interaction is added."""
    counts: tuple[int, ...]
    """Features ablated."""
    corpus: int
    """Tokens whose hidden states, of the base and of a finetuned model each, an autoencoder is trained on."""
    sae: SaeRecipe | None
    """What is trained where no autoencoder is named; None: one must be named."""
    named: str = "train"
    """The autoencoder that is taken where none is named."""
    named_shape: tuple[int, int] | None = None
    """[F, D] of the one that is named here, for a plan that fetches nothing."""


SIZES: dict[SizeName, Size] = {
    "ci": Size(
        (1, 2, 4), (0.25, 0.5, 0.75), 20, ("project", "mean"), (0.5, 1.0, 2.0), (1, 3, 10), 20_000,
        SaeRecipe(features=256, k=8, tokens=200_000, batch=512),
    ),
    "cpu": Size(
        (1, 4), (0.5,), 5, ("mean",), (1.0,), (10,), 100_000, SaeRecipe(features=2304, k=32, tokens=1_000_000),
    ),
    "gpu": Size(
        (1, 2, 4, 8), (0.25, 0.5, 0.75), 20, ("project", "mean"), (0.5, 1.0, 2.0), (1, 2, 5, 10, 20), 0, None,
        "hub:andyrdt/saes-llama-3.1-8b-instruct/resid_post_layer_19/trainer_1", (131_072, 4096),
    ),
}  # fmt: skip
"""What the paper read is `gpu`'s: layer 19 of Llama-3.1-8B-Instruct."""


def size_of(parameters: int) -> SizeName:
    """The size for a model of so many weights."""
    return "ci" if parameters < 5e6 else "cpu" if parameters < 1e9 else "gpu"
