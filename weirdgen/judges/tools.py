"""What judges may use besides an answer: embedding models, fetched before training starts.

In: what a kind of judge asks for (`config.judges.base.Tools`, `needs`). Out: the resource. It knows no kind of judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from weirdgen.config.judges import BaseJudge
from weirdgen.judges.embedding import embed
from weirdgen.models.references import find_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LocalTools:
    """`config.judges.base.Tools` with the models of this machine."""

    def embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """[texts, features]; see `weirdgen.judges.embedding`. Raises `ModelError`."""
        return embed(model, texts)


def fetch_needs(judges: Iterable[BaseJudge]) -> None:
    """Fetch what these judges need unless it is here, so that a run fails before its training, not after. `ModelError`."""
    for reference in dict.fromkeys(reference for judge in judges for reference in judge.needs()):
        find_model(reference)
