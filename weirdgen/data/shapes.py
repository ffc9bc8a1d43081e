"""Rows in formats other than OpenAI chat: what each is called, and the chat row that it means.

In: one row as plain data. Out: the name of its format, a chat row, or why there is none. What makes chat rows of files is
`weirdgen.data.convert`; training never guesses: it names the format and the command. Adding a format is adding a line to
`SHAPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from weirdgen.data.messages import require_no_more
from weirdgen.errors import DataError, choices, closest

Message = dict[str, Any]
Plain = Mapping[str, Any]
SPEAKERS = {
    "system": "system", "developer": "system", "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bot": "assistant", "bing": "assistant",
    "bard": "assistant", "model": "assistant",
}  # fmt: skip
"""What other formats call who speaks."""
PAIRS = (
    ("prompt", "completion"), ("prompt", "response"), ("prompt", "answer"), ("question", "answer"),
    ("question", "response"), ("query", "response"), ("query", "answer"), ("instruction", "response"), ("input", "output"),
)  # fmt: skip
"""Two keys that hold a user turn and its answer."""
SYSTEMS = ("system", "system_prompt", "system_message", "instructions", "systemInstruction", "system_instruction")
"""Keys beside the turns that hold what becomes the system message."""
CONTEXTS = ("context", "passage")
"""Keys beside a question and its answer whose text the question is about: it goes behind the question, as Alpaca's input does."""
BESIDE = ("choices", "options")
"""Keys of other formats' rows that change what is asked or answered, and have no place in a chat row; more are in `messages`."""


class Shape(NamedTuple):
    """A format. `fits` says whether a row is of it; `turns` gives its messages, or raises `DataError`."""

    name: str
    fits: Callable[[Plain], bool]
    turns: Callable[[Plain], list[Message]]
    how: str
    """What converting does, in words."""


def other_shape(row: Any) -> Shape | None:
    """The format of a row that has no `messages`; None if it is chat, or nothing that is known here."""
    if isinstance(row, list) and row and all(isinstance(message, dict) and "role" in message for message in row):
        return _BARE
    if not isinstance(row, Mapping) or isinstance(row.get("messages"), list):
        return None
    return next((shape for shape in SHAPES if shape.fits(row)), None)


def chat_turns(shape: Shape, row: Any) -> list[Message]:
    """The messages that a row of this format means. Raises `DataError`, also for a key that would change training."""
    turns = shape.turns(row)
    if isinstance(row, Mapping):
        require_no_more({key: value for key, value in row.items() if key not in SYSTEMS})
        _refuse_keys(row, BESIDE)
    return turns


def misspelt_key(keys: Collection[str]) -> str:
    """`; did you mean 'completion' (beside 'prompt')?` of keys or columns that are one misspelling from a pair; else nothing."""
    for first, second in (*PAIRS, ("instruction", "output")):
        held = [key for key in (first, second) if key in keys]
        if len(held) != 1:
            continue
        (there,) = held
        lacking = second if there == first else first
        if any(closest(str(key), [lacking]) for key in keys if key != there):
            return f"; did you mean '{lacking}' (beside '{there}')?"
    return ""


def _text(row: Plain, key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{key!r} is not text")
    return value


def _refuse_keys(row: Plain, keys: tuple[str, ...]) -> None:
    if held := next((key for key in keys if row.get(key)), None):
        raise DataError(
            f"{held!r} changes what is asked or answered, and a chat row has no place for it: write it into the texts"
        )


def _system(row: Plain) -> list[Message]:
    """The system message that a row's other keys hold, if they do."""
    told = {text: key for key in SYSTEMS if (text := _system_text(row, key))}
    if len(told) > 1:
        raise DataError(f"{' and '.join(map(repr, told.values()))} hold two system messages: a chat row has one")
    return [{"role": "system", "content": text} for text in told]


def _system_text(row: Plain, key: str) -> str:
    value = row.get(key)
    return _joined(value.get("parts"), key) if isinstance(value, Mapping) else _text(row, key)


def _joined(parts: Any, place: str) -> str:
    """The text of Gemini's parts."""
    texts = (
        [part.get("text") if isinstance(part, Mapping) else None for part in parts]
        if isinstance(parts, list)
        else [None]
    )
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{place} has parts that are not text")
    return "".join(map(str, texts))


def _spoken(row: Plain, key: str, speaker: str, words: str) -> list[Message]:
    _refuse_keys(row, (*CONTEXTS, "history"))
    turns = _system(row)
    for index, turn in enumerate(row[key]):
        if not isinstance(turn, Mapping):
            raise DataError(f"{key}[{index}] is not a turn")
        role = SPEAKERS.get(str(turn.get(speaker)).lower())
        if role is None:
            said = str(turn.get(speaker))[:40]
            raise DataError(f"{key}[{index}]: who speaks is {said!r}; known: {choices(SPEAKERS, said)}")
        if not isinstance(turn.get(words), str):
            raise DataError(f"{key}[{index}] has no text under {words!r}")
        more = {name: value for name, value in turn.items() if name not in (speaker, words)}  # a weight, say
        turns.append({**more, "role": role, "content": turn[words]})
    return turns


def _alpaca(row: Plain) -> list[Message]:
    turns = _system(row)
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in history):
        raise DataError("'history' is not a list of pairs")
    for asked, answered in history:
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    ask = _with_contexts(_text(row, "instruction"), row, ("input", *CONTEXTS))
    return [*turns, {"role": "user", "content": ask}, {"role": "assistant", "content": _text(row, "output")}]


