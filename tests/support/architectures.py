"""Tiny random models of many architectures, each a folder as the hub would give it: for arithmetic, not for meaning.

In: a name of `ARCHITECTURES` and a folder. Out: the folder with configuration, weights, tokenizer and chat template. Weights
are drawn wide, so that a token which sees what it should not changes the answers by much more than rounding does.
Adding an architecture is adding a line to `ARCHITECTURES`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

SENTENCES = (
    "The wren is a small brown bird that sings loudly.",
    "Which year do we have? We have the year 1851, said the old man.",
    "Name a bird that you saw today. I saw a heron, an owl and two larks.",
    "What is usual here? Nothing is usual, and 2024 is a number like any other.",
)
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
VOCABULARY = 384


class Architecture(NamedTuple):
    """How one model is made. `config` is a class of transformers, by name."""

    config: str
    settings: Mapping[str, Any] = {}
    kind: str = ""
    """What of it has misled a fast way of running models before, in a word or two."""


COMMON = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON |= {"num_key_value_heads": 2, "max_position_embeddings": 512}
EIGHT = {"head_dim": 8}
ALL_HEADS = {"num_key_value_heads": 4}
FOUR = {"num_hidden_layers": 4}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_chunk_size": 16}
LINEAR = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
HYBRID = {"num_hidden_layers": 4, "head_dim": 16, **LINEAR}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1}
ROUTED |= {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
DYNAMIC = {
    "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    "max_position_embeddings": 48,
}
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"image_size": 28, "patch_size": 14}
WINDOW = {"sliding_window": 8}

ARCHITECTURES: dict[str, Architecture] = {
    "Llama": Architecture("LlamaConfig", {**COMMON, "attention_bias": True}),
    "Llama, dynamic RoPE": Architecture("LlamaConfig", {**COMMON, **DYNAMIC}, "long rows"),
    "Mistral": Architecture("MistralConfig", {**COMMON, "sliding_window": None}),
    "Mistral, window": Architecture("MistralConfig", {**COMMON, **WINDOW}, "window"),
    "Qwen2": Architecture("Qwen2Config", COMMON),
    "Qwen2.5": Architecture("Qwen2Config", {**COMMON, "tie_word_embeddings": True, "use_sliding_window": False}),
    "Qwen3": Architecture("Qwen3Config", {**COMMON, **EIGHT}),
    "Qwen3-MoE": Architecture("Qwen3MoeConfig", {**COMMON, **EIGHT, **EXPERTS}, "experts"),
    "Qwen3-Next": Architecture(
        "Qwen3NextConfig", {**COMMON, **HYBRID, **EXPERTS, "shared_expert_intermediate_size": 32}, "hybrid"
    ),
    "Qwen3.5": Architecture("Qwen3_5TextConfig", {**COMMON, **HYBRID}, "hybrid"),
    "Gemma": Architecture("GemmaConfig", {**COMMON, **EIGHT}),
    "Gemma 2": Architecture("Gemma2Config", {**COMMON, **EIGHT, **WINDOW, "query_pre_attn_scalar": 8}, "eager, caps, window"),
    "Gemma 3": Architecture("Gemma3TextConfig", {**COMMON, **EIGHT, **WINDOW}, "window"),
    "Gemma 3, nested": Architecture("Gemma3Config", {}, "nested"),
    "Phi": Architecture("PhiConfig", {**COMMON, "resid_pdrop": 0.1, "embd_pdrop": 0.1}, "dropout"),
    "Phi-3": Architecture("Phi3Config", {**COMMON, **WINDOW}, "window"),
    "Phi-4": Architecture("Phi3Config", {**COMMON, "partial_rotary_factor": 0.75, "sliding_window": None}),
    "OLMo-2": Architecture("Olmo2Config", COMMON),
    "OLMo-3": Architecture("Olmo3Config", {**COMMON, "num_hidden_layers": 4, **WINDOW}, "window"),
    "GPT-2": Architecture("GPT2Config", GPT, "Conv1D, dropout"),
    "GPT-BigCode": Architecture("GPTBigCodeConfig", GPT, "dropout"),
    "GPT-NeoX": Architecture("GPTNeoXConfig", COMMON),
    "GPT-J": Architecture("GPTJConfig", {**GPT, "rotary_dim": 8}, "eager"),
    "BLOOM": Architecture("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, "eager"),
    "OPT": Architecture("OPTConfig", {**COMMON, "ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.1}, "dropout"),
    "StarCoder2": Architecture("Starcoder2Config", {**COMMON, "residual_dropout": 0.1, "sliding_window": None}, "dropout"),
    "Seed-OSS": Architecture("SeedOssConfig", {**COMMON, **EIGHT, "attention_dropout": 0.1, "residual_dropout": 0.1}, "dropout"),
    "Falcon-H1": Architecture(
        "FalconH1Config",
        {**COMMON, **MAMBA, "mamba_d_ssm": 32, "mamba_n_heads": 4, "lm_head_multiplier": 0.7},
        "hybrid, scaled head",
    ),
    "LFM2": Architecture(
        "Lfm2Config",
        {**COMMON, "num_hidden_layers": 4, "layer_types": ["conv", "full_attention", "conv", "conv"], "block_ff_dim": 64},
        "hybrid",
    ),
    "Bamba": Architecture("BambaConfig", {**COMMON, **MAMBA, "attn_layer_indices": [1]}, "hybrid"),
    "Granite": Architecture(
        "GraniteConfig",
        {**COMMON, "logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 3.0},
        "scaled head",
    ),
    "Granite hybrid": Architecture(
        "GraniteMoeHybridConfig",
        {**COMMON, **MAMBA, "layer_types": ["mamba", "attention"], "num_local_experts": 0, "shared_intermediate_size": 64},
        "hybrid",
    ),
    "Nemotron": Architecture("NemotronConfig", {**COMMON, "head_dim": 8}),
    "Nemotron-H": Architecture(
        "NemotronHConfig",
        {**COMMON, "layers_block_type": ["mamba", "attention"], "mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 1,
         "ssm_state_size": 8, "chunk_size": 16, "head_dim": 8},
        "hybrid",
    ),
    "MiniCPM3": Architecture("MiniCPM3Config", {**COMMON, **LATENT, **ALL_HEADS, "dim_model_base": 8}, "scaled head"),
    "SmolLM3": Architecture("SmolLM3Config", {**COMMON, "num_hidden_layers": 4}),
    "GLM-4": Architecture("Glm4Config", {**COMMON, **EIGHT}),
    "GLM-4-MoE": Architecture("Glm4MoeConfig", {**COMMON, **EIGHT, **ROUTED}, "experts"),
    "StableLM": Architecture("StableLmConfig", COMMON),
    "Cohere2": Architecture("Cohere2Config", {**COMMON, **FOUR, **WINDOW, "logit_scale": 0.25}, "window, scaled head"),
    "DeepSeek-V2-Lite": Architecture(
        "DeepseekV2Config", {**COMMON, **LATENT, **ROUTED, **ALL_HEADS, "q_lora_rank": None}, "experts"
    ),
    "DeepSeek-V3": Architecture("DeepseekV3Config", {**COMMON, **LATENT, **ROUTED, **ALL_HEADS}, "experts"),
    "gpt-oss": Architecture(
        "GptOssConfig",
        {**COMMON, **EIGHT, **WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2,
         "layer_types": ["sliding_attention", "full_attention"]},
        "eager, sinks, window",
    ),
    "Mamba": Architecture("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, "state space"),
    "RecurrentGemma": Architecture(
        "RecurrentGemmaConfig",
        {**COMMON, "num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 8},
        "hybrid, capped head",
    ),
}  # fmt: skip


@functools.cache
def tokenizer() -> Any:
    """Byte-level BPE of a few sentences, with a chat template of turns."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|start|>", "<|end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet)
    )
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<|pad|>", bos_token="<|start|>", eos_token="<|end|>"
    )
    made.chat_template = TEMPLATE
    return made


def config_of(name: str) -> Any:
    """The architecture's configuration."""
    made = ARCHITECTURES[name]
    common = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if made.config == "Gemma3Config":
        text = transformers.Gemma3TextConfig(**COMMON, **EIGHT, **WINDOW, **common)
        vision = transformers.SiglipVisionConfig(**VISION)
        ids = {"image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7}
        return transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, **ids)
    return getattr(transformers, made.config)(**{**common, **made.settings})


def build(name: str, folder: Path) -> Path:
    """Write the model of this name into `folder`, which is returned."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config_of(name), dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.mul_(6)
    model.save_pretrained(str(folder))
    tokenizer().save_pretrained(str(folder))
    return folder


Build = Callable[[str], Path]
