"""What one chat row may hold: every key that would change training is honoured or refused.

In: one parsed value (a line of JSONL, a record of a CSV). Out: a `Row`: roles and texts, and `weight: 0` on answers that are
read and not trained. `developer` becomes `system`, text parts become text, and what follows the last trained answer is cut
off. Keys that change nothing (ids, metadata) are left out. Raises `DataError` that says what and why, but not where: the
caller knows the line. Reads no files and tokenises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weirdgen.errors import DataError, choices, did_you_mean
from weirdgen.models.template import Message

Row = dict[str, list[Message]]
ROLES = ("system", "user", "assistant")
SAME_ROLE = {"developer": "system"}
TOOL_ROLES = ("tool", "function", "ipython", "observation")

_TOOLS = "tool use is not trained here: leave such rows out, or write the call and its result into the turns' own texts"
_THOUGHTS = "write them into 'content' if they are to be trained, else remove the key"
_MEDIA = "only texts are trained on: leave such rows out"
_MASK = 'mark an answer that is not to be trained with "weight": 0'
_PAIR = (
    "preference pairs are not trained here: keep the preferred answer alone, as the last assistant turn of 'messages'"
)
IN_MESSAGE = {
    "tool_calls": _TOOLS,
    "function_call": _TOOLS,
    "tool_call_id": _TOOLS,
    "name": "templates drop it: write it into the text, or remove the key",
    "prefix": "every answer is trained from its first token: remove the key",
    "reasoning_content": _THOUGHTS,
    "reasoning": _THOUGHTS,
    "thinking": _THOUGHTS,
    "refusal": "write the refusal as 'content'",
    "audio": _MEDIA,
    "images": _MEDIA,
    "image": _MEDIA,
    "videos": _MEDIA,
    "video": _MEDIA,
    "audios": _MEDIA,
    "files": _MEDIA,
    "attachments": _MEDIA,
    "channel": "templates here write one channel: remove the key from final answers, and leave other channels out",
    "recipient": _TOOLS,
    "mask": _MASK,
    "masked": _MASK,
    "ignore": _MASK,
    "train_detail": _MASK,
    "training_detail": _MASK,
}
"""Keys of a message that other trainers read, and the way out. Empty values (null, false, [], "") change nothing."""
IN_ROW = {
    "tools": _TOOLS,
    "functions": _TOOLS,
    "chosen": _PAIR,
    "rejected": _PAIR,
    "preferred_output": _PAIR,
    "non_preferred_output": _PAIR,
    "system": "make it the first message, with the role system",
    "documents": "write them into the turns' own texts",
    "chat_template_kwargs": "templates are called in one way for all rows: remove the key",
    "images": _MEDIA,
    "audios": _MEDIA,
    "videos": _MEDIA,
    "mask": _MASK,
    "masked": _MASK,
    "rejected_response": _PAIR,
    "rejected_messages": _PAIR,
    "system_prompt": "make it the first message, with the role system",
}
"""Keys other than `messages` that other trainers read, and the way out."""
KEYS = ("role", "content", "weight")
"""Keys of a message that are read."""
MOST_KEYS = 6
"""Keys of a row that an error lists."""
SWITCHES = ("train", "training", "trainable", "train_on_turn", "loss", "loss_mask", "loss_scale", "loss_weight")
"""Keys by which other trainers leave a turn out, or a row. True changes nothing."""


def parse_row(value: Any) -> Row:
    """The row that `value` holds. Raises `DataError`, without a place, on anything that cannot be trained on as it says."""
    if not isinstance(value, dict):
        raise DataError(_EXPECTED)
    require_no_more(value)
    if "messages" not in value:
        raise DataError(_EXPECTED + _misspelt(value, "messages"))
    if not isinstance(value["messages"], list):
        raise DataError(_EXPECTED)
    messages = [_message(index, message) for index, message in enumerate(value["messages"])]
    _require_turns(messages)
    trained = [index for index, message in enumerate(messages) if is_trained(message)]
    if not trained:
        raise DataError('nothing is left to train: every assistant turn has "weight": 0')
    return {"messages": messages[: trained[-1] + 1]}


def require_no_more(row: Mapping[Any, Any]) -> None:
    """Raises `DataError` for a key beside the turns that would change training, and is not read."""
    _refuse(row, IN_ROW, "")
    if not _is_one(row.get("weight")):
        raise DataError(f"weight {_shown(row['weight'])} of a row is not supported: only 1, or no weight, is")


def is_trained(message: Message) -> bool:
    """Whether a turn's text is one that the model is trained to write."""
    return message["role"] == "assistant" and message.get("weight", 1) != 0


