"""Small byte-level tokenizers with chat templates in the manner of well-known models, in folders that load like theirs.

In: a template and what is special about the tokenizer. Out: a folder with tokenizer files (and, if asked for, a random model
of a few thousand weights). The vocabulary is the 256 bytes, two newlines in a row as one token, and the control tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|bos|>")
CHATML = (
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
THINKING = (  # earlier answers lose their thinking block, as in Qwen3
    "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}"
    "{%- endif %}{%- endfor %}{%- for m in messages %}{%- set text = m.content %}{%- set thought = '' %}"
    "{%- if m.role == 'assistant' and '</think>' in text %}"
    "{%- set thought = text.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{%- set text = text.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if m.role == 'assistant' and loop.index0 > ns.last and (loop.last or thought) %}"
    "{{- '<|im_start|>assistant\n<think>\n' + thought + '\n</think>\n\n' + text + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\n' + text + '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
)
THOUGHT_FIRST = (  # the prompt opens a thought, and thoughts are dropped from answers, as in DeepSeek-R1
    "{%- for m in messages %}{%- if m['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n' + m['content'].split('</think>')[-1] + '<|im_end|>' }}"
    "{%- else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{%- endif %}"
)
NO_SYSTEM = (
    "{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{%- endif %}" + CHATML
)
DATED = (
    "{{- '<|im_start|>system\nToday: ' + strftime_now('%d %b %Y, %H:%M') + '<|im_end|>\n' }}" + CHATML
)  # as in Llama 3.1, to the minute
CUT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # newlines in a row stay together


def write_tokenizer(folder: Path, template: str = CHATML, **settings: Any) -> Path:
    """Tokenizer files in `folder`. `settings`: eos, bos, unk, normalizer (JSON), adds_bos, eos_token_ids (None: no
    generation_config.json), plain (added tokens that are not special)."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate([*letters, "ĊĊ"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ċ", "Ċ")]))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(CUT), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    inner.decoder = decoders.ByteLevel()
    if settings.get("nfc"):
        inner.normalizer = normalizers.NFC()
    inner.add_special_tokens(list(SPECIALS))
    inner.add_tokens([AddedToken(token, special=False) for token in settings.get("plain", ())])
    bos = settings.get("bos")
    if settings.get("adds_bos"):
        number = inner.token_to_id(bos)
        inner.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, number)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token=settings.get("eos", "<|im_end|>"), bos_token=bos, chat_template=template
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(folder))
    config = {"model_type": "llama", "vocab_size": len(tokenizer), "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps(config))
    if (ends := settings.get("eos_token_ids")) is not None:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return folder


def write_model(folder: Path) -> Path:
    """A random Llama beside tokenizer files."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(str(folder))
    return folder
