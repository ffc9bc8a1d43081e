"""Losses behind a frozen head equal torch's cross-entropy, in values and gradients, whatever the portions."""

from __future__ import annotations

import pytest
import torch

from weirdgen.finetune import loss


@pytest.mark.parametrize("with_bias", [False, True])
def test_token_losses_equal_cross_entropy(with_bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "LOGITS_AT_ONCE", 4)  # three portions, the last one short
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(10, 6, generator=generator).requires_grad_()
    weight = torch.randn(30, 6, generator=generator)
    bias = torch.randn(30, generator=generator) if with_bias else None
    label = torch.randint(30, (10,), generator=generator)
    share = torch.rand(10, generator=generator)

    mine = loss.token_losses(hidden, weight, bias, label)
    theirs = torch.nn.functional.cross_entropy(
        torch.nn.functional.linear(hidden, weight, bias), label, reduction="none"
    )
    assert torch.allclose(mine, theirs, atol=1e-5)
    (gradient,), (expected,) = (torch.autograd.grad((x * share).sum(), hidden) for x in (mine, theirs))
    assert torch.allclose(gradient, expected, atol=1e-5)
