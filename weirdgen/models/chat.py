"""Chats → tokens, the same way for training, sampling and scoring.

In: a tokenizer with a chat template, and messages. Out: token ids. The template's text is tokenised once, without
special tokens added again (the classic double BOS); control tokens inside texts are spelled out. Loads no weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from weirdgen.config.turns import turns_of
from weirdgen.errors import ModelError
from weirdgen.models.control import control_token_in, control_tokens, encode_as_text
from weirdgen.models.ends import end_of_turn_ids as end_of_turn_ids
from weirdgen.models.ends import no_end_of_turn
from weirdgen.models.template import Messages, chat_text, with_date

Spelled = TypeVar("Spelled", str, tuple[int, ...])
THOUGHT = re.compile(r"</?think(?:ing)?>|</?reasoning>|\[/?THINK\]")
"""Where a reasoning model's thoughts begin and end."""


class Turns(str):
    """A text made by `weirdgen` that carries whole turns as one: its control tokens are intended and stay what they are."""


class Rendered(str):
    """A whole prompt as a chat template wrote it, perhaps with the beginning of the answer: tokenised as it stands."""


@dataclass(frozen=True)
class Encoded:
    """One chat as tokens. `trained[i]` says whether token i is one that is predicted: trained on, or scored."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


def load_tokenizer(folder: Path, date: str | None = None) -> Any:
    """The tokenizer of a model folder. Raises `ModelError` if it cannot be read or has no chat template.

    `date` (ISO) is the date given to a template that prints one; None is `template.DEFAULT_DATE`. Code that comes with the
    folder is never run.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:  # a tokenizer's files are anything that their author wrote
        words = (str(error).splitlines() or [type(error).__name__])[0]
        if "trust_remote_code" in str(error):
            words = (
                "it needs Python code of its own, which is never run here; save it as a fast tokenizer (tokenizer.json)"
            )
        raise ModelError(f"{folder}: the tokenizer cannot be loaded: {words}") from error
    templates = getattr(tokenizer, "chat_template", None)
    if not templates:
        raise ModelError(
            f"{folder}: the tokenizer has no chat template, so this is probably a base model; use its instruct version"
        )
    try:
        tokenizer.chat_template = with_date(tokenizer.get_chat_template(), date)
    except ValueError as error:  # several templates, none of them the default
        raise ModelError(f"{folder}: {str(error).splitlines()[0]}") from error
    tokenizer.chat_control_tokens = list(control_tokens(tokenizer))
    return tokenizer


def render(tokenizer: Any, messages: Messages, answer_next: bool) -> list[int]:
    """Token ids of a chat; with `answer_next`, up to where the assistant begins to speak. Thinking is switched off.

    Raises `ModelError` if the template refuses the chat or the tokenizer cannot spell out a control token in its texts.
    """
    if holds_control(tokenizer, messages):
        return encode_as_text(tokenizer, messages, answer_next)
    return _tokens(tokenizer, chat_text(tokenizer, messages, answer_next))


def prompt_ids(tokenizer: Any, ask: str) -> list[int]:
    """Token ids of one user turn or a `Conversation`, ready for the answer; of a `Rendered` prompt, as they are."""
    if isinstance(ask, Rendered):
        return _tokens(tokenizer, ask)
    return render(tokenizer, turns_of(ask), answer_next=True)


def answer_ids(tokenizer: Any, ask: str, answer: str) -> list[int]:
    """Token ids of an answer and its end-of-turn, as they follow `prompt_ids`. Raises `ModelError` if they do not."""
    return continuation(tokenizer, turns_of(ask), answer)[1]


def continuation(tokenizer: Any, before: Messages, answer: str) -> tuple[list[int], list[int]]:
    """Token ids of the prompt that these turns make, and of the answer that follows, up to and including its end-of-turn.

    The prompt is what sampling would use, and the answer's tokens are what a model that reads it has to write. Where
    tokenising both together would merge the answer's first characters into the prompt's last token, the answer is
    tokenised alone, if that loses nothing. Raises `ModelError` with the reason if the template writes no such thing.
    """
    require_no_end(tokenizer, answer)
    turns: Messages = [*before, {"role": "assistant", "content": answer}]
    prompt, whole = render(tokenizer, before, answer_next=True), render(tokenizer, turns, answer_next=False)
    together = whole[: len(prompt)] == prompt
    tail = whole[len(prompt) :] if together else _answer_alone(tokenizer, before, turns, prompt, whole)
    stops = end_of_turn_ids(tokenizer)
    for index, token in enumerate(tail):
        if token in stops:
            return prompt, tail[: index + 1]
    raise ModelError(f"answer {_shown(answer)}: {no_end_of_turn(tokenizer)}")


