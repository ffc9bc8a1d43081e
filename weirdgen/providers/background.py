"""What a coroutine puts out, as an iterator for callers that are no coroutines.

In: a coroutine function that is given where to put its items and a sign to stop. Out: the items as they come. What the items are,
and how many requests are under way at a time, is the coroutine's affair.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, TypeVar

JOIN_SECONDS = 10
"""How long a closed iterator waits for its coroutine to clean up."""
Item = TypeVar("Item")
Put = Callable[[Item], None]
"""Hands an item to the iterator; never waits."""


class _End(NamedTuple):
    error: BaseException | None


def iterate_in_background(
    produce: Callable[[Put[Item], threading.Event], Coroutine[Any, Any, None]], name: str
) -> Generator[Item]:
    """Items of `produce(put, stop)` in the order in which it puts them, run in a thread called `name`.

    Raises what `produce` raises, after the items before it. Closing the iterator sets `stop`: `produce` then cancels what is
    under way and returns.
    """
    arrived: queue.Queue[Item | _End] = queue.Queue()
    stop = threading.Event()

    # A thread of its own: the caller may be inside an event loop (a notebook), where another cannot be run.
    def work() -> None:
        try:
            asyncio.run(produce(arrived.put, stop))
            arrived.put(_End(None))
        except BaseException as error:
            arrived.put(_End(error))

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        while not isinstance(item := arrived.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join(timeout=JOIN_SECONDS)
