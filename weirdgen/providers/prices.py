"""What a provider charges for tokens, as far as it was read somewhere, and what a run has spent.

In: a dated table (`prices.yaml`, and a file of one's own named by `$WEIRDGEN_PRICES`), token counts. Out: dollars, or None where
no price is known: none is guessed. A `Purse` says before each request whether a budget allows it, and writes what was paid to the
store's `ledger.jsonl`.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from weirdgen.config.base import Noun
from weirdgen.config.files import Lines, parse_yaml
from weirdgen.errors import DataError, SpecError, WeirdgenError
from weirdgen.parsing import read_text, user_path

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

TABLE = Path(__file__).with_name("prices.yaml")
FORM = (
    "a table of prices is a list whose lines have the texts provider, model and source, read (a date), and any of input, output "
    f"and training (US dollars a million tokens, 0 or more) and finetuned (true or false), as in {TABLE}"
)
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
    for file in [user_path(own), TABLE] if own else [TABLE]:
        fits = [
            line
            for line in _read(file)
            if (line.provider, line.finetuned) == (provider, finetuned) and model.startswith(line.model)
        ]
        if fits:
            best = max(fits, key=lambda line: len(line.model))
            return Price(best.input, best.output, best.training, str(best.read), best.source)
    return None


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


Dollars = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]


class _Line(Noun, strict=True):
    """A line of a table: of a model, or of its finetunes."""

    provider: Text
    model: str
    finetuned: bool = False
    input: Dollars | None = None
    output: Dollars | None = None
    training: Dollars | None = None
    read: datetime.date | Text
    source: Text


def _read(file: Path) -> list[_Line]:
    """The lines of a table. Raises `SpecError` with file, line and key of each problem, and what is accepted."""
    try:
        data, line_of = parse_yaml(read_text(file).text, str(file))
    except DataError as error:
        raise SpecError([f"{error}; {FORM}"]) from None
    except SpecError as error:
        raise SpecError([f"{problem}; {FORM}" for problem in error.problems]) from None
    lines = Lines(file, line_of)
    if not isinstance(data, list | None):
        raise SpecError([f"{lines.at(())}: expected a list; {FORM}"])
    try:
        return TypeAdapter(list[_Line]).validate_python(data or [])
    except ValidationError as error:
        raise SpecError([_problem(one, lines) for one in error.errors()]) from None


def _problem(error: ErrorDetails, lines: Lines) -> str:
    place = tuple(error["loc"])
    key = next((part for part in place if isinstance(part, str)), "a line")
    told = "no such key" if error["type"] == "extra_forbidden" else error["msg"]
    return f"{lines.at(place)}: {key}: {told}; {FORM}"
