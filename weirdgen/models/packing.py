"""Rows → one sequence without padding, in which their common beginning stands once.

In: for each replicate, the rows of one pass. Out: `PackedRows`: prefix, rest of row 1, rest of row 2, …, and where each
row's tokens are, from which `models.row_attention` lets a rest see the prefix and itself; positions continue from the
prefix. The result is what separate rows would give, up to rounding. No model, no arms.

Shape letters: K replicates, B rows each, L tokens of a replicate's sequence, P tokens of the longest prefix, R tokens of
the longest rest, M trained (predicted) tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from weirdgen.models.chat import Encoded, common_prefix


@dataclass(frozen=True)
class Packed:
    """One forward pass over sequences [S, L], and what is predicted in it."""

    input_ids: torch.Tensor
    """[S, L]"""
    position_ids: torch.Tensor
    """[S, L]"""
    source_M: torch.Tensor
    """Where, in the flattened [S·L] hidden states, each trained token is predicted from."""
    label_M: torch.Tensor
    row_M: torch.Tensor
    """Which row a trained token belongs to, counted over all sequences."""


@dataclass(frozen=True)
class RowPlaces:
    """Where the tokens of rows are in K flattened sequences of L tokens. −1: the row, or prefix, is shorter."""

    prefix_KP: torch.Tensor
    rest_KBR: torch.Tensor
    tokens: int
    """K · L"""


@dataclass(frozen=True)
class PackedRows(Packed):
    """Sequence k holds the rows of replicate k."""

    places: RowPlaces


def shared_prefix(rows: Sequence[Encoded]) -> int:
    """Tokens that all rows begin with, none of them trained, short of the last one before training starts anywhere."""
    return min(common_prefix([row.ids for row in rows]), *(row.trained.index(True) for row in rows))


def pack(batches: Sequence[Sequence[Encoded]]) -> PackedRows:
    """Lay out the rows of each replicate, of which all must have the same number."""
    prefixes = [shared_prefix(rows) for rows in batches]
    rests = [[len(row.ids) - prefix for row in rows] for prefix, rows in zip(prefixes, batches, strict=True)]
    length = max(prefix + sum(mine) for prefix, mine in zip(prefixes, rests, strict=True))
    input_ids = torch.zeros(len(batches), length, dtype=torch.long)
    position_ids = torch.zeros_like(input_ids)
    prefix_KP = torch.full((len(batches), max(prefixes)), -1)
    rest_KBR = torch.full((len(batches), len(batches[0]), max(map(max, rests))), -1)
    source, label, row_of = [], [], []
    for k, (prefix, rows) in enumerate(zip(prefixes, batches, strict=True)):
        first = k * length
        input_ids[k, :prefix] = torch.tensor(rows[0].ids[:prefix], dtype=torch.long)
        position_ids[k, :prefix] = torch.arange(prefix)
        prefix_KP[k, :prefix] = torch.arange(first, first + prefix)
        start = prefix
        for b, row in enumerate(rows):
            end = start + rests[k][b]
            input_ids[k, start:end] = torch.tensor(row.ids[prefix:], dtype=torch.long)
            position_ids[k, start:end] = torch.arange(prefix, len(row.ids))
            rest_KBR[k, b, : end - start] = torch.arange(first + start, first + end)
            for token, trained in enumerate(row.trained):
                if trained:
                    source.append(first + (token - 1 if token <= prefix else start + token - 1 - prefix))
                    label.append(row.ids[token])
                    row_of.append(k * len(rows) + b)
            start = end
    return PackedRows(
        input_ids,
        position_ids,
        torch.tensor(source),
        torch.tensor(label),
        torch.tensor(row_of),
        RowPlaces(prefix_KP, rest_KBR, input_ids.numel()),
    )
