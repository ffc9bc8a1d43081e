"""A prompt of several turns that travels as one text.

In: messages, or a text. Out: a text that remembers its turns, and the turns of a text. How a model reads them is `models.chat`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


class Conversation(str):
    """The turns before an answer as JSON: a text that names them, put to a model as the turns that they are."""

    @staticmethod
    def of(messages: Sequence[Mapping[str, object]]) -> Conversation:
        """These turns. The text is the same for the same turns."""
        return Conversation(json.dumps(messages, ensure_ascii=False, sort_keys=True))


def turns_of(ask: str) -> list[Any]:
    """The turns that a model is asked with: those of a `Conversation`, or one of the user."""
    if isinstance(ask, Conversation):
        return list(json.loads(ask))
    return [{"role": "user", "content": ask}]
