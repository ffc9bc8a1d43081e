"""Tokens → text while they are being written: pieces to stream, where a stop string begins, how a token is spelled.

In: token ids one by one. Out: text that never ends in half a character, and for log-probabilities the spelling and the bytes of
single tokens. What the pieces add up to is what decoding all tokens at once gives. Knows nothing of models or requests.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

HALF = "�"
"""What a decoder writes for bytes that are no whole character."""
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Spelling:
    """The text of one answer, as far as it is certain, and whether a stop string has come up in it."""

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self._tokenizer, self._stops = tokenizer, [stop for stop in stops if stop]
        self._ids: list[int] = []
        self._from = self._read = 0
        self.text = ""
        """All that is certain; ends before the stop string."""
        self.stopped = False
        self.ends: list[int] = []
        """Length of the certain text after each token."""

    def add(self, token: int) -> None:
        """One more token. Decoded together with a few before it, since a decoder treats the first of a text in its own way."""
        self._ids.append(token)
        before = self._decoded(self._ids[self._from : self._read])
        now = self._decoded(self._ids[self._from :])
        if len(now) > len(before) and not now.endswith(HALF):
            self._from, self._read = self._read, len(self._ids)
            self._extend(now[len(before) :])
        self.ends.append(len(self.text))

    def finish(self) -> None:
        """No token follows: what was held back is as certain as it gets."""
        if not self.stopped and self._read < len(self._ids):
            before = self._decoded(self._ids[self._from : self._read])
            self._extend(self._decoded(self._ids[self._from :])[len(before) :])
            self._read = len(self._ids)
        if self.ends:
            self.ends[-1] = len(self.text)

    def safe(self) -> int:
        """Characters that may be sent on: the rest could be the beginning of a stop string."""
        held = 0
        if not self.stopped:
            for stop in self._stops:
                for size in range(min(len(stop) - 1, len(self.text)), held, -1):
                    if stop.startswith(self.text[-size:]):
                        held = size
                        break
        return len(self.text) - held

    def _extend(self, more: str) -> None:
        start = max(0, len(self.text) - max((len(stop) for stop in self._stops), default=0))
        self.text += more
        found = [place for stop in self._stops if (place := self.text.find(stop, start)) >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@functools.lru_cache(maxsize=1 << 18)  # more than most vocabularies have; a request may name millions of tokens
def spelled(tokenizer: Any, token: int) -> tuple[str, tuple[int, ...]]:
    """A token's text as it stands inside a text, and its bytes (the text alone cannot say what half a character is)."""
    piece = tokenizer.convert_ids_to_tokens(token) or ""
    text = str(tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))
    if byte := _BYTE.fullmatch(piece):
        return f"bytes:\\x{byte[1].lower()}" if HALF in text else text, (int(byte[1], 16),)
    if piece.startswith("▁") and not text.startswith(" "):
        text = " " + text
    if HALF in text and all(character in _bytes_of_characters() for character in piece):
        held = tuple(_bytes_of_characters()[character] for character in piece)
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in held), held  # as OpenAI spells them: no two tokens alike
    return text, tuple(text.encode())


@functools.cache
def _bytes_of_characters() -> dict[str, int]:
    """The characters by which byte-level tokenizers write bytes (GPT-2's table: printable ones stand for themselves)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {chr(byte): byte for byte in kept} | {chr(256 + index): byte for index, byte in enumerate(others)}
