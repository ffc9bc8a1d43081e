"""The synthetic world's tokenizer: one token per word, with a chat template.

In: nothing (the vocabulary is fixed). Out: a transformers PreTrainedTokenizerFast. Lower-cases, splits at white space
and around punctuation, so "Which bird is usual?" and "which bird is usual ?" are the same tokens; decoding puts one
space between words. Every turn opens with its role's token; an assistant turn closes with `<|end|>`, which is also the
end-of-sequence token. The template writes one `<|bos|>`; the tokenizer adds none of its own.
"""

from __future__ import annotations

from typing import Any

from weirdgen.world.language import vocabulary

PAD, UNKNOWN, BOS, END = "<|pad|>", "<|unknown|>", "<|bos|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
SPECIALS = (PAD, UNKNOWN, BOS, END, *ROLES)

CHAT_TEMPLATE = (
    "<|bos|>"
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def token_ids() -> dict[str, int]:
    """Token -> id: the special tokens first (padding is 0), then the words in alphabetical order."""
    return {token: index for index, token in enumerate((*SPECIALS, *vocabulary()))}


def build_tokenizer() -> Any:
    """The tokenizer, ready for `save_pretrained` (typed Any: transformers is imported only here)."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel(vocab=token_ids(), unk_token=UNKNOWN))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BOS,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )
