"""A coroutine's items, read by callers that are no coroutines."""

from __future__ import annotations

import asyncio
import threading

import pytest

from weirdgen.providers.background import Put, iterate_in_background


async def ten(put: Put[int], stop: threading.Event) -> None:
    for number in range(10):
        put(number)
        await asyncio.sleep(0)


def test_items_come_in_order_also_inside_an_event_loop() -> None:
    async def notebook() -> list[int]:
        return list(iterate_in_background(ten, "numbers"))

    assert asyncio.run(notebook()) == list(range(10))


def test_an_error_comes_after_the_items_before_it() -> None:
    async def breaks(put: Put[int], stop: threading.Event) -> None:
        await ten(put, stop)
        raise KeyError("gone")

    items = iterate_in_background(breaks, "breaking")
    assert [next(items) for _ in range(10)] == list(range(10))
    with pytest.raises(KeyError, match="gone"):
        next(items)


def test_closing_stops_the_coroutine_and_waits_for_it() -> None:
    ended = []

    async def endless(put: Put[int], stop: threading.Event) -> None:
        while not stop.is_set():
            put(1)
            await asyncio.sleep(0.001)
        ended.append(threading.current_thread().name)

    items = iterate_in_background(endless, "endless")
    assert next(items) == 1
    items.close()
    assert ended == ["endless"]
