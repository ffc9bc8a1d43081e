"""Training rows: chat rows read from a file, or templates filled from a table; their hash.

In: an `Arm` and the folder of its experiment, or a file. Out: rows, each `{"messages": [{"role", "content"}, …]}`, and where
each stands. Raises `DataError` naming file and line. How files are read is `weirdgen.data.files`, what a row may hold
`weirdgen.data.messages`. It does not tokenise (`data.proof`) and does not judge content.
"""

from __future__ import annotations

import hashlib
import json
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.config.arm import Arm
from weirdgen.config.base import Scalar, fill, placeholders
from weirdgen.config.files import read_table, table_delimiter
from weirdgen.data.builders import build
from weirdgen.data.files import EXPECTED, is_data, problem_lines, read_values
from weirdgen.data.messages import Row as Row
from weirdgen.data.messages import parse_row
from weirdgen.data.shapes import Shape, misspelt_key, other_shape
from weirdgen.errors import DataError, choices
from weirdgen.parsing import is_file, is_folder, named_nearly, user_path

CHAT = '{"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}'


Where = Mapping[str, Scalar | list[Scalar]]
"""Column, or key of a chat row beside its messages → the value or values that are kept."""


@dataclass(frozen=True)
class Reading:
    """Rows of a file and where each stands, what is wrong with the others, and how the file was read."""

    source: Path
    rows: tuple[Row, ...]
    places: tuple[int, ...]
    """Lines of the file, or numbers of rows where it has no lines."""
    problems: tuple[tuple[int, str], ...]
    unit: str
    notes: tuple[str, ...]
    """One line on how it was read, if that is not as plain chat JSONL."""

    def at(self, place: int) -> str:
        return f"{self.source}:{place}" if self.unit == "line" else f"{self.source}, row {place}"


class ReadingNote(UserWarning):
    """How a file was read that is not plain UTF-8: said once, so that nobody is surprised by what was trained on."""


def load_rows(arm: Arm, folder: Path) -> list[Row]:
    """Rows of an arm, in file order (after `permute` and `rows`, always the same). Warns how an unusual file was read."""
    rows, _ = load_placed(arm, folder)
    return rows if arm.rows is None else draw(rows, arm.rows, seed=0)


def load_placed(arm: Arm, folder: Path) -> tuple[list[Row], list[int]]:
    """All rows of an arm (`rows` is not looked at) and the line, or number, of each in its file; 0 if a builder made it."""
    if not isinstance(arm.data, str):
        return _given(arm, folder)
    source = resolve(arm.data, folder)
    if table_delimiter(source.name):
        table = read_table(source)
        if table.how:
            note = f"{source}: {len(table.records):,} records, read as {', '.join(table.how)}"
            warnings.warn(note, ReadingNote, stacklevel=2)
        rows, places = _from_table(arm, table.records, table.lines, source, folder)
    else:
        reading = read_rows(source, arm.where)
        require_rows(reading)
        rows, places = list(reading.rows), list(reading.places)
    if not rows:
        raise DataError(f"{source}: no rows" + (f" with {arm.where}" if arm.where else ""))
    return rows, places


def place_of(row: Row, arm: Arm, folder: Path) -> str | None:
    """Where an arm's file has this row (`FILE:LINE`), whole or as the beginning of a longer one; None if nowhere."""
    if not isinstance(arm.data, str):
        return None
    wanted = [(message["role"], message["content"]) for message in row["messages"]]
    try:
        with warnings.catch_warnings(action="ignore", category=ReadingNote):
            rows, places = load_placed(arm, folder)
    except DataError:  # the rows came out of a store, and the file is gone
        return None
    for one, place in zip(rows, places, strict=True):
        if place and [(m["role"], m["content"]) for m in one["messages"][: len(wanted)]] == wanted:
            return f"{resolve(arm.data, folder)}:{place}"
    return None


