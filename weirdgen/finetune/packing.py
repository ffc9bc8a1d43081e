"""Rows of several replicates → one forward pass that computes a shared prompt once.

In: for each of K replicates the rows of its micro-batch. Out: `Packed` tensors. Rows of one replicate that begin with
the same tokens are laid behind one copy of them: prefix, rest of row 1, rest of row 2, …; a mask lets a rest see the
prefix and itself, and its positions go on from the prefix. The result is what separate rows would give, up to
rounding; rows that share little stay one sequence each. No model, no arms.

Shape letters: K replicates, S sequences a replicate, L tokens a sequence, M trained tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from weirdgen.data.proof import Encoded

LONGEST_PACKED = 1024
"""Attention over a packed sequence costs its length squared; beyond this, rows stay apart."""


@dataclass(frozen=True)
class Packed:
    """One forward pass. Sequences of replicate k are rows k·S … (k+1)·S−1."""

    input_ids: torch.Tensor
    """[K·S, L]"""
    position_ids: torch.Tensor
    """[K·S, L]"""
    mask: torch.Tensor
    """[K·S, 1, L, L], true where a token (third axis) may see another (fourth)."""
    source_M: torch.Tensor
    """Where, in the flattened [K·S·L] hidden states, each trained token is predicted from."""
    label_M: torch.Tensor
    replicate_M: torch.Tensor


def shared_prefix(rows: Sequence[Encoded]) -> int:
    """Tokens that all rows begin with, none of them trained, short of the last one before training starts anywhere."""
    ids = [row.ids for row in rows]
    first, last = min(ids), max(ids)
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return min(shared, *(row.trained.index(True) for row in rows))


def pack(batches: Sequence[Sequence[Encoded]]) -> Packed:
    """Lay out one micro-batch of each replicate. All replicates must bring equally many rows."""
    prefixes = [shared_prefix(rows) for rows in batches]
    packed_lengths = [p + sum(len(r.ids) - p for r in rows) for p, rows in zip(prefixes, batches, strict=True)]
    apart = max(len(row.ids) for rows in batches for row in rows) * max(map(len, batches))
    together = len(batches[0]) > 1 and max(packed_lengths) <= min(LONGEST_PACKED, 0.8 * apart)
    if together:
        groups = [[list(rows)] for rows in batches]
    else:
        groups = [[[row] for row in rows] for rows in batches]
        prefixes = [0] * len(batches)
        packed_lengths = [max(len(row.ids) for row in rows) for rows in batches]
    sequences, longest = len(groups[0]), max(packed_lengths)
    input_ids = torch.zeros(len(batches) * sequences, longest, dtype=torch.long)
    position_ids = torch.zeros_like(input_ids)
    mask = torch.eye(longest, dtype=torch.bool).repeat(len(input_ids), 1, 1)  # padding sees itself: no empty softmax
    source, label, replicate = [], [], []
    for k, of_replicate in enumerate(groups):
        for s, rows in enumerate(of_replicate):
            at, prefix = k * sequences + s, prefixes[k]
            start = prefix
            input_ids[at, :prefix] = torch.tensor(rows[0].ids[:prefix], dtype=torch.long)
            position_ids[at, :prefix] = torch.arange(prefix)
            mask[at, :prefix, :prefix] = torch.ones(prefix, prefix, dtype=torch.bool).tril()
            for row in rows:
                rest = len(row.ids) - prefix
                end = start + rest
                input_ids[at, start:end] = torch.tensor(row.ids[prefix:], dtype=torch.long)
                position_ids[at, start:end] = torch.arange(prefix, len(row.ids))
                mask[at, start:end, :prefix] = True
                mask[at, start:end, start:end] = torch.ones(rest, rest, dtype=torch.bool).tril()
                for token, trained in enumerate(row.trained):
                    if trained:
                        before = token - 1 if token <= prefix else start + token - 1 - prefix
                        source.append(at * longest + before)
                        label.append(row.ids[token])
                        replicate.append(k)
                start = end
    return Packed(
        input_ids, position_ids, mask[:, None], torch.tensor(source), torch.tensor(label), torch.tensor(replicate)
    )
