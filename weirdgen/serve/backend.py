"""The server without HTTP: store, files, jobs, models, the threads that validate and train jobs, and those that answer.

In: model references, a store, limits. Out: what requests need, opened and closed together. Two servers never share a store's
jobs: the second is told so.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from filelock import Timeout

from weirdgen.errors import StoreError
from weirdgen.models.template import Messages
from weirdgen.serve.asks import Answer, Ask, Failed, Given, Told
from weirdgen.serve.catalogue import Catalogue, Served
from weirdgen.serve.files import Files
from weirdgen.serve.gate import Gate
from weirdgen.serve.jobs import Jobs
from weirdgen.serve.limits import Limits
from weirdgen.serve.requests import most_tokens
from weirdgen.serve.sampler import Sampler
from weirdgen.serve.training import Trainer
from weirdgen.serve.validating import Validator
from weirdgen.store.artifacts import Store


class Backend:
    """Open it with `with`: threads start then, and end with the block."""

    def __init__(self, references: Sequence[str], store: Store, limits: Limits, dtype: str = "auto") -> None:
        """`dtype`: of what answers; a job's recipe has its own.

        Raises `WeirdgenError` if a model cannot be found, or another server uses the store."""
        if store.remote:
            raise StoreError("weirdgen serve needs a store in a folder, since jobs are kept beside it: --store DIR")
        self.limits, self.store, self._dtype = limits, store, dtype
        self._lock = store.lock("serve", "jobs")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"another weirdgen serve uses the store {store.root}: stop it, or pass --store DIR"
            ) from None
        root = store.root / "serve"
        self.files = Files(root / "files", limits)
        self.jobs = Jobs(root / "jobs", limits)
        self.models = Catalogue(references, store, self.jobs, limits.context, int(time.time()))
        self.gate = Gate()
        self._samplers: dict[str, Sampler] = {}
        self._making = threading.Lock()
        self._validator = Validator(store, self.jobs, self.files, self.models.bases, self.gate)
        self._trainer = Trainer(store, self.jobs, self.files, self._validator, limits, self.gate)

    def __enter__(self) -> Backend:
        self._validator.start()
        self._trainer.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Threads end at their next step. Closing twice does nothing."""
        for sampler in self._samplers.values():
            sampler.close()
        self._trainer.close()
        self._validator.close()
        self._lock.release()

    def sampler(self, base: str) -> Sampler:
        """The thread that answers for a base, started when it is first asked."""
        with self._making:
            if base not in self._samplers:
                model, tokenizer = self.models.bases[base], self.models.tokenizers[base]
                made = self._samplers[base] = Sampler(model, tokenizer, self.gate, self.limits.waiting, self._dtype)
                made.start()
            return self._samplers[base]

    async def told(self, served: Served, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Told]]:
        """(number of the ask, what was told), until all asks are over; `Failed` is raised. Leaving it cancels the rest."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Told]]()

        def teller(number: int) -> Callable[[Told], None]:
            def tell(told: Told) -> None:
                try:
                    loop.call_soon_threadsafe(queue.put_nowait, (number, told))
                except RuntimeError:  # the loop is closed: nobody listens any longer
                    asks[number].cancelled = True

            return tell

        left = sum(ask.n if ask.max_tokens else 0 for ask in asks) + sum(ask.echo for ask in asks)
        try:
            for number, ask in enumerate(asks):
                ask.tell = teller(number)
                self.sampler(served.base).submit(ask)
            while left:
                number, told = await queue.get()
                if isinstance(told, Failed):
                    raise told.error
                left -= isinstance(told, Answer | Given)
                yield number, told
        finally:
            for ask in asks:
                ask.cancelled = True

    async def contrast(self, served: Served, messages: Messages, options: Sequence[str], ask: Ask) -> list[float]:
        """Log-probability (nats) of each option as the whole answer, its end of turn included.

        Raises `ModelError` if the template writes no such answer, `ApiError` if prompt and answer do not fit into the context.
        """
        context, parts = self.models.context[served.base], []
        for option in options:
            before, tail = await asyncio.to_thread(self.models.answer_ids, served.base, messages, option)
            most_tokens(len(tail), len(before), context, 0, self.limits)
            parts.append((before, tail))
        asks = [replace(ask, ids=(*before, *tail), n=1, max_tokens=0, echo=True) for before, tail in parts]
        totals = [0.0] * len(options)
        async for number, told in self.told(served, asks):
            if isinstance(told, Given):
                tail = parts[number][1]
                totals[number] = sum(value or 0.0 for value in told.logprobs[-len(tail) :])
        return totals


def unseeded() -> str:
    """A seed for a request that names none."""
    return secrets.token_hex(8)


def unheard(told: Any) -> None:
    """Stands in an `Ask` until `Backend.told` listens."""
