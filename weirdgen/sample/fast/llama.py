"""A lean forward pass for Llama-shaped models: fewer, larger operations per layer.

In: a loaded transformers model whose adapters may be stacked (`models.stacked`), token ids. Out: hidden states after the
last norm. q, k, v are one product and gate, up are one; the modules' weights become views of the fused ones, so nothing
is held twice. What attention reads is the caller's (`sample.fast.stream`: prompts shared by their samples). Other
architectures go through their own modules; `LlamaDecoder.fits` says which is which. Knows nothing of prompts or samples.

Shape letters: N tokens of all variants (variants one after the other), K variants, H hidden width, D head width, I inputs,
O outputs, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from weirdgen.models.stacked import StackedLinear

Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(layer, query [N, heads, D], key and value [N, key heads, D]) → [N, heads · D]; query and key are rotated already."""

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
FIXED_ROPES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding whose angles do not depend on how long the sequence is."""


@dataclass
class _Fused:
    """One product for several linear layers that read the same input, and its stacked adapters."""

    weight_OI: torch.Tensor
    bias_O: torch.Tensor | None
    a_KIR: torch.Tensor | None
    b_KRO: torch.Tensor | None

    def __call__(self, x_NI: torch.Tensor) -> torch.Tensor:
        out_NO = torch.nn.functional.linear(x_NI, self.weight_OI, self.bias_O)
        if self.a_KIR is not None and self.b_KRO is not None:
            variants = len(self.a_KIR)
            x_KNR = torch.bmm(x_NI.view(variants, -1, x_NI.shape[1]), self.a_KIR)
            out_NO.view(variants, -1, out_NO.shape[1]).baddbmm_(x_KNR, self.b_KRO)
        return out_NO


@dataclass
class _Layer:
    before_attention: torch.Tensor
    qkv: _Fused
    out: _Fused
    before_mlp: torch.Tensor
    gate_up: _Fused
    down: _Fused


class LlamaDecoder:
    """The decoder of a Llama-shaped model. Made again when the model's adapters change."""

    def __init__(self, model: Any) -> None:
        decoder, config = model.get_decoder(), model.config
        attention = decoder.layers[0].self_attn
        self.head_width: int = attention.head_dim
        self.heads: int = config.num_attention_heads
        self.key_heads: int = config.num_key_value_heads
        self.scaling: float = attention.scaling
        self.dtype: torch.dtype = decoder.embed_tokens.weight.dtype
        self.device: torch.device = decoder.embed_tokens.weight.device
        self._embed = decoder.embed_tokens.weight
        self._rotary = decoder.rotary_emb
        self._epsilon: float = config.rms_norm_eps
        self._norm = decoder.norm.weight
        self.layers = [
            _Layer(
                layer.input_layernorm.weight,
                _fuse([layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]),
                _fuse([layer.self_attn.o_proj]),
                layer.post_attention_layernorm.weight,
                _fuse([layer.mlp.gate_proj, layer.mlp.up_proj]),
                _fuse([layer.mlp.down_proj]),
            )
            for layer in decoder.layers
        ]

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether this pass computes what the model's own modules compute."""
        config = model.config
        rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        sliding = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
        return (
            type(model).__name__ in ARCHITECTURES
            and config.hidden_act == "silu"
            and rope in FIXED_ROPES
            and not sliding
        )

    def __call__(self, token_N: torch.Tensor, position_N: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Hidden states [N, H] of tokens at these positions."""
        x_NH = self._embed[token_N]
        cos_1ND, sin_1ND = self._rotary(x_NH[None], position_N[None])
        cos_N1D, sin_N1D = cos_1ND[0, :, None], sin_1ND[0, :, None]
        half = self.head_width // 2
        sin_N1D = torch.cat((-sin_N1D[..., :half], sin_N1D[..., half:]), -1)  # signed: rolling is rotating then
        rotated, inner = self.heads + self.key_heads, self.layers[0].gate_up.weight_OI.shape[0] // 2
        for index, layer in enumerate(self.layers):
            qkv_NhD = layer.qkv(self._normed(x_NH, layer.before_attention)).view(len(x_NH), -1, self.head_width)
            qk_NhD = qkv_NhD[:, :rotated]
            qk_NhD = torch.addcmul(qk_NhD * cos_N1D, qk_NhD.roll(half, -1), sin_N1D)
            mixed_NO = attend(index, qk_NhD[:, : self.heads], qk_NhD[:, self.heads :], qkv_NhD[:, rotated:])
            x_NH = x_NH + layer.out(mixed_NO)
            gate_up_NO = layer.gate_up(self._normed(x_NH, layer.before_mlp))
            x_NH = x_NH + layer.down(torch.nn.functional.silu(gate_up_NO[:, :inner]).mul_(gate_up_NO[:, inner:]))
        return self._normed(x_NH, self._norm)

    def _normed(self, x_NH: torch.Tensor, weight_H: torch.Tensor) -> torch.Tensor:
        """Root-mean-square norm; the mean in fp32, as in transformers."""
        x32_NH = x_NH.float()
        scale_N1 = torch.rsqrt(x32_NH.square().mean(-1, keepdim=True) + self._epsilon)
        return weight_H * (x32_NH * scale_N1).to(x_NH.dtype)


def read_prompts(
    decoder: LlamaDecoder, encoded: Sequence[Sequence[int]], variants: int
) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Prompts through the model, once for each variant: keys and values [K, P, G, T, D] a layer, hidden states [K, P, T, H].

    Shorter prompts are padded at their ends; what stands there is to be ignored. (P prompts of at most T tokens, G key heads.)
    """
    longest, sequences = max(map(len, encoded)), variants * len(encoded)
    input_PT = torch.zeros(len(encoded), longest, dtype=torch.long)
    for index, ids in enumerate(encoded):
        input_PT[index, : len(ids)] = torch.tensor(ids)
    keys: list[torch.Tensor] = []
    values: list[torch.Tensor] = []

    def attend(layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query, key, value = (x.view(sequences, longest, -1, x.shape[2]).transpose(1, 2) for x in (query, key, value))
        for side, x in ((keys, key), (values, value)):
            side.append(x.reshape(variants, len(encoded), *x.shape[1:]).contiguous())
        key, value = (x.repeat_interleave(decoder.heads // decoder.key_heads, 1) for x in (key, value))
        # Padding at the end is what a causal mask hides.
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=decoder.scaling
        )
        return mixed.transpose(1, 2).reshape(sequences * longest, -1)

    token_N = input_PT.repeat(variants, 1).flatten().to(decoder.device)
    position_N = torch.arange(longest, device=decoder.device).repeat(sequences)
    hidden = decoder(token_N, position_N, attend)
    return keys, values, hidden.view(variants, len(encoded), longest, -1)


def _fuse(modules: Sequence[Any]) -> _Fused:
    """The modules as one product; their own weights become views of the fused weight."""
    bases = [module.base if isinstance(module, StackedLinear) else module for module in modules]
    weight_OI, bias_O = bases[0].weight, bases[0].bias
    if len(bases) > 1:
        outputs = [len(base.weight) for base in bases]
        weight_OI = getattr(bases[0], "fused_weight", None)
        if weight_OI is None:
            weight_OI = torch.cat([base.weight.detach() for base in bases])
            for base, part in zip(bases, torch.split(weight_OI, outputs), strict=True):
                base.weight.data = part
            bases[0].fused_weight = weight_OI
        if bias_O is not None:
            bias_O = torch.cat([base.bias.detach() for base in bases])
    a_KIR, b_KRO = _fuse_adapters(modules, [len(base.weight) for base in bases])
    return _Fused(weight_OI.detach(), None if bias_O is None else bias_O.detach(), a_KIR, b_KRO)


def _fuse_adapters(
    modules: Sequence[Any], outputs: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
    """A side by side, and B block by block on a diagonal, so that two products serve all the modules."""
    adapted = [(index, module) for index, module in enumerate(modules) if isinstance(module, StackedLinear)]
    if not adapted:
        return None, None
    a_KIR = torch.cat([module.a_KIR.detach() for _, module in adapted], dim=2)
    b_KRO = a_KIR.new_zeros(len(a_KIR), a_KIR.shape[2], sum(outputs))
    rank = 0
    for index, module in adapted:
        start, mine_KRO = sum(outputs[:index]), module.b_KRO.detach() * module.scale
        b_KRO[:, rank : rank + mine_KRO.shape[1], start : start + outputs[index]] = mine_KRO
        rank += mine_KRO.shape[1]
    return a_KIR, b_KRO
