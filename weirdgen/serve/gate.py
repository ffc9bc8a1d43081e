"""Who may use torch when: threads compute side by side, and one that builds a model is alone meanwhile.

transformers changes the whole process's default dtype while it builds a model, so that a tensor which another thread makes
meanwhile would come out in it. In: threads that compute, and threads that load. Out: never both at once, and loading goes
first. What needs no torch (reading and tokenising rows) needs no gate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from weirdgen.models.loading import building


class Gate:
    """One for all threads of a server that use torch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._computing = self._loading = 0
        self._alone = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around each step of decoding or scoring. Waits while a model is being built, or about to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._loading)
            self._computing += 1
        try:
            yield
        finally:
            with self._changed:
                self._computing -= 1
                self._changed.notify_all()

    @contextmanager
    def work(self) -> Iterator[Callable[[], None]]:
        """Around work that builds models somewhere inside and computes with them: all after the first of them is a step.

        Yields what is to be called now and then, so that others may build theirs. No `step` inside, nor other `work`.
        """
        with ExitStack() as computing:

            @contextmanager
            def alone() -> Iterator[None]:
                computing.close()
                with self._load():
                    yield
                computing.enter_context(self.step())

            def between() -> None:
                computing.close()
                computing.enter_context(self.step())

            former = building.set(alone)
            try:
                yield between
            finally:
                building.reset(former)

    @contextmanager
    def _load(self) -> Iterator[None]:
        with self._changed:
            self._loading += 1
            self._changed.wait_for(lambda: not self._computing and not self._alone)
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._loading -= 1
                self._changed.notify_all()
