"""Who may use torch when: answers are written step by step, and a step waits while weights are being read.

transformers changes the whole process's default dtype while it builds a model, so that a tensor which another thread makes
meanwhile would come out in it. In: threads that step and threads that load. Out: never both at once, and loading goes first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_SECONDS = 0.002


class Gate:
    """One for all threads of a server that use torch."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), threading.Lock()
        self._loading = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around each step of decoding or scoring."""
        while self._loading:  # a lock alone would be taken again by the thread that has just given it up
            time.sleep(WAIT_SECONDS)
        with self._lock:
            yield

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Around everything that reads weights. Not inside a step."""
        with self._count:
            self._loading += 1
        try:
            with self._lock:
                yield
        finally:
            with self._count:
                self._loading -= 1
