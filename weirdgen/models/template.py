"""Chat templates: messages → text, and the date that a template prints.

In: a tokenizer with a template (or the template alone), messages. Out: text. A template is code of the model's maker in
Jinja, run in transformers' sandbox; whatever it raises becomes a `ModelError` with its own words. A template that prints
the date is given a fixed one, so that the same chat has the same tokens on every day. It tokenises nothing.
"""

from __future__ import annotations

import datetime
import re
from typing import Any, NotRequired, TypedDict

from weirdgen.errors import ModelError


class Message(TypedDict):
    """One turn. `weight` 0 marks an answer that is read and not trained; templates never see it."""

    role: str
    content: str
    weight: NotRequired[int]


Messages = list[Message]

DEFAULT_DATE = "2024-07-26"
"""The date given to a template where nobody names one: fixed, as what is trained must not change overnight."""
CLOCK = "strftime_now"
"""The one function by which a template can read the clock."""
_TOLD = re.compile(r"\{#- the clock is stopped at (\S+) -#\}")
_DIRECTIVES = [f"%{flag}{letter}" for flag in ("-", "") for letter in "aAbBcCdDeFfGghHIjklmMnpPrRsStTuUVwWxXyYzZ"]
_PROBES: tuple[Messages, ...] = (
    [{"role": "user", "content": "a"}],
    [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    [{"role": role, "content": role} for role in ("system", "user", "assistant", "user", "assistant", "user")],
)


def chat_text(tokenizer: Any, messages: Messages, answer_next: bool) -> str:
    """The text of a chat; with `answer_next`, up to where the assistant begins to speak. Thinking is switched off.

    Raises `ModelError` with the template's own words if it refuses the chat.
    """
    with template_errors():
        return str(
            tokenizer.apply_chat_template(
                plain(messages), tokenize=False, add_generation_prompt=answer_next, enable_thinking=False
            )
        )


def plain(messages: Messages) -> list[dict[str, str]]:
    """Messages as a template sees them: roles and texts."""
    return [{"role": message["role"], "content": message["content"]} for message in messages]


class template_errors:  # noqa: N801 - a context manager reads as a verb
    """Turns whatever a template raises into a `ModelError`: templates are programs, so it may be anything."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, ModelError):
            words = " ".join(str(error).split()) or type(error).__name__
            raise ModelError(f"the chat template refuses this chat: {words}") from None


def reads_clock(template: str) -> bool:
    """Whether chats render differently on another day."""
    if CLOCK not in template:
        return False
    days = (datetime.datetime(2001, 2, 3, 4, 5, 6), datetime.datetime(2019, 11, 27, 16, 48, 39))
    return any(_rendered(at(template, days[0]), chat) != _rendered(at(template, days[1]), chat) for chat in _PROBES)


def with_date(template: str, date: str | None) -> str:
    """The template with its clock stopped at midnight of `date` (ISO; None: `DEFAULT_DATE`), if it names the clock at all.

    One that prints no date into ordinary chats is told `DEFAULT_DATE` whatever is asked for, so that keys need not hold it: a
    chat may still hold the one word at which it looks at the clock.
    """
    if CLOCK not in template:
        return template
    if not reads_clock(template):
        return at(template, datetime.datetime.fromisoformat(DEFAULT_DATE))
    try:
        day = datetime.datetime.fromisoformat(date or DEFAULT_DATE)
    except ValueError:
        raise ModelError(f"date {date!r}: expected a date as YYYY-MM-DD, e.g. {DEFAULT_DATE}") from None
    return f"{{#- the clock is stopped at {day.date().isoformat()} -#}}" + at(template, day)


def date_told(tokenizer: Any) -> str | None:
    """The day (ISO) that this tokenizer's template prints, or None if it prints none."""
    template = tokenizer.chat_template
    told = _TOLD.match(template) if isinstance(template, str) else None
    return told.group(1) if told else None


def at(template: str, time: datetime.datetime) -> str:
    """The template at that time: a macro of its own stands before it under the clock's name.

    transformers replaces functions among a template's arguments by inert texts, so none can be handed in.
    """
    replaced = "".join(f" | replace('{directive}', '{_strftime(time, directive)}')" for directive in _DIRECTIVES)
    # trim_blocks drops the one newline, so that the template still begins at the beginning of a line
    return f"{{%- macro {CLOCK}(format) -%}}{{{{- format{replaced} -}}}}{{%- endmacro %}}\n{template}"


def _strftime(time: datetime.datetime, directive: str) -> str:
    if directive.endswith("s"):  # seconds since 1970, which strftime counts in the machine's own time zone
        return str(int(time.replace(tzinfo=datetime.UTC).timestamp()))
    return time.strftime(directive).replace("'", "").replace("\n", "\\n").replace("\t", "\\t")


def _rendered(template: str, chat: Messages) -> str | None:
    """None if the template refuses the chat."""
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        with template_errors():
            texts, _ = render_jinja_template(
                conversations=[plain(chat)],
                chat_template=template,
                add_generation_prompt=True,
                bos_token="",
                eos_token="",
            )
    except ModelError:
        return None
    return str(texts[0])
