"""What a run may spend at services, and has spent.

In: a budget, dollars. Out: whether a request may be sent; a line per paid request or job in the store's `ledger.jsonl`. What was
not told is booked as the most that it can have cost, and marked `estimated`. Prices are `providers.prices`.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen.errors import SpecError, WeirdgenError
from weirdgen.providers.prices import TABLE

LEDGER = "ledger.jsonl"
"""In the store's root."""


class BudgetError(WeirdgenError):
    """More would cost more than was allowed."""


class Spent(NamedTuple):
    """What a run has spent as far as prices are known."""

    usd: float = 0.0
    unpriced: int = 0
    """Lines of the ledger without a price."""
    estimated: int = 0
    """Lines that book the most that it can have cost, since the service did not say."""


def parse_budget(text: str | None) -> float | None:
    """Dollars of `20usd`, `20 USD` or `$20`. Raises `SpecError`."""
    if text is None:
        return None
    match = re.fullmatch(r"\$?\s*([0-9]+(?:\.[0-9]+)?)\s*(?:usd)?", text.strip(), re.I)
    if not match:
        raise SpecError([f"--budget {text}: expected US dollars, e.g. 20usd"])
    return float(match[1])


class Purse:
    """What one run may spend and has spent, in all its commands together. Safe for several threads."""

    def __init__(self, root: Path, run: str, budget: float | None) -> None:
        self._file, self._run, self.budget = root / LEDGER, run, budget
        self._held, self._lock = 0.0, threading.Lock()
        self.spent = spent(root, run).usd

    def hold(self, cost: float | None, what: str) -> bool:
        """Whether this may be paid; if so it is kept back until `release`. Raises `BudgetError` where no price is known."""
        if self.budget is None:
            return True
        if cost is None:
            raise BudgetError(
                f"--budget: the price of {what} is not known, so no budget can be kept; write it into a file in the form of "
                f"{TABLE.name} and name that in WEIRDGEN_PRICES, or leave --budget out"
            )
        with self._lock:
            if self.spent + self._held + cost > self.budget:
                return False
            self._held += cost
            return True

    def within(self) -> bool:
        """Whether what is spent and what is kept back keep to the budget: a try that failed may have been charged."""
        with self._lock:
            return self.budget is None or self.spent + self._held <= self.budget

    def release(self, held: float | None) -> None:
        """What was kept back is free again."""
        with self._lock:
            self._held = max(0.0, self._held - (held or 0.0)) if self.budget is not None else 0.0

    def pay(self, usd: float | None, *, estimated: bool = False, **line: Any) -> None:
        """Write down what was paid."""
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "run": self._run, **line, "usd": usd}
        if estimated:
            entry["estimated"] = True
        with self._lock:
            self.spent += usd or 0.0
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab+") as stream:
                # A process that was killed may have left half a line, which must not swallow this one.
                torn = stream.tell() and stream.seek(-1, os.SEEK_END) >= 0 and stream.read(1) != b"\n"
                stream.write((b"\n" if torn else b"") + json.dumps(entry).encode() + b"\n")

    def pay_once(self, job: str, usd: float | None, *, estimated: bool = False, **line: Any) -> None:
        """Write down what a job was paid, unless that is written down already, by whichever run."""
        if not any(entry.get("job") == job for entry in _entries(self._file)):
            self.pay(usd, estimated=estimated, job=job, **line)

    def exhausted(self, doing: str) -> BudgetError:
        return BudgetError(
            f"--budget: ${self.spent:.4f} of ${self.budget:.2f} is spent, and {doing} could pass it. What came is kept; "
            "the same command with a larger --budget goes on from here"
        )


def spent(root: Path, run: str) -> Spent:
    """What a run has spent."""
    total = Spent()
    for entry in _entries(root / LEDGER):
        if entry.get("run") == run:
            usd = entry.get("usd")
            total = Spent(
                total.usd + (usd or 0.0), total.unpriced + (usd is None), total.estimated + bool(entry.get("estimated"))
            )
    return total


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # what a killed process had begun to write
            continue
        if isinstance(entry, dict):
            yield entry
