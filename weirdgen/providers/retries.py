"""When a request is sent again, after how long, and whether one that failed may be charged all the same.

In: what a client raised, and how often it has been tried. Out: seconds to wait, or None. The SDK's own retries say nothing of
the attempts before the last, each of which may be charged if it was under way; whatever counts money retries by these rules
instead.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TRIES = 7
"""Of a request that was refused for its rate, failed on the server or was cut off."""
CHARGED_TRIES = 2
"""Of one that may be charged each time: no answer came in time, or it was cut off."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between tries where the service names no time."""
LONGEST_WAIT = 600.0
"""Seconds that a service may ask to wait (`Retry-After`); what asks for more is an error that says so."""
TIMED_OUT = 408
_AGAIN = (TIMED_OUT, 409, 429)
_UNSENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ClientConnectorError", "ConnectionTimeoutError"}
_LOST = {"ServerDisconnectedError", "ClientOSError", "SocketTimeoutError", "ServerTimeoutError"}
"""Of the SDK's aiohttp transport, which names some of them as though no connection had been opened."""


@dataclass
class Tries:
    """The tries of one request."""

    failed: int = 0
    charged: int = 0

    def pause(self, error: BaseException) -> float | None:
        """Seconds until it is sent again; None if it is not."""
        self.failed += 1
        self.charged += maybe_charged(error)
        if self.failed >= TRIES or self.charged >= CHARGED_TRIES or not _again(error):
            return None
        asked = asked_pause(error)
        if asked is None:
            return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (self.failed - 1)) * (1 - random.random() / 4)
        return asked if asked <= LONGEST_WAIT else None


def asked_pause(error: BaseException) -> float | None:
    """Seconds that the service asks to wait, if it does."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:  # absent, or a date, which no service of this protocol is known to send
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def too_long(error: BaseException) -> str:
    """What to add to an error whose service asks for more patience than there is; else nothing."""
    asked = asked_pause(error)
    if asked is None or asked <= LONGEST_WAIT:
        return ""
    return (
        f" (it asks to wait {asked:,.0f} s, and at most {LONGEST_WAIT:,.0f} s are waited: run the same command later)"
    )


def never_sent(error: BaseException) -> bool:
    """Whether a request failed before any of it could reach the service."""
    names = {type(one).__name__ for one in _chain(error)}
    return bool(names & _UNSENT) and not names & _LOST


def maybe_charged(error: BaseException) -> bool:
    """Whether the service may have worked on a request that was ended by this: it was sent, and nothing refused it."""
    if statuses := [status for one in _chain(error) if (status := _status(one)) is not None]:
        return (
            statuses[0] < 300 or statuses[0] == TIMED_OUT
        )  # it cannot be read; or Azure gave it up, and charges for it
    return not never_sent(error)


def _again(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return status in _AGAIN or status >= 500
    return _of_connection(error)


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _of_connection(error: BaseException) -> bool:
    return any(
        isinstance(one, TimeoutError | ConnectionError)
        or type(one).__name__ in ("APIConnectionError", "APITimeoutError")
        for one in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it."""
    inner: BaseException | None = error
    seen: set[int] = set()
    while inner is not None and id(inner) not in seen:
        seen.add(id(inner))
        yield inner
        inner = inner.__cause__ or (None if inner.__suppress_context__ else inner.__context__)
