"""Progress with rates and time left: bars on a terminal, plain lines elsewhere, nothing when quiet.

In: the stages of a run as they start and advance. Out: text on standard error. It decides nothing.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

LINE_SECONDS = 10.0
"""Between two plain lines of one stage."""
AT_ONCE_SECONDS = 0.5
"""Amounts that follow a stage's first within so long count with it: a resumed training tells its steps at once."""


class Progress:
    """Where a run reports what it is doing."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def say(self, text: str) -> None:
        """One line, unless quiet."""
        if not self._quiet:
            from rich.console import Console

            Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)

    @contextlib.contextmanager
    def stage(self, name: str, total: float, unit: str, before: float = 0.0) -> Iterator[Bar]:
        """A stage of `total` units of work, of which an earlier process did `before`. A stage without work shows nothing."""
        if self._quiet or total <= 0:
            yield Bar()
        elif sys.stderr.isatty():
            with _rich_bar() as bars:
                task = bars.add_task(name, total=total, unit=unit, note="", rate="?", left="?")
                yield _TerminalBar(bars, task, total)
        else:
            bar = _PlainBar(name, total, unit, before)
            yield bar
            bar.finish()


class Bar:
    """Counts work. This one shows nothing."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """`amount` more units are done; `note` says what is being worked on."""


class _Pace:
    """How much is done, and how fast now: of what came after the first, which was there before or took the set-up's time."""

    def __init__(self, total: float) -> None:
        self.total, self.done = total, 0.0
        self._first: float | None = None
        self._since = (time.monotonic(), 0.0)
        """Seconds and amount from which the rate counts."""

    def add(self, amount: float) -> None:
        now = time.monotonic()
        self.done += amount
        if not amount:  # a note alone
            return
        self._first = now if self._first is None else self._first
        if now - self._first < AT_ONCE_SECONDS:
            self._since = (now, self.done)

    @property
    def rate(self) -> float | None:
        """Units a second; None as long as nothing is known."""
        seconds, done = time.monotonic() - self._since[0], self.done - self._since[1]
        return done / seconds if done and seconds else None

    @property
    def words(self) -> tuple[str, str]:
        """The rate without its unit, and the time left."""
        rate = self.rate
        return (f"{rate:.1f}", clock((self.total - self.done) / rate)) if rate else ("?", "?")


class _TerminalBar(Bar):
    def __init__(self, bars: Any, task: Any, total: float) -> None:
        self._bars, self._task, self._pace = bars, task, _Pace(total)

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._pace.add(amount)
        rate, left = self._pace.words
        self._bars.update(self._task, advance=amount, note=note, rate=rate, left=left)


class _PlainBar(Bar):
    def __init__(self, name: str, total: float, unit: str, before: float) -> None:
        self._name, self._unit, self._before, self._pace = name, unit, before, _Pace(total)
        self._started = self._said = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._pace.add(amount)
        if time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self._line(note)

    def finish(self) -> None:
        seconds = time.monotonic() - self._started
        if seconds >= 2:
            here, earlier = max(0.0, self._pace.done - self._before), f"; {self._before:.0f} were done before"
            told = f"{self._name}: {here:.0f} {self._unit} done after {clock(seconds)}{earlier if self._before else ''}"
            sys.stderr.write(f"{told}\n")

    def _line(self, note: str) -> None:
        pace, tail = self._pace, f"  {note}" if note else ""
        rate, left = pace.words
        sys.stderr.write(f"{self._name}: {pace.done:.0f}/{pace.total:.0f} {self._unit}, {rate}/s, {left} left{tail}\n")
        sys.stderr.flush()


def clock(seconds: float) -> str:
    """`7 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _rich_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} {task.fields[unit]}/s"),
        TextColumn("{task.fields[left]} left"),
        TextColumn("{task.fields[note]}", style="dim"),
        console=Console(stderr=True),
    )
