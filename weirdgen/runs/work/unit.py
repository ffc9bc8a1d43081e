"""What every unit of work can do: say what it needs, and do what of it the store lacks.

In: plain frozen data (what to train, score, sample or judge) and a store. Out: results in the store, and a `Done` that counts
them. A unit looks first at what the store holds, so that one which was cut off pays only for what it had not kept. Which
units there are, and so which models go through a batch together, is decided by `weirdgen.runs.pipeline` before any is done;
where they are done is up to `weirdgen.runs.work.executors`. Adding a kind of work is adding a subclass.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from weirdgen import machine
from weirdgen.store.artifacts import Store

Tell = Callable[[float, str], None]
"""Called while a unit is done, with the amount that has been added and a note on what is being worked on."""
PROCESS_BYTES = 0.5 * 2**30
"""A Python process with torch in it, before any weights."""


class Done(NamedTuple):
    """What one unit added: `amount` in the bar's unit, model `tokens` read or written, `seconds` it took."""

    amount: float
    tokens: float
    seconds: float


def remember_speed(kind: str, done: Sequence[Done], parameters: int, dtype: str) -> None:
    """Keep how fast this machine did these units, for the next plan."""
    tokens, seconds = sum(one.tokens for one in done), sum(one.seconds for one in done)
    if tokens:
        machine.remember_rate(kind, parameters, dtype, tokens, seconds)


class Needs(NamedTuple):
    """What a unit asks of the machine that does it. `memory` in bytes of main memory."""

    threads: bool
    """Whether it uses every core it gets, and a GPU if there is one; otherwise one core is enough."""
    memory: int
    gpus: int = 1
    """How many of them, where there are any."""


class Unit(ABC):
    """One piece of work."""

    on_driver: ClassVar[bool] = False
    """Whether only the process that started the run can do it: it holds what a worker must not have, such as keys."""

    @property
    def title(self) -> str:
        """The name shown in an executor's dashboard."""
        return type(self).__name__.lower()

    @abstractmethod
    def needs(self) -> Needs:
        """Declared before the unit is sent anywhere."""

    @abstractmethod
    def locks(self) -> Sequence[tuple[str, str]]:
        """(stage, key) of what is held while it is done: another run that wants the same waits, and finds it there."""

    @abstractmethod
    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        """Do what the store lacks. Returns (amount, tokens) as in `Done`."""

    def do(self, store: Store, tell: Tell) -> Done:
        """`work` under its locks. Raises `WeirdgenError`; anything else is a defect."""
        with contextlib.ExitStack() as held:
            for stage, key in self.locks():
                held.enter_context(store.lock(stage, key))
            started = time.monotonic()
            amount, tokens = self.work(store, tell)
            return Done(amount, tokens, time.monotonic() - started)


class Count:
    """What a unit has added so far, told as it is added."""

    def __init__(self, tell: Tell) -> None:
        self.amount = self.tokens = 0.0
        self._tell = tell

    def add(self, amount: int, tokens: int) -> None:
        self.amount, self.tokens = self.amount + amount, self.tokens + tokens
        self._tell(amount, "")
