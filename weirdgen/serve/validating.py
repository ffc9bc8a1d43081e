"""The loss on a validation file, of each checkpoint of a finished training.

In: a base, adapters, encoded rows. Out: for each adapter the mean loss (nats) over all trained tokens of the rows. Each row goes
alone through the model, as when a prompt is scored for a client.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from weirdgen.models.chat import Encoded, load_tokenizer
from weirdgen.models.references import LocalModel
from weirdgen.serve.base import Base
from weirdgen.serve.gate import Gate


def validation_losses(
    model: LocalModel, adapters: Sequence[Path], rows: Sequence[Encoded], gate: Gate, before_row: Callable[[], object]
) -> list[float]:
    """`before_row` may raise to end it. Raises `ModelError` if an adapter is none of this model."""
    with gate.loading():
        base = Base(model, load_tokenizer(model.folder))
    losses = []
    trained = sum(sum(row.trained) for row in rows)
    with torch.inference_mode():
        for adapter in adapters:
            with gate.loading():
                base.use((adapter,))
            total = 0.0
            for row in rows:
                before_row()
                with gate.step():
                    logprobs, _ = base.given(row.ids, 0, 0)
                total -= sum(value for value, mine in zip(logprobs, row.trained[1:], strict=True) if mine)
            losses.append(total / trained)
    return losses
