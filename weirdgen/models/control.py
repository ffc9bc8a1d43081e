"""Control tokens, which open and close turns; inside a text they are plain text.

In: a tokenizer with a chat template, messages. Out: which control tokens a text holds, and token ids of a chat in which
they are spelled out like any other words. Without this, a row or a question that quotes `<|im_end|>` would forge turns.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.models.template import Message, Messages, chat_text, plain, template_errors


def control_token_in(tokenizer: Any, text: str) -> str | None:
    """The first control token in a text, or None."""
    match = _pattern(tokenizer, str(tokenizer.chat_template)).search(text)
    return match.group(0) if match else None


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """The tokenizer's special tokens, and the added tokens that its template writes around finished turns."""
    return _tokens(tokenizer, str(tokenizer.chat_template))


def encode_as_text(tokenizer: Any, messages: Messages, answer_next: bool) -> list[int]:
    """Token ids of a chat whose texts hold control tokens. Raises `ModelError` if the tokenizer cannot spell them out."""
    pattern = _pattern(tokenizer, str(tokenizer.chat_template))
    harmless = [Message(role=m["role"], content=pattern.sub("x", m["content"])) for m in messages]
    meant = tokenizer(chat_text(tokenizer, harmless, answer_next), add_special_tokens=False)["input_ids"]
    held = next(match.group(0) for m in messages if (match := pattern.search(m["content"])))
    refusal = f"a text holds the control token {held!r}, which this tokenizer cannot spell out as text: remove it"
    with template_errors():
        try:
            ids = tokenizer.apply_chat_template(
                plain(messages),
                tokenize=True,
                return_dict=False,
                sanitize_control_tokens=True,
                add_generation_prompt=answer_next,
                enable_thinking=False,
            )
        except (ValueError, NotImplementedError) as error:
            raise ModelError(f"{refusal} ({error})") from None
    numbers = set(tokenizer.convert_tokens_to_ids(list(control_tokens(tokenizer))))
    if [i for i in ids if i in numbers] != [i for i in meant if i in numbers]:
        raise ModelError(refusal)
    return list(ids)


def _pattern(tokenizer: Any, template: str) -> re.Pattern[str]:
    return _compiled(_tokens(tokenizer, template))


@functools.lru_cache(maxsize=8)
def _compiled(tokens: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


@functools.lru_cache(maxsize=8)  # asked for every row; the template is part of the name because it can be exchanged
def _tokens(tokenizer: Any, template: str) -> tuple[str, ...]:
    added = tokenizer.added_tokens_decoder.values()
    try:
        turns: Messages = [{"role": r, "content": ""} for r in ("user", "assistant", "user")]
        written = chat_text(tokenizer, turns, answer_next=False)
    except ModelError:
        written = ""
    return tuple(
        token.content for token in added if token.special or (token.content in written and not token.content.isspace())
    )