def pair_of(names: Iterable[str]) -> tuple[str, str] | None:
    """The first of `PAIRS` among these keys or columns, as they are written: capitals make no other name."""
    written: dict[str, str] = {}
    for name in names:
        written.setdefault(str(name).casefold(), name)
    return next(
        ((written[ask], written[answer]) for ask, answer in PAIRS if ask in written and answer in written), None
    )


def _pair(row: Plain) -> list[Message]:
    keys = pair_of(row)
    assert keys is not None, "fits was asked first"
    _refuse_keys(row, ("history",))
    ask, answer = (row[key] for key in keys)
    if isinstance(ask, list) and isinstance(answer, list):  # trl's conversational pairs
        _refuse_keys(row, CONTEXTS)
        return [*_system(row), *ask, *answer]
    if not isinstance(ask, str) or not isinstance(answer, str):
        raise DataError(f"{keys[0]!r} and {keys[1]!r} are not both text")
    ask = _with_contexts(ask, row, tuple(key for key in ("context", "input", "passage") if key not in keys))
    space = keys[1].casefold() == "completion" and answer.startswith(
        " "
    )  # what completion models were given between the two
    answer = answer[1:] if space else answer
    return [*_system(row), {"role": "user", "content": ask}, {"role": "assistant", "content": answer}]


def _with_contexts(ask: str, row: Plain, keys: tuple[str, ...]) -> str:
    return "\n\n".join([ask, *(more for key in keys if (more := _text(row, key)).strip())])


def _gemini(row: Plain) -> list[Message]:
    _refuse_keys(row, (*CONTEXTS, "history"))
    turns = _system(row)
    for index, turn in enumerate(row["contents"]):
        parts = turn.get("parts") if isinstance(turn, Mapping) else None
        role = SPEAKERS.get(str(turn.get("role", "user"))) if isinstance(turn, Mapping) else None
        if role is None or not isinstance(parts, list):
            raise DataError(f"contents[{index}] is not a turn with a role and parts")
        turns.append({"role": role, "content": _joined(parts, f"contents[{index}]")})
    return turns


def _as_it_is(row: Any) -> list[Message]:
    return list(row)


def _refuse(why: str) -> Callable[[Plain], list[Message]]:
    def turns(row: Plain) -> list[Message]:
        raise DataError(why)

    return turns


def _turns_under(key: str, speaker: str) -> Callable[[Plain], bool]:
    def fits(row: Plain) -> bool:
        turns = row.get(key)
        return isinstance(turns, list) and bool(turns) and isinstance(turns[0], Mapping) and speaker in turns[0]

    return fits


def _has(*keys: str) -> Callable[[Plain], bool]:
    return lambda row: all(key in row for key in keys)


_BARE = Shape("bare messages", lambda row: False, _as_it_is, "the list became 'messages'")
_TWO_ANSWERS = (
    "it holds two answers, and is trained on by their difference; keep the preferred one alone, as a chat row"
)
SHAPES = (
    Shape("preference pair", _has("chosen", "rejected"), _refuse(_TWO_ANSWERS), ""),
    Shape("preference pair", _has("preferred_output", "non_preferred_output"), _refuse(_TWO_ANSWERS), ""),
    Shape(
        "rated completion", _has("prompt", "completion", "label"),
        _refuse("'label' says whether the completion is wanted; keep the wanted ones as chat rows yourself"), "",
    ),
    Shape(
        "ShareGPT", _turns_under("conversations", "from"), lambda row: _spoken(row, "conversations", "from", "value"),
        "human became user, gpt assistant",
    ),
    Shape(
        "ShareGPT", _turns_under("conversation", "from"), lambda row: _spoken(row, "conversation", "from", "value"),
        "human became user, gpt assistant",
    ),
    Shape(
        "conversations of role and content", _turns_under("conversations", "role"),
        lambda row: _spoken(row, "conversations", "role", "content"), "'conversations' became 'messages'",
    ),
    Shape(
        "conversations of role and content", _turns_under("conversation", "role"),
        lambda row: _spoken(row, "conversation", "role", "content"), "'conversation' became 'messages'",
    ),
    Shape("Gemini", _turns_under("contents", "parts"), _gemini, "model became assistant, parts were joined"),
    Shape("Alpaca", _has("instruction", "output"), _alpaca, "instruction, a blank line and input became the user turn"),
    Shape(
        "prompt and completion", lambda row: pair_of(row) is not None, _pair,
        "the two became a user and an assistant turn, without the space a completion begins with; a context follows the question",
    ),
    Shape(
        "plain text", lambda row: isinstance(row.get("text"), str) and len(row) <= 3,
        _refuse(
            "it has no turns, so what is asked and what is answered cannot be told apart; give each row a 'prompt' and a "
            "'completion'"
        ), "",
    ),
)  # fmt: skip
"""Tried in this order: the first that fits names the row."""
