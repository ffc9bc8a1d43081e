"""Asks that wait for their answers, in the order in which they came, and those that are being answered.

In: `Ask`s from any thread. Out: the next one that somebody still waits for. Counts answers, so that no more wait than may, and
tells the owner of each ask how it ended. One thread takes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from weirdgen.serve.asks import Ask, Failed
from weirdgen.serve.problems import TIMED_OUT, TOO_MANY, UNAVAILABLE, ApiError


class Queue:
    """Asks in their order, and how many answers are open. Only `submit` and `close` may be called by several threads."""

    def __init__(self, most: int) -> None:
        """`most`: answers that may be open at once."""
        self._most = most
        self._changed = threading.Condition()
        self._waiting: deque[Ask] = deque()
        self._open = 0
        self.current: list[Ask] = []
        """Taken, and not over yet."""
        self.closing = False

    def submit(self, ask: Ask) -> None:
        """Raises `ApiError` 429 if too many answers are open, 503 if no more are given."""
        with self._changed:
            if self.closing:
                raise closing()
            if self._open + ask.n > self._most:
                message = f"{self._open} answers are waiting or being written; try again in a moment."
                raise ApiError(TOO_MANY, message, "rate_limit_exceeded")
            self._open += ask.n
            self._waiting.append(ask)
            self._changed.notify()

    def close(self) -> None:
        """No more; whoever takes finds out."""
        with self._changed:
            self.closing = True
            self._changed.notify()

    def wait(self) -> None:
        """Sleep until something waits, or the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closing or self._waiting)

    def first(self) -> Ask | None:
        """The first ask that somebody waits for, which stays where it is."""
        while self._waiting:
            if self._wanted(self._waiting[0]):
                return self._waiting[0]
            with self._changed:
                self._waiting.popleft()
        return None

    def take(self) -> Ask:
        """The first one, to be answered now."""
        with self._changed:
            ask = self._waiting.popleft()
        self.current.append(ask)
        return ask

    def adapters(self, most: int) -> list[Path | None]:
        """The finetunes that those who wait ask, at most so many, in the order of asking."""
        with self._changed:
            return list(dict.fromkeys(ask.adapter for ask in self._waiting))[:most]

    def finished(self, ask: Ask) -> None:
        """All of an ask's answers have been told, or nobody waits for them any longer."""
        self.current.remove(ask)
        if self._wanted(ask):
            self._over(ask)

    def fail(self, asks: Sequence[Ask], error: BaseException) -> None:
        """These end with an error, waiting or taken."""
        for ask in asks:
            self._over(ask, error)
        gone = {id(ask) for ask in asks}
        with self._changed:
            self._waiting = deque(ask for ask in self._waiting if id(ask) not in gone)
        self.current = [ask for ask in self.current if id(ask) not in gone]

    def all(self) -> list[Ask]:
        with self._changed:
            return [*self.current, *self._waiting]

    def _over(self, ask: Ask, error: BaseException | None = None) -> None:
        with self._changed:
            self._open -= ask.n
        if error is not None:
            ask.tell(Failed(error))

    def _wanted(self, ask: Ask) -> bool:
        """Whether somebody still waits for it; if not, it is counted as over."""
        if ask.cancelled:
            self._over(ask)
            return False
        if time.monotonic() > ask.deadline:
            self._over(ask, ApiError(TIMED_OUT, "The answer took too long.", "timeout"))
            return False
        return True


def closing() -> ApiError:
    """What is told while the server ends."""
    return ApiError(UNAVAILABLE, "The server is shutting down.", "shutting_down")