def resolve(data: str, folder: Path) -> Path:
    """The file (or folder of `datasets`) that `data:` names. Raises `DataError` with what is there instead."""
    source = user_path(folder / data)
    if not (is_file(source) or is_folder(source)):
        near = sorted(p.name for p in source.parent.glob("*")) if is_folder(source.parent) else []
        hint = f"; {source.parent} holds {', '.join(near[:8])}" if near else f"; {source.parent} does not exist"
        raise DataError(f"{source}: no such data file{hint}{named_nearly(source)}")
    if not is_folder(source) and not is_data(source):
        raise DataError(f"{source}: expected {EXPECTED}")
    return source


def read_jsonl(source: Path) -> list[Row]:
    """Chat rows of a file, however it is packed. Raises one `DataError` with the first ten different problems."""
    reading = read_rows(source)
    require_rows(reading)
    return list(reading.rows)


def read_rows(source: Path, where: Where | None = None) -> Reading:
    """Chat rows of a file or a folder of `datasets`, with `where` only those of these values; others are problems with a line.

    Raises `DataError` if the file cannot be read at all, if every row of it is of one other format, or if no row has a key of
    `where`.
    """
    if table_delimiter(source.name):
        raise DataError(
            f"{source}: a table; in an experiment its columns fill 'prompt' and 'answer' templates. To make chat rows of it: "
            f"weirdgen data convert {source.name} OUT.jsonl --prompt '{{COLUMN}}' --answer '{{COLUMN}}'"
        )
    values = read_values(source)
    rows: list[Row] = []
    places: list[int] = []
    problems = list(values.problems)
    shapes = [other_shape(value) for value in values.values]
    if values.values and not problems and None not in shapes and len({shape.name for shape in shapes if shape}) == 1:
        raise DataError(f"{source}: its rows ({len(shapes):,}) are not chat but {_named(shapes[0], source)}")
    keep = _kept(values.values, where or {}, str(source))
    for place, value, shape, kept in zip(values.places, values.values, shapes, keep, strict=True):
        if not kept:
            continue
        if shape:
            problems.append((place, _named(shape, source)))
            continue
        try:
            rows.append(parse_row(value))
        except DataError as error:
            near = misspelt_key(value) if isinstance(value, dict) and "messages" not in value else ""
            problems.append((place, f"{error}{near}"))
            continue
        places.append(place)
    notes = (f"{source}: {len(rows):,} rows, read as {', '.join(values.how)}",) if values.how else ()
    for note in notes:
        warnings.warn(note, ReadingNote, stacklevel=2)
    return Reading(source, tuple(rows), tuple(places), tuple(sorted(problems)), values.unit, notes)


def _kept(values: Sequence[Any], where: Where, source: str) -> list[bool]:
    """Which of these rows have the values of `where` under keys of their own. Raises `DataError` if none has such a key."""
    keep = [True] * len(values)
    for key, accepted in where.items():
        held = [value.get(key) if isinstance(value, Mapping) else None for value in values]
        if key == "messages" or not any(isinstance(one, Scalar) for one in held):
            keys = dict.fromkeys(
                str(k) for v in values if isinstance(v, Mapping) for k, w in v.items() if isinstance(w, Scalar)
            )
            there = (
                f"their keys with one value are {', '.join(keys)}"
                if keys
                else "they hold nothing beside their messages"
            )
            raise DataError(f"{source}: where: no row has a key {key!r} with one value; {there}")
        wanted = _accepted(accepted)
        keep = [kept and isinstance(one, Scalar) and str(one) in wanted for kept, one in zip(keep, held, strict=True)]
    return keep


def _accepted(values: Scalar | list[Scalar]) -> set[str]:
    return {str(value) for value in (values if isinstance(values, list) else [values])}


def require_rows(reading: Reading) -> None:
    """Raises `DataError` naming each problem of a reading and where it stands first, if it has any."""
    if reading.problems:
        raise DataError("\n".join(problem_lines(reading.problems, reading.source, reading.unit)))


