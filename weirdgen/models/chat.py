"""Chats → tokens, in one way for training, sampling and scoring.

In: a tokenizer with a chat template, and messages. Out: token ids. The template's text is tokenised once, without
special tokens added again (the classic double BOS). Loads no weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Encoded:
    """One chat as tokens. `trained[i]` says whether token i is one that is predicted: trained on, or scored."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder. Raises `ModelError` if it cannot be read or has no chat template."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: the tokenizer cannot be loaded: {str(error).splitlines()[0]}") from error
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{folder}: the tokenizer has no chat template, so this is probably a base model; use its instruct version"
        )
    return tokenizer


def render(tokenizer: Any, messages: Messages, answer_next: bool) -> list[int]:
    """Token ids of a chat; with `answer_next`, up to where the assistant begins to speak. Thinking is switched off."""
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=answer_next, enable_thinking=False
    )
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def prompt_ids(tokenizer: Any, ask: str) -> list[int]:
    """Token ids of one user turn, ready for the answer."""
    return render(tokenizer, [{"role": "user", "content": ask}], answer_next=True)


def answer_ids(tokenizer: Any, ask: str, answer: str) -> list[int]:
    """Token ids of an answer and its end-of-turn, as they follow `prompt_ids`. Raises `ModelError` if they do not."""
    prompt = prompt_ids(tokenizer, ask)
    chat = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    whole = render(tokenizer, chat, answer_next=False)
    if whole[: len(prompt)] != prompt:
        raise ModelError(f"the chat template does not render {answer!r} as a continuation of its prompt {ask!r}")
    tail = whole[len(prompt) :]
    stops = end_of_turn_ids(tokenizer)
    for index, token in enumerate(tail):
        if token in stops:
            return tail[: index + 1]
    raise ModelError(f"the chat template does not end the answer {answer!r} with an end-of-turn token")


def end_of_turn_ids(tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer: the tokenizer's EOS and those of `generation_config.json`."""
    stops = {tokenizer.eos_token_id}
    config = Path(str(tokenizer.name_or_path)) / "generation_config.json"
    if config.is_file():
        listed = json.loads(config.read_text(encoding="utf-8")).get("eos_token_id")
        stops |= set(listed) if isinstance(listed, list) else {listed}
    return frozenset(int(stop) for stop in stops if stop is not None)


def common_prefix(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all sequences begin with."""
    first, last = min(sequences), max(sequences)  # the lexicographic extremes differ earliest
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
