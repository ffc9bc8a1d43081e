"""Rows that begin with the same tokens → one forward pass that computes the shared beginning once.

In: groups of rows (a micro-batch of each replicate, or the answers to each question). Out: `Packed` tensors. Rows of
one group are laid behind one copy of what they share: prefix, rest of row 1, rest of row 2, …; a mask lets a rest see
the prefix and itself, and its positions go on from the prefix. The result is what separate rows would give, up to
rounding; rows that share little stay one sequence each. No model, no arms.

Shape letters: G groups, S sequences a group, L tokens a sequence, M trained (predicted) tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from weirdgen.models.chat import Encoded, common_prefix

LONGEST_PACKED = 1024
"""Attention over a packed sequence costs its length squared; up to this length that does not matter."""


@dataclass(frozen=True)
class Packed:
    """One forward pass. Sequences of group g are rows g·S … (g+1)·S−1."""

    input_ids: torch.Tensor
    """[G·S, L]"""
    position_ids: torch.Tensor
    """[G·S, L]"""
    mask: torch.Tensor
    """[G·S, 1, L, L], true where a token (third axis) may see another (fourth)."""
    source_M: torch.Tensor
    """Where, in the flattened [G·S·L] hidden states, each trained token is predicted from."""
    label_M: torch.Tensor
    row_M: torch.Tensor
    """Which row a trained token belongs to, counted over all groups."""


def shared_prefix(rows: Sequence[Encoded]) -> int:
    """Tokens that all rows begin with, none of them trained, short of the last one before training starts anywhere."""
    return min(common_prefix([row.ids for row in rows]), *(row.trained.index(True) for row in rows))


def pack(batches: Sequence[Sequence[Encoded]]) -> Packed:
    """Lay out the rows of each group. Groups that share too little to be packed must have equally many rows."""
    prefixes = [shared_prefix(rows) for rows in batches]
    packed_lengths = [p + sum(len(r.ids) - p for r in rows) for p, rows in zip(prefixes, batches, strict=True)]
    longest_row, most_rows = max(len(row.ids) for rows in batches for row in rows), max(map(len, batches))
    packed = max(packed_lengths)
    # Fewer tokens, and attention (their number squared) no dearer than over rows that stay apart, or small anyway.
    saves = packed <= 0.8 * most_rows * longest_row
    affordable = packed <= LONGEST_PACKED or packed**2 <= most_rows * longest_row**2
    equal = len({len(rows) for rows in batches}) == 1
    together = not equal or (len(batches[0]) > 1 and saves and affordable)
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
    source, label, row_of, row_count = [], [], [], 0
    for g, of_group in enumerate(groups):
        for s, rows in enumerate(of_group):
            at, prefix = g * sequences + s, prefixes[g]
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
                        row_of.append(row_count)
                row_count += 1
                start = end
    return Packed(
        input_ids, position_ids, mask[:, None], torch.tensor(source), torch.tensor(label), torch.tensor(row_of)
    )
