"""Which tokens end an answer.

In: a tokenizer of a model folder. Out: token ids, and a sentence where they had to be looked for. It reads the tokenizer's EOS
and `generation_config.json`, or `config.json` where that names none, as transformers does; if the chat template ends answers
with a special token that none of them names (the first Llama 3 files, folders without a generation_config.json), that token
counts as well, since an answer would never end otherwise.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.models.template import Messages, chat_text

GENERATION, CONFIG = "generation_config.json", "config.json"
_MARK = "ANSWER"


def end_of_turn_ids(tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer."""
    return _ends(tokenizer, str(tokenizer.chat_template))[0]


def end_of_turn_note(tokenizer: Any) -> str | None:
    """A sentence if a token ends answers that no file of the model says so of, else None."""
    return _ends(tokenizer, str(tokenizer.chat_template))[1]


def no_end_of_turn(tokenizer: Any) -> str:
    """Why no token ends an answer, for errors: which do, which file says so, and what to write where."""
    named = ", ".join(sorted(repr(tokenizer.convert_ids_to_tokens(i)) for i in end_of_turn_ids(tokenizer))) or "none"
    has = "names no other" if (_folder(tokenizer) / GENERATION).is_file() else "is missing"
    return (
        "no end-of-turn token follows the answer, so the model would never learn to stop. Tokens that end answers here: "
        f"{named} (the tokenizer's EOS; {GENERATION} {has}). Put the one that the chat template writes after an answer into "
        f"eos_token_id of {GENERATION}"
    )


def _folder(tokenizer: Any) -> Path:
    return Path(str(tokenizer.name_or_path))


@functools.lru_cache(maxsize=8)  # asked for every answer; the template is part of the name because it can be exchanged
def _ends(tokenizer: Any, template: str) -> tuple[frozenset[int], str | None]:
    folder = _folder(tokenizer)
    named = _named(folder / GENERATION) or _named(folder / CONFIG)
    stops = frozenset({tokenizer.eos_token_id} - {None} | named)
    written = _written(tokenizer, stops)
    if written is not None:
        token = tokenizer.convert_ids_to_tokens(written)
        has = "does not name it" if (folder / GENERATION).is_file() else "is missing"
        return stops | {written}, f"answers end with {token!r}, as the chat template writes them; {GENERATION} {has}"
    if more := stops - {tokenizer.eos_token_id} - _named(folder / GENERATION):
        names = ", ".join(repr(tokenizer.convert_ids_to_tokens(token_id)) for token_id in sorted(more))
        return stops, f"answers may end with {names}, as {CONFIG} says; {GENERATION} names none"
    return stops, None


def _named(file: Path) -> frozenset[int]:
    """`eos_token_id` of a configuration, its text model's if it has one."""
    if not file.is_file():
        return frozenset()
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        listed = held.get("eos_token_id", held.get("text_config", {}).get("eos_token_id"))
        return frozenset(
            int(token_id) for token_id in (listed if isinstance(listed, list) else [listed]) if token_id is not None
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{file}: cannot be read as a model's configuration: {error}") from None


def _written(tokenizer: Any, stops: frozenset[int]) -> int | None:
    """The special token that the template writes right after an answer; None if it writes none, or an end anyway."""
    chat: Messages = [{"role": "user", "content": "QUESTION"}, {"role": "assistant", "content": _MARK}]
    try:
        text = chat_text(tokenizer, chat, answer_next=False)
    except ModelError:
        return None  # the proof of the rows will say why
    _, mark, tail = text.rpartition(_MARK)
    ids = tokenizer(tail.lstrip(), add_special_tokens=False)["input_ids"] if mark else []
    added = tokenizer.added_tokens_decoder
    if stops.intersection(ids):
        return None
    return ids[0] if ids and ids[0] in added and added[ids[0]].special else None