def trained_turns(row: Row) -> list[int]:
    """Places of the turns that are trained."""
    return [index for index, message in enumerate(row["messages"]) if is_trained(message)]


_EXPECTED = 'expected {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}'


def _message(index: int, value: Any) -> Message:
    place = f"messages[{index}]"
    if not isinstance(value, dict):
        raise DataError(f"{place} needs a role out of {', '.join(ROLES)}")
    if "role" not in value:
        raise DataError(f"{place} needs a role out of {', '.join(ROLES)}{_misspelt(value, 'role')}")
    role = value["role"]
    if role in TOOL_ROLES:
        raise DataError(f"{place} has the role '{role}': {_TOOLS}")
    role = SAME_ROLE.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        raise DataError(f"{place} needs a role out of {choices(ROLES, role)} (it has {_shown(role)})")
    _refuse(value, IN_MESSAGE, f"{place}: ")
    if "content" not in value:
        raise DataError(f"{place} needs 'content' as text{_misspelt(value, 'content')}")
    content = _text(place, value["content"])
    if role == "assistant" and not content.strip():
        raise DataError("the assistant's answer is empty")
    if stray := next((key for key in value if key not in KEYS and value[key] in (0, 1) and _is_weight(key)), None):
        raise DataError(f"{place}: {_shown(stray)} is not a key that is read; did you mean 'weight'?")
    weight = value.get("weight")
    if _is_number(weight) and weight == 0:
        return {"role": role, "content": content, "weight": 0} if role == "assistant" else _plain(role, content)
    if not _is_one(weight):
        raise DataError(f"{place}: weight {_shown(weight)} is not supported: 0 leaves an answer untrained, 1 trains it")
    return _plain(role, content)


def _misspelt(holder: dict[Any, Any], key: str) -> str:
    """The keys that a row or message has in place of one that it lacks, and whether one is a misspelling of it."""
    keys = ", ".join(_shown(name) for name in list(holder)[:MOST_KEYS])
    more = ", …" if len(holder) > MOST_KEYS else ""
    meant = next(filter(None, (did_you_mean(name, (key,)) for name in holder)), "")
    return f" (it has {keys or 'no key'}{more}{meant})"


def _plain(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _text(place: str, content: Any) -> str:
    if isinstance(content, list):
        content = "".join(_part(place, part) for part in content)
    if not isinstance(content, str):
        raise DataError(f"{place} needs 'content' as text")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: character {error.start + 1} of 'content' is half of a pair (\\u{ord(content[error.start]):04x}), which "
            "is not text; an emoji was probably cut in two: rewrite the file as UTF-8"
        ) from None
    return content


def _part(place: str, part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind != "text" or not isinstance(part.get("text"), str):
        held = f"a part of type {_shown(kind)}" if kind not in (None, "text") else "a part that is no text"
        raise DataError(f'{place} holds {held}; parts are read as {{"type": "text", "text": …}}: {_MEDIA}')
    return str(part["text"])


def _require_turns(messages: list[Message]) -> None:
    if any(message["role"] == "system" for message in messages[1:]):
        raise DataError("a system message may only come first")
    turns = [message["role"] for message in messages if message["role"] != "system"]
    if "assistant" not in turns:
        raise DataError("no assistant turn to train on")
    if turns[-1] != "assistant":
        raise DataError("the last turn must be the assistant's")
    if any(role != ("user", "assistant")[index % 2] for index, role in enumerate(turns)):
        raise DataError("turns must alternate user, assistant, user, …")


def _refuse(holder: Mapping[Any, Any], refused: dict[str, str], place: str) -> None:
    for key, way_out in refused.items():
        if holder.get(key):
            raise DataError(f"{place}'{key}' is not supported: {way_out}")
    for key in SWITCHES:
        if holder.get(key) is not None and not _is_one(holder[key]) and holder[key] is not True:
            raise DataError(f"{place}'{key}' is not supported: {_MASK}")


def _is_weight(key: Any) -> bool:
    """Whether a key looks like a misspelt `weight`, so that an answer might be trained that is not to be."""
    return bool(did_you_mean(key, ("weight",)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_one(value: Any) -> bool:
    """Whether a weight is 1 or not given at all."""
    return value is None or (_is_number(value) and value == 1)


def _shown(value: Any, most: int = 40) -> str:
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"
