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
    def stage(self, name: str, total: float, unit: str) -> Iterator[Bar]:
        """A stage of `total` units of work. A stage without work shows nothing."""
        if self._quiet or total <= 0:
            yield Bar()
        elif sys.stderr.isatty():
            with _rich_bar() as bars:
                task = bars.add_task(name, total=total, unit=unit, note="")
                yield _TerminalBar(bars, task)
        else:
            bar = _PlainBar(name, total, unit)
            yield bar
            bar.finish()


class Bar:
    """Counts work. This one shows nothing."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """`amount` more units are done; `note` says what is being worked on."""


class _TerminalBar(Bar):
    def __init__(self, bars: Any, task: Any) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._bars.update(self._task, advance=amount, note=note)


class _PlainBar(Bar):
    def __init__(self, name: str, total: float, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done = 0.0
        self._started = self._said = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._done += amount
        if time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self._line(note)

    def finish(self) -> None:
        seconds = time.monotonic() - self._started
        if seconds >= 2:
            sys.stderr.write(f"{self._name}: {self._done:.0f} {self._unit} in {clock(seconds)}\n")

    def _line(self, note: str) -> None:
        rate = self._done / (time.monotonic() - self._started)
        left = clock((self._total - self._done) / rate) if rate else "?"
        tail = f"  {note}" if note else ""
        sys.stderr.write(
            f"{self._name}: {self._done:.0f}/{self._total:.0f} {self._unit}, {rate:.1f}/s, {left} left{tail}\n"
        )
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
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.1f} {task.fields['unit']}/s")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=Console(stderr=True),
    )
