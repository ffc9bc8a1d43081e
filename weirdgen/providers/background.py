"""Many requests to one service at a time, as an iterator for synchronous callers.

In: requests, and a service that says how one is asked, what it can cost and which answers are failures. Out: answers in the order
of their arrival. Until one is answered requests go one by one, so that a wrong key or name costs few of them; after many failures
in a row the service counts as down. When a request is sent again, and what its answer means, is left to the service.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from weirdgen.errors import ModelError
from weirdgen.providers.meter import Meter

FIRST = 3
"""Failures before the first answer after which a service counts as out of reach; a single one may be due to its request."""
FAILURES_IN_A_ROW = 20
"""After so many it counts as down."""
OPENING_SECONDS = 900.0
"""For opening a client."""
JOIN_SECONDS = 10
"""How long a closed iterator waits for its coroutine to clean up."""
Item = TypeVar("Item")
Put = Callable[[Item], None]
"""Hands an item to the iterator; never waits."""
Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass
class _Flow(Generic[Request, Answer]):
    """Requests on their way, in one event loop."""

    waiting: list[Request]
    """The next one last."""
    ask: Callable[[Any, Request], Awaitable[Answer]]
    first: int
    """Failures before the first answer that end it."""
    arrived: Put[Answer]
    stop: threading.Event
    under_way: int = 0
    answered: bool = False
    in_a_row: int = 0
    """Failures since the last answer."""
    early: list[Answer] = field(default_factory=list)
    """Failures before the first answer, which are handed on unless they end it: nothing is kept of a service out of reach."""


class Asker(ABC, Generic[Request, Answer]):
    """Asks one service, which messages call `shown`, at most `connections` requests at a time."""

    def __init__(self, shown: str, connections: int) -> None:
        self._shown, self._connections = shown, max(1, connections)

    @abstractmethod
    def _open(self) -> Any:
        """The service's client. Raises `ModelError`."""

    @abstractmethod
    async def _close(self, client: Any) -> None: ...

    @abstractmethod
    def _meter(self, request: Request) -> Meter: ...

    @abstractmethod
    def _most(self, request: Request) -> float | None:
        """Dollars that a request can cost; None without a price."""

    @abstractmethod
    def _failure(self, answer: Answer) -> str | None:
        """Why this is no answer; None if it is one."""

    @abstractmethod
    def _next(self, left: int) -> str:
        """What the budget does not allow: the next request, of `left` ones."""

    def _rest(self, request: Request, answer: Answer) -> Request | None:
        """What this answer left of its request."""
        return None

    def ask_all(
        self, requests: Sequence[Request], ask: Callable[[Any, Request], Awaitable[Answer]], first: int = FIRST
    ) -> Generator[Answer]:
        """Answers and failures of `ask(client, request)`, as they come. Closing the iterator cancels what is under way.

        Raises `ModelError` if the `first` requests fail, or many in a row; `BudgetError` once nothing more may be paid.
        """

        async def produce(arrived: Put[Answer], stop: threading.Event) -> None:
            await self._produce(_Flow(list(reversed(requests)), ask, first, arrived, stop))

        return iterate_in_background(produce, self._shown)

    async def _produce(self, flow: _Flow[Request, Answer]) -> None:
        client = await asyncio.wait_for(asyncio.to_thread(self._open), OPENING_SECONDS)
        whole = asyncio.create_task(self._work(client, flow))
        try:
            while not whole.done() and not flow.stop.is_set():
                await asyncio.wait([whole], timeout=0.2)
            if not flow.stop.is_set():
                whole.result()
        finally:
            whole.cancel()
            await asyncio.gather(whole, return_exceptions=True)
            await self._close(client)

    async def _work(self, client: Any, flow: _Flow[Request, Answer]) -> None:
        async def in_turn(until_answered: bool) -> None:
            while flow.waiting and not flow.stop.is_set() and not (until_answered and flow.answered):
                request = flow.waiting[-1]
                meter, most = self._meter(request), self._most(request)
                if not meter.hold(most):
                    if not flow.under_way:  # else what is under way may cost less than was kept back for it
                        raise meter.exhausted(self._next(len(flow.waiting)))
                    await asyncio.sleep(0.05)
                    continue
                flow.waiting.pop()
                flow.under_way += 1
                try:
                    answer = await flow.ask(client, request)
                    if (rest := self._rest(request, answer)) is not None:
                        flow.waiting.append(rest)  # what came is paid, and kept
                    self._count(flow, answer)
                finally:
                    flow.under_way -= 1
                    meter.release(most)

        await in_turn(until_answered=True)
        for failure in flow.early:
            flow.arrived(failure)
        workers = [asyncio.create_task(in_turn(False)) for _ in range(min(self._connections, len(flow.waiting)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _count(self, flow: _Flow[Request, Answer], answer: Answer) -> None:
        why = self._failure(answer)
        flow.answered |= why is None
        flow.in_a_row = 0 if why is None else flow.in_a_row + 1
        if not flow.answered:
            flow.early.append(answer)
            if flow.in_a_row >= flow.first:
                raise ModelError(f"{self._shown}: the first {flow.in_a_row} requests failed: {why}")
            return
        flow.arrived(answer)
        if flow.in_a_row >= FAILURES_IN_A_ROW:
            raise ModelError(
                f"{self._shown}: {flow.in_a_row} requests failed in a row, the last with: {why}. What came before is kept; the "
                "same command continues from there"
            )


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
