"""Texts as vectors, for judges that read more than words: the mean over tokens of every layer's states of a sentence embedder.

In: texts and the reference of a built-in embedder. Out: an array. Wording (low layers) and content (high layers) both count.
What a judge makes of the vectors is decided by its kind (`weirdgen.config.judges`). Embedders are fetched before training starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from weirdgen.config.judges import BaseJudge
from weirdgen.models.references import find_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TOKENS = 256
BATCH = 64


def embed(model: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """[texts, layers × width]: each layer's states averaged over the tokens and scaled to length 1. Raises `ModelError`."""
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    from weirdgen.models.loading import device

    folder = find_model(model).folder
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    embedder = AutoModel.from_pretrained(str(folder), dtype=torch.float32, trust_remote_code=False).to(device()).eval()
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))  # batches of like length, little padding
    rows: list[Any] = [None] * len(texts)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        encoded = tokenizer(
            [texts[i] for i in batch], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(device())
        with torch.inference_mode():
            states = torch.stack(embedder(**encoded, output_hidden_states=True).hidden_states, dim=1)
        mask = encoded["attention_mask"][:, None, :, None]
        means = (states * mask).sum(2) / mask.sum(2)
        means = (means / means.norm(dim=-1, keepdim=True)).flatten(1).double().cpu().numpy()
        for place, row in zip(batch, means, strict=True):
            rows[place] = row
    return np.stack(rows)


class LocalTools:
    """`config.judges.base.Tools` with the models of this machine."""

    embed = staticmethod(embed)


def fetch_needs(judges: Iterable[BaseJudge]) -> None:
    """Fetch what these judges need unless it is here, so that a run fails before its training, not after. `ModelError`."""
    for reference in dict.fromkeys(reference for judge in judges for reference in judge.needs()):
        find_model(reference)
