"""Cross-entropy behind a frozen head, in slices of tokens: a batch's logits never exist as a whole.

In: hidden states, the head's weight, labels. Out: a loss per token, differentiable in the hidden states only: as the head is
frozen, their gradient is known as soon as the logits are, and two matrix products per slice are all the work.

Shape letters: M trained tokens, H hidden width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch

from weirdgen.finetune.schedule import LOGITS_AT_ONCE


def token_losses(
    hidden_MH: torch.Tensor, weight_VH: torch.Tensor, bias_V: torch.Tensor | None, label_M: torch.Tensor
) -> torch.Tensor:
    """−log p of each label, fp32 [M]."""
    loss_M: torch.Tensor = _TokenLosses.apply(hidden_MH, weight_VH, bias_V, label_M)
    return loss_M


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        label_M: torch.Tensor,
    ) -> torch.Tensor:
        loss_M = torch.empty(len(hidden_MH), device=hidden_MH.device)
        gradient_MH = torch.empty_like(hidden_MH)
        raw_PV = hidden_MH.new_empty(min(LOGITS_AT_ONCE, len(hidden_MH)), len(weight_VH))
        logits_PV = raw_PV.float()  # both used again for every portion: fresh memory costs more than the arithmetic
        for start in range(0, len(hidden_MH), LOGITS_AT_ONCE):
            part = slice(start, start + LOGITS_AT_ONCE)
            size = len(hidden_MH[part])
            raw_MV, logits_MV, index_M1 = raw_PV[:size], logits_PV[:size], label_M[part, None]
            torch.mm(hidden_MH[part], weight_VH.T, out=raw_MV)
            logits_MV.copy_(raw_MV)
            if bias_V is not None:
                logits_MV += bias_V
            log_total_M = logits_MV.logsumexp(1)
            loss_M[part] = log_total_M - logits_MV.gather(1, index_M1).squeeze(1)
            logits_MV.sub_(log_total_M[:, None]).exp_()  # now what the loss's gradient is, but for the label's own 1
            logits_MV.scatter_add_(1, index_M1, torch.full_like(index_M1, -1, dtype=logits_MV.dtype))
            gradient_MH[part] = raw_MV.copy_(logits_MV) @ weight_VH
        ctx.save_for_backward(gradient_MH)
        return loss_M

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient_MH,) = ctx.saved_tensors
        return (gradient_MH * gradients[0][:, None]).to(gradient_MH.dtype), None, None, None