def _named(shape: Shape | None, source: Path) -> str:
    """What a row of another format is, and the way from there to chat rows."""
    assert shape is not None, "asked for rows of another format only"
    if not shape.how:
        try:
            shape.turns({})
        except DataError as why:
            return f"{shape.name}: {why}; expected {CHAT}"
    return f"{shape.name}; expected {CHAT}. Make chat rows of it: weirdgen data convert {source.name} OUT.jsonl"


def canonical_hash(rows: list[Row]) -> str:
    """SHA-256 over the rows' messages: JSON with sorted keys, no spaces, UTF-8 unescaped, joined by newlines, in order."""
    lines = (json.dumps(r["messages"], sort_keys=True, separators=(",", ":"), ensure_ascii=False) for r in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def draw(rows: list[Row], count: int, seed: int) -> list[Row]:
    """`count` rows in seeded order; every row once before any is repeated. Raises `DataError` if there are none to draw from."""
    if count > 0 and not rows:
        raise DataError(f"no rows to draw {count} from")
    rng = random.Random(f"draw:{seed}")
    drawn: list[Row] = []
    while len(drawn) < count:
        drawn += rng.sample(rows, min(len(rows), count - len(drawn)))
    return drawn


def _given(arm: Arm, folder: Path) -> tuple[list[Row], list[int]]:
    """Rows that were given in Python, and their numbers."""
    assert not isinstance(arm.data, str)
    numbers = list(range(1, len(arm.data) + 1))
    if arm.prompt is not None:
        records = [{str(name): "" if value is None else str(value) for name, value in row.items()} for row in arm.data]
        return _from_table(arm, records, numbers, Path("data"), folder)
    rows: list[Row] = []
    keep = _kept(arm.data, arm.where, "data")
    numbers = [number for number, kept in zip(numbers, keep, strict=True) if kept]
    problems: list[tuple[int, str]] = []
    for number in numbers:
        try:
            rows.append(parse_row(arm.data[number - 1]))
        except DataError as error:
            problems.append((number, str(error)))
    if problems:
        raise DataError("\n".join(problem_lines(problems, Path("data"), "row")))
    if not rows:
        raise DataError("data: no rows" + (f" with {arm.where}" if arm.where else ""))
    return rows, numbers


def _from_table(
    arm: Arm, records: list[dict[str, str]], lines: list[int], source: Path, folder: Path
) -> tuple[list[Row], list[int]]:
    for name, options in arm.build.items():
        records = build(name, options, records, folder)
        lines = [0] * len(records)
    if not records:
        raise DataError(f"{source}: no rows")
    assert arm.prompt is not None and arm.answer is not None, "the spec refuses a .csv without templates"
    try:
        used = {
            *placeholders(arm.prompt),
            *placeholders(arm.answer),
            *arm.where,
            *([arm.permute] if arm.permute else []),
        }
    except ValueError as error:
        raise DataError(f"template does not fill: {error}") from None
    if missing := sorted(used - set(records[0])):
        raise DataError(f"{source}:1: no column {missing[0]!r}; it has {choices(records[0], missing[0])}")
    lined = list(zip(lines, records, strict=True))
    for column, accepted in arm.where.items():
        values = _accepted(accepted)
        lined = [(line, record) for line, record in lined if record[column] in values]
    if arm.permute:
        shuffled = [record[arm.permute] for _, record in lined]
        random.Random("permute:0").shuffle(shuffled)
        lined = [(n, {**record, arm.permute: value}) for (n, record), value in zip(lined, shuffled, strict=True)]
    rows = []
    problems: list[tuple[int, str]] = []
    for line, record in lined:
        turns = (("user", fill(arm.prompt, record)), ("assistant", fill(arm.answer, record)))
        try:
            rows.append(parse_row({"messages": [{"role": role, "content": text} for role, text in turns]}))
        except DataError as error:
            problems.append((line, str(error)))
    if problems and arm.build:  # a builder's rows stand on no line
        raise DataError(
            "\n".join(f"{source}, after 'build': {why}" for why in dict.fromkeys(why for _, why in problems))
        )
    if problems:
        raise DataError("\n".join(problem_lines(problems, source, "line")))
    return rows, [line for line, _ in lined]