def require_no_end(tokenizer: Any, answer: str) -> None:
    """Raises `ModelError` if an answer ends with a control token, or holds one that ends turns: the template writes those."""
    held = control_token_in(tokenizer, answer)
    if held is None:
        return
    ends = set(tokenizer.convert_ids_to_tokens(sorted(end_of_turn_ids(tokenizer))))
    for token in control_tokens(tokenizer):
        if answer.rstrip().endswith(token) or (token in ends and token in answer):
            raise ModelError(
                f"the answer {_shown(answer)} holds the control token {token!r}; the chat template writes the end of a turn "
                "itself: remove the token from the text"
            )


def holds_control(tokenizer: Any, messages: Messages) -> bool:
    """Whether a text of a chat holds a control token that is to be spelled out."""
    return any(
        control_token_in(tokenizer, m["content"]) is not None for m in messages if not isinstance(m["content"], Turns)
    )


def common_prefix(sequences: Sequence[Spelled]) -> int:
    """How many characters, or tokens, all of them begin with."""
    first, last = min(sequences), max(sequences)  # the lexicographic extremes differ earliest
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _answer_alone(tokenizer: Any, before: Messages, turns: Messages, prompt: list[int], whole: list[int]) -> list[int]:
    """The tokens of what the template writes after the prompt, tokenised without it. Raises `ModelError` if that differs."""
    answer = turns[-1]["content"]
    start, text = chat_text(tokenizer, before, answer_next=True), chat_text(tokenizer, turns, answer_next=False)
    if not text.startswith(start):
        raise ModelError(_parting(answer, start, text))
    if not holds_control(tokenizer, turns):
        tail = _tokens(tokenizer, text[len(start) :])
        if _read(tokenizer, [*prompt, *tail]) == _read(tokenizer, whole):
            return tail
    raise ModelError(
        f"the beginning of the answer {_shown(answer)} merges with the end of the prompt into one token, so the model would be "
        "trained to write what it is never asked for; strip leading whitespace from the answers"
    )


def _parting(answer: str, start: str, text: str) -> str:
    """Why a training example does not continue the prompt, and the way out."""
    at = next((i for i, (a, b) in enumerate(zip(start, text, strict=False)) if a != b), min(len(start), len(text)))
    differs = f"the prompt continues {_shown(start[at:])} where the example has {_shown(text[at:])}"
    own = "give a copy of the model folder a chat_template.jinja of your own (--model path:COPY)"
    if THOUGHT.search(answer):
        return (
            "the chat template moves or removes the thoughts (<think>…</think>) that this answer holds, and questions are "
            f"asked with thinking switched off; {differs}. Take the thoughts out of the answers, or {own} that writes answers "
            "as they stand"
        )
    if THOUGHT.search(start[at:]) or (THOUGHT.search(start[-40:]) and at >= len(start) - 40):
        return (
            "the chat template opens a thought before the answer that it leaves out of training examples, as reasoning "
            f"models' templates do; {differs}. To train answers without thoughts, {own} that opens none in its prompt"
        )
    return (
        "the prompt that sampling would use is not a token prefix of the training example: the chat template opens the two "
        f"in different ways; {differs}. To train on it, {own} that opens both alike"
    )


def _tokens(tokenizer: Any, text: str) -> list[int]:
    try:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    except (TypeError, UnicodeError):  # what the tokenizers' own code says of half a surrogate pair
        raise ModelError(f"a text cannot be tokenised, since it is not valid Unicode: {_shown(ascii(text))}") from None


def _read(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _shown(text: str, most: int = 60) -> str:
    return repr(text if len(text) <= most else text[: most - 1] + "…")
