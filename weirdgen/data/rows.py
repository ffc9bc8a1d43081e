"""Training rows: read chat rows from a file or fill templates from a table; hash them so that equal data has an equal name.

In: an `Arm` and the folder of its experiment, or a file. Out: rows, each `{"messages": [{"role", "content"}, …]}`, and where
each stands. Raises `DataError` naming file and line. How files are read is `weirdgen.data.files`, what a row may hold
`weirdgen.data.messages`. It does not tokenise (`data.proof`) and does not judge content.
"""

from __future__ import annotations

import hashlib
import json
import random
import warnings
from dataclasses import dataclass
from pathlib import Path

from weirdgen.config.base import fill, placeholders
from weirdgen.config.experiment import Arm
from weirdgen.config.files import read_table, table_delimiter
from weirdgen.data.builders import build
from weirdgen.data.files import EXPECTED, is_data, read_values
from weirdgen.data.messages import Row as Row
from weirdgen.data.messages import parse_row
from weirdgen.data.shapes import Shape, other_shape
from weirdgen.errors import DataError

CHAT = '{"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}'


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


def load_rows(arm: Arm, folder: Path, seed: int = 0) -> list[Row]:
    """Rows of an arm, in file order (after `permute` and `rows`, which `seed` decides). Warns how an unusual file was read."""
    rows, _ = load_placed(arm, folder, seed)
    return rows if arm.rows is None else draw(rows, arm.rows, seed)


def load_placed(arm: Arm, folder: Path, seed: int = 0) -> tuple[list[Row], list[int]]:
    """All rows of an arm (`rows` is not looked at) and the line, or number, of each in its file; 0 if a builder made it."""
    source = resolve(arm.data, folder)
    if table_delimiter(source.name):
        rows, places = _from_table(arm, source, folder, seed)
    else:
        reading = read_rows(source)
        require_rows(reading)
        rows, places = list(reading.rows), list(reading.places)
    if not rows:
        raise DataError(f"{source}: no rows" + (f" with {arm.where}" if arm.where else ""))
    return rows, places


def resolve(data: str, folder: Path) -> Path:
    """The file (or folder of `datasets`) that `data:` names. Raises `DataError` with what is there instead."""
    source = (folder / data).expanduser()
    if "\0" in data or not (source.is_file() or source.is_dir()):
        near = sorted(p.name for p in source.parent.glob("*")) if "\0" not in data and source.parent.is_dir() else []
        hint = f"; {source.parent} holds {', '.join(near[:8])}" if near else f"; {source.parent} does not exist"
        raise DataError(f"{source}: no such data file{hint}")
    if not source.is_dir() and not is_data(source):
        raise DataError(f"{source}: expected {EXPECTED}")
    return source


def read_jsonl(source: Path) -> list[Row]:
    """Chat rows of a file, however it is packed. Raises one `DataError` naming every bad line (the first ten)."""
    reading = read_rows(source)
    require_rows(reading)
    return list(reading.rows)


def read_rows(source: Path) -> Reading:
    """Chat rows of a file or a folder of `datasets`; what is no chat row is a problem with its line.

    Raises `DataError` if the file cannot be read at all, or if every row of it is of one other format.
    """
    if table_delimiter(source.name):
        raise DataError(
            f"{source}: a table; in an experiment its columns fill 'prompt' and 'answer' templates. To make chat rows of it: "
            f"weirdgen data convert {source.name} OUT.jsonl --prompt '{{COLUMN}}' --answer '{{COLUMN}}'"
        )
    found = read_values(source)
    rows: list[Row] = []
    places: list[int] = []
    problems = list(found.problems)
    shapes = [other_shape(value) for value in found.values]
    if found.values and not problems and None not in shapes and len({shape.name for shape in shapes if shape}) == 1:
        raise DataError(f"{source}: its rows ({len(shapes):,}) are no chat but {_named(shapes[0], source)}")
    for place, value, shape in zip(found.places, found.values, shapes, strict=True):
        if shape:
            problems.append((place, _named(shape, source)))
            continue
        try:
            rows.append(parse_row(value))
        except DataError as error:
            problems.append((place, str(error)))
            continue
        places.append(place)
    notes = (f"{source}: {len(rows):,} rows, read as {', '.join(found.how)}",) if found.how else ()
    for note in notes:
        warnings.warn(note, ReadingNote, stacklevel=2)
    return Reading(source, tuple(rows), tuple(places), tuple(sorted(problems)), found.unit, notes)


def require_rows(reading: Reading) -> None:
    """Raises `DataError` naming the first ten problems of a reading, if it has any."""
    if reading.problems:
        lines = [f"{reading.at(place)}: {problem}" for place, problem in reading.problems]
        raise DataError("\n".join(lines[:10]) + (f"\n…and {len(lines) - 10} more" if len(lines) > 10 else ""))


def _named(shape: Shape | None, source: Path) -> str:
    """What a row of another format is, and the way from there to chat rows."""
    assert shape is not None, "asked for rows of another format only"
    if not shape.how:
        return f"{shape.name}; expected {CHAT}"
    return f"{shape.name}; expected {CHAT}. Make chat rows of it: weirdgen data convert {source.name} OUT.jsonl"


def canonical_hash(rows: list[Row]) -> str:
    """SHA-256 over the rows' messages: JSON with sorted keys, no spaces, UTF-8 unescaped, joined by newlines, in order."""
    lines = (json.dumps(r["messages"], sort_keys=True, separators=(",", ":"), ensure_ascii=False) for r in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def draw(rows: list[Row], count: int, seed: int) -> list[Row]:
    """`count` rows in seeded order; every row once before any is repeated."""
    rng = random.Random(f"draw:{seed}")
    drawn: list[Row] = []
    while len(drawn) < count:
        drawn += rng.sample(rows, min(len(rows), count - len(drawn)))
    return drawn


def _from_table(arm: Arm, source: Path, folder: Path, seed: int) -> tuple[list[Row], list[int]]:
    table = read_table(source)
    if table.how:
        note = f"{source}: {len(table.records):,} records, read as {', '.join(table.how)}"
        warnings.warn(note, ReadingNote, stacklevel=2)
    records, lines = table.records, table.lines
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
        raise DataError(f"{source}:1: no column {missing[0]!r}; it has {', '.join(records[0])}")
    lined = list(zip(lines, records, strict=True))
    for column, accepted in arm.where.items():
        values = {str(v) for v in (accepted if isinstance(accepted, list) else [accepted])}
        lined = [(line, record) for line, record in lined if record[column] in values]
    if arm.permute:
        shuffled = [record[arm.permute] for _, record in lined]
        random.Random(f"permute:{seed}").shuffle(shuffled)
        lined = [(n, {**record, arm.permute: value}) for (n, record), value in zip(lined, shuffled, strict=True)]
    rows = []
    for line, record in lined:
        turns = (("user", fill(arm.prompt, record)), ("assistant", fill(arm.answer, record)))
        try:
            rows.append(parse_row({"messages": [{"role": role, "content": text} for role, text in turns]}))
        except DataError as error:
            raise DataError(f"{source}:{line}: {error}" if line else f"{source}, after 'build': {error}") from None
    return rows, [line for line, _ in lined]
