"""What a service charges for tokens, where a published price is known.

In: a dated table (`prices.yaml`, and a file of one's own named by `$WEIRDGEN_PRICES`), a model, token counts. Out: dollars, or
None where no price is known: none is guessed. What a run has spent is `providers.purse`.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from weirdgen.config.base import Noun
from weirdgen.config.files import Lines, parse_yaml
from weirdgen.errors import DataError, SpecError, did_you_mean
from weirdgen.parsing import read_text, user_path
from weirdgen.providers.service import Service, service_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

TABLE = Path(__file__).with_name("prices.yaml")
FORM = (
    "a table of prices is a list whose lines have the texts provider, model and source, read (a date), and any of input, output "
    "and training (US dollars a million tokens, 0 or more), finetuned (true or false) and snapshots (days of equal price), as in "
    f"{TABLE}"
)


@dataclass(frozen=True)
class Price:
    """US dollars a million tokens; None: not known."""

    input: float | None
    output: float | None
    training: float | None
    read: str
    """The day on which it was read."""
    source: str


def find_price(service: Service, model: str, finetuned: bool) -> Price | None:
    """The price of a model, or of its finetunes, by its name or a snapshot that its line lists. Raises `SpecError`.

    A line of one's own file holds for its provider at any address; one of ours only at the provider's own.
    """
    own = os.environ.get("WEIRDGEN_PRICES")
    tables = [(user_path(own), service.provider)] if own else []
    for file, provider in [*tables, (TABLE, service.known_as)]:
        for line in _lines(file):
            if (line.provider, line.finetuned) == (provider, finetuned) and model in line.names:
                return Price(line.input, line.output, line.training, str(line.read), line.source)
    return None


def judge_price(reference: str) -> Price | None:
    """What asking a judging model `PROVIDER/NAME` costs: by `$WEIRDGEN_JUDGE_PRICE` (`READ/WRITTEN`), else as `find_price`."""
    read, slash, written = os.environ.get("WEIRDGEN_JUDGE_PRICE", "").partition("/")
    try:
        if slash:
            return Price(float(read), float(written), None, "by you", "WEIRDGEN_JUDGE_PRICE")
    except ValueError:
        raise SpecError(
            [f"WEIRDGEN_JUDGE_PRICE={read}/{written}: expected READ/WRITTEN in dollars a million tokens, e.g. 2/8"]
        ) from None
    words = reference.split("/")
    parts = 2 if words[0] == "openai-api" else 1
    service = service_of("/".join(words[:parts]), None)
    return find_price(service, "/".join(words[parts:]), finetuned=False)


def dollars(price: Price | None, *, read: int = 0, written: int = 0, trained: int = 0) -> float | None:
    """Of so many tokens; None if a price that it needs is not known."""
    known = price or Price(None, None, None, "", "")
    total = 0.0
    for count, each in ((read, known.input), (written, known.output), (trained, known.training)):
        if count and each is None:
            return None
        total += count * (each or 0.0) / 1e6
    return total


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
    snapshots: list[datetime.date | Text] = Field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """Of models that have this price."""
        return {self.model, *(f"{self.model}-{day}" for day in self.snapshots)}


def _lines(file: Path) -> list[_Line]:
    return _read(file, file.stat().st_mtime_ns if file.is_file() else 0)


@lru_cache(maxsize=8)
def _read(file: Path, changed: int) -> list[_Line]:
    """The lines of a table, read again when it has changed.

    Raises `SpecError` with file, line and key of each problem, and what is accepted.
    """
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
    unknown = error["type"] == "extra_forbidden"
    told = f"no such key{did_you_mean(key, _Line.model_fields)}" if unknown else error["msg"]
    return f"{lines.at(place)}: {key}: {told}; {FORM}"
