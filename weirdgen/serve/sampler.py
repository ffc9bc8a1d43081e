"""The thread that answers for one base: attaches the finetunes of those who wait, and writes batch after batch.

In: `Ask`s, put by any thread. Out: calls of their `tell`. Requests are gathered for a few milliseconds before a batch begins.
First come, first served: nobody overtakes a request whose finetune is not attached yet. An error ends the asks that it
belongs to, and the thread goes on.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from weirdgen.errors import WeirdgenError
from weirdgen.models.loading import is_out_of_memory
from weirdgen.models.references import LocalModel
from weirdgen.serve.asks import Ask
from weirdgen.serve.base import Base
from weirdgen.serve.batch import Batch, most_places
from weirdgen.serve.gate import Gate
from weirdgen.serve.problems import UNAVAILABLE, ApiError
from weirdgen.serve.queue import Queue, closing
from weirdgen.serve.writing import Alone, score

GATHER_SECONDS = 0.004
MOST_VARIANTS = 16
"""Finetunes that are attached at once; fewer where the first request is for many answers."""


class Sampler(threading.Thread):
    """Answers for one base and its finetunes until `close`."""

    def __init__(self, model: LocalModel, tokenizer: Any, gate: Gate, most_waiting: int, dtype: str = "auto") -> None:
        super().__init__(name="weirdgen-sampler", daemon=True)
        self._model, self._tokenizer, self._gate, self._dtype = model, tokenizer, gate, dtype
        self._queue = Queue(most_waiting)
        self._base: Base | None = None

    def submit(self, ask: Ask) -> None:
        """Raises `ApiError` if too many answers are waiting."""
        self._queue.submit(ask)

    def close(self) -> None:
        """Fail what waits, and end."""
        self._queue.close()
        self.join()

    def run(self) -> None:
        while True:
            self._queue.wait()
            if self._queue.closing:
                self._queue.fail(self._queue.all(), closing())
                return
            time.sleep(GATHER_SECONDS)
            try:
                with torch.inference_mode():
                    self._answer()
            except Exception as error:
                self._failed(error)

    def _answer(self) -> None:
        """Attach the finetunes of those who wait, and write one batch."""
        if self._base is None:
            with self._gate.work():
                self._base = Base(self._model, self._tokenizer, self._dtype)
        base, first = self._base, self._queue.first()
        if first is None:
            return
        # Each finetune that is attached has its share of the batch, whether it is asked or not.
        most = MOST_VARIANTS
        if first.max_tokens:
            places = most_places(base, first.n, 1, len(first.ids), first.max_tokens)
            most = max(1, min(most, places // first.n))
        wanted = self._queue.adapters(most)
        if not set(wanted) <= set(base.adapters) or len(base.adapters) > min(most, 2 * len(wanted)):
            with self._gate.step():
                self._attach(base, wanted, first)
        if first.adapter not in base.adapters:
            return
        if not first.max_tokens:
            score(base, self._gate, self._queue, self._queue.take())
        elif base.ways.batch(len(first.ids) + first.max_tokens):
            Batch(base, self._gate, self._queue).write()
        else:
            Alone(base, self._gate, self._queue, self._queue.take()).write()

    def _attach(self, base: Base, wanted: Sequence[Path | None], first: Ask) -> None:
        try:
            base.use(wanted)
        except WeirdgenError:  # one that is damaged must not keep the others from answering
            try:
                base.use([first.adapter])
            except WeirdgenError as error:
                self._queue.fail([first], error)

    def _failed(self, error: Exception) -> None:
        """Tell those whose answers were being written, or everybody if the base itself cannot be loaded."""
        if is_out_of_memory(error):
            error = ApiError(UNAVAILABLE, "There was not enough memory for this request.", "out_of_memory")
        elif not isinstance(error, WeirdgenError):
            traceback.print_exc(file=sys.stderr)
        self._queue.fail(self._queue.current or self._queue.all(), error)
