"""What a provider charges for tokens, as far as it was read somewhere, and what a run has spent.

In: a dated table (`prices.yaml`, and a file of one's own named by `$WEIRDGEN_PRICES`), token counts. Out: dollars, or None where
no price is known: none is guessed. A `Purse` says before each request whether a budget allows it, and writes what was paid to the
store's `ledger.jsonl`.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.errors import SpecError, WeirdgenError

TABLE = Path(__file__).with_name("prices.yaml")
LEDGER = "ledger.jsonl"
"""In the store's root: a line a paid request or job."""


class BudgetError(WeirdgenError):
    """More would cost more than was allowed."""


@dataclass(frozen=True)
class Price:
    """US dollars a million tokens; None: not known."""

    input: float | None
    output: float | None
    training: float | None
    read: str
    source: str


def find_price(provider: str, model: str, finetuned: bool) -> Price | None:
    """The price of a model, or of its finetunes; the longest name that it begins with counts. Raises `SpecError`."""
    own = os.environ.get("WEIRDGEN_PRICES")
    best = _best(Path(own), provider, model, finetuned) if own else None
    best = best or _best(TABLE, provider, model, finetuned)
    return best[1] if best else None


def dollars(price: Price | None, *, read: int = 0, written: int = 0, trained: int = 0) -> float | None:
    """Of so many tokens; None if a price that it needs is not known."""
    known = price or Price(None, None, None, "", "")
    total = 0.0
    for count, each in ((read, known.input), (written, known.output), (trained, known.training)):
        if count and each is None:
            return None
        total += count * (each or 0.0) / 1e6
    return total


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
        self.spent = spent(root, run)[0]

    def hold(self, cost: float | None, what: str) -> bool:
        """Whether this may be paid; if so it is kept back until `pay`. Raises `BudgetError` where no price is known."""
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

    def release(self, held: float | None) -> None:
        """What was kept back is free again."""
        with self._lock:
            self._held = max(0.0, self._held - (held or 0.0)) if self.budget is not None else 0.0

    def pay(self, usd: float | None, **line: Any) -> None:
        """Write down what was paid."""
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "run": self._run, **line, "usd": usd}
        with self._lock:
            self.spent += usd or 0.0
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")

    def exhausted(self, doing: str) -> BudgetError:
        return BudgetError(
            f"--budget: ${self.spent:.4f} of ${self.budget:.2f} is spent, and {doing} could pass it. Everything paid for is "
            "kept; the same command with a larger --budget goes on from here"
        )


def spent(root: Path, run: str) -> tuple[float, int]:
    """Dollars that a run has spent as far as prices are known, and how many lines of its ledger have none."""
    total, unknown = 0.0, 0
    if not (root / LEDGER).is_file():
        return total, unknown
    for line in (root / LEDGER).read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the last line of a killed process
            continue
        if entry.get("run") == run:
            total, unknown = total + (entry["usd"] or 0.0), unknown + (entry["usd"] is None)
    return total, unknown


def _best(file: Path, provider: str, model: str, finetuned: bool) -> tuple[int, Price] | None:
    import yaml

    try:
        lines = yaml.safe_load(file.read_text(encoding="utf-8")) or []
        fits = [
            (
                len(line["model"]),
                Price(line.get("input"), line.get("output"), line.get("training"), str(line["read"]), line["source"]),
            )
            for line in lines
            if line["provider"] == provider and model.startswith(line["model"])
            if bool(line.get("finetuned")) == finetuned
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            [
                f"{file}: expected lines of provider, model, input, output, training, read and source, as in {TABLE} ({error!r})"
            ]
        ) from None
    return max(fits, key=lambda fit: fit[0], default=None)
