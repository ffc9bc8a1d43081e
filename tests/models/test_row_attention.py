"""Attention by rows equals attention under a mask over the whole sequence, in values and in gradients."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from weirdgen.errors import ModelError
from weirdgen.models import row_attention as rows
from weirdgen.models.chat import Encoded
from weirdgen.models.packing import PackedRows, pack
from weirdgen.models.row_attention import RowLayout, use_row_attention

CPU = torch.device("cpu")


def packed(prefixes: list[int]) -> PackedRows:
    """Three rows a replicate, of different lengths; those of replicate k begin with the same tokens."""
    batches = []
    for k, prefix in enumerate(prefixes):
        common = tuple(range(100, 100 + prefix))
        rests = [tuple(range(10 * b, 10 * b + length)) for b, length in enumerate((2, 5 + k, 3))]
        batches.append([Encoded(common + rest, (False,) * (prefix + 1) + (True,) * (len(rest) - 1)) for rest in rests])
    return pack(batches)


def visible(batch: PackedRows) -> torch.Tensor:
    """[K, L, L]: the mask that says the same, written from the places of the tokens."""
    replicates, length = batch.input_ids.shape
    mask = torch.zeros(replicates, length, length, dtype=torch.bool)
    places = batch.places
    for k in range(replicates):
        prefix = [int(i) - k * length for i in places.prefix_KP[k] if i >= 0]
        for row in [
            prefix,
            *([*prefix, *(int(i) - k * length for i in rest if i >= 0)] for rest in places.rest_KBR[k]),
        ]:
            for n, query in enumerate(row):
                mask[k, query, row[: n + 1]] = True
    return mask


@pytest.mark.parametrize("prefixes", [[4, 4], [0, 0], [4, 2], [6, 0]], ids=str)
@pytest.mark.parametrize("chunk", [1, 2**20], ids=["a replicate at a time", "at once"])
def test_rows_attend_as_under_a_mask(prefixes: list[int], chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rows.CHUNK_WEIGHTS, "cpu", chunk)
    batch = packed(prefixes)
    mask = visible(batch)
    used = mask.any(-1)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(
            *batch.input_ids.shape[:1], heads, batch.input_ids.shape[1], 8, generator=generator
        ).requires_grad_()
        for heads in (4, 2, 2)
    )
    upstream = torch.randn(*batch.input_ids.shape, 4, 8, generator=generator) * used[:, :, None, None]

    layout = RowLayout.of(batch.places, CPU)
    mine, _ = rows.row_attention(torch.nn.Identity(), query, key, value, None, scaling=0.3, row_layout=layout)
    gradients = torch.autograd.grad(mine, (query, key, value), upstream)
    reference = torch.nn.functional.scaled_dot_product_attention(
        query,
        key.repeat_interleave(2, 1),
        value.repeat_interleave(2, 1),
        attn_mask=(mask | ~used[:, :, None])[:, None],
        scale=0.3,
    ).transpose(1, 2)
    expected = torch.autograd.grad(reference, (query, key, value), upstream)

    assert torch.allclose(mine[used], reference[used], atol=1e-6)
    assert not mine[~used].any()  # padding answers nothing
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_other_kinds_of_attention_are_refused() -> None:
    layout = RowLayout.of(packed([2]).places, CPU)
    query = torch.zeros(1, 2, layout.slot_N.numel(), 4)
    with pytest.raises(ValueError, match="sliding_window"):
        rows.row_attention(
            torch.nn.Identity(), query, query, query, None, scaling=1.0, row_layout=layout, sliding_window=8
        )
    with pytest.raises(ModelError, match=r"--set recipe.engine=trl"):
        use_row_attention(SimpleNamespace(_supports_attention_backend=False))
