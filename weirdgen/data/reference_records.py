"""Records that fill the references' templates: list lines, combined values, computed columns.

In: the `list`, `combine`, `compute` and `size` of a set's definition. Out: records (column to text), always the same ones
in the same order. It does not know of prompts, answers or chat rows: `weirdgen.data.references` does.
"""

from __future__ import annotations

import csv
import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weirdgen.data.reference_compute import COMPUTED
from weirdgen.data.reference_text import fill
from weirdgen.errors import DataError

Record = dict[str, str]
LISTS = Path(__file__).parents[1] / "references" / "lists"
DIGITS, LETTERS = "0123456789", "ABCDEFGHJKLMNPQRSTUVWXYZ"


def read_list(name: str) -> list[Record]:
    """The lines of `lists/NAME.csv`. Raises `DataError` on a missing file, a line of another width, or an empty value."""
    source = LISTS / f"{name}.csv"
    try:
        with source.open(encoding="utf-8", newline="") as file:
            header, *lines = [line for line in csv.reader(file) if line]
    except FileNotFoundError:
        raise DataError(f"{source}: no such list") from None
    except ValueError:
        raise DataError(f"{source}: empty; expected a line of column names and the items below it") from None
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header) or not all(value.strip() for value in line):
            raise DataError(f"{source}:{number}: expected {len(header)} values ({', '.join(header)}), got {line}")
    return [dict(zip(header, line, strict=True)) for line in lines]


def make_records(
    seed: str, listed: str | None, combine: dict[str, Any], compute: tuple[str, ...], size: int, where: str
) -> list[Record]:
    """The records of one definition. A list gives its lines, each with a value of every pool; without a list the pools
    give `size` different combinations. Each pool is used up before a value comes again, so that all are used alike.
    `seed` decides the order, `where` (file and set) begins an error."""
    lines = read_list(listed) if listed else None
    deals = {name: _deal(f"{seed}:{name}", name, pool, where) for name, pool in combine.items()}
    records: list[Record] = []
    seen: set[tuple[str, ...]] = set()
    wanted = len(lines) if lines else size
    for attempt in range(wanted * 40):
        if len(records) == wanted:
            return records
        record = dict(lines[len(records)]) if lines else {}
        for deal in deals.values():
            record |= next(deal)
        for name in compute:
            record |= COMPUTED[name](record, random.Random(f"{seed}:{name}:{attempt}"))
        record = {column: fill(value, record) if "{" in value else value for column, value in record.items()}
        key = tuple(record.values())
        if key not in seen:
            seen.add(key)
            records.append(record)
    raise DataError(f"{where}: only {len(records)} different records can be made of its pools; it asks for {wanted}")


def _deal(seed: str, name: str, pool: Any, where: str) -> Iterator[Record]:
    """Endless values of a pool, in rounds: every value once, shuffled, then again."""
    rng = random.Random(seed)
    if isinstance(pool, dict) and set(pool) == {"code"}:
        while True:
            yield {name: _code(pool["code"], rng)}
    values = _values(name, pool, where)
    while True:
        yield from rng.sample(values, len(values))


def _values(name: str, pool: Any, where: str) -> list[Record]:
    """What a pool holds: texts, mappings (their keys become `pool_key`), a list's lines, a range of numbers, or dates."""
    if isinstance(pool, str):
        return [_prefixed(name, line) for line in read_list(pool)]
    if isinstance(pool, list) and pool:
        return [_prefixed(name, record if isinstance(record, dict) else {"name": record}) for record in pool]
    match pool:
        case {"range": [int(first), int(last), *step]}:
            return [{name: str(number)} for number in range(first, last + 1, *step)]
        case {"days": [datetime.date() as first, datetime.date() as last]}:
            days = (first + datetime.timedelta(days=i) for i in range((last - first).days + 1))
            return [_day(name, day) for day in days]
    raise DataError(
        f"{where}: pool {name!r} must be a list of values, the name of a list, {{range: [1, 9]}}, "
        "{days: [2025-01-01, 2025-12-31]} or {code: 'AB-###'}"
    )


def _prefixed(name: str, values: dict[str, Any]) -> Record:
    return {name if key == "name" else f"{name}_{key}": str(value) for key, value in values.items()}


def _day(name: str, day: datetime.date) -> Record:
    return {
        name: day.isoformat(),
        f"{name}_long": f"{day.day} {day:%B} {day.year}",
        f"{name}_american": f"{day:%B} {day.day}, {day.year}",
        f"{name}_weekday": f"{day:%A}",
    }


def _code(pattern: str, rng: random.Random) -> str:
    """`#` becomes a digit, `@` a capital letter (no I and no O)."""
    return "".join(rng.choice(DIGITS) if c == "#" else rng.choice(LETTERS) if c == "@" else c for c in pattern)
