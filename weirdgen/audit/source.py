"""The rows that an audit looks at: all of a file, or of a large one a drawn sample, read in bounded memory.

In: a file of chat rows. Out: a `Source`: rows with their places, and how many the file has. Small files are read as everywhere
(`data.rows`). A JSONL file above `LARGE` bytes is read line by line, and a reservoir of `MOST` rows drawn with a fixed seed
(J. S. Vitter, ACM TOMS 11 (1985), algorithm R), so that memory does not grow with the file; where rows are so long that these are
more than `HELD` bytes, half of them are dropped at random, and the reservoir is smaller from there on. Nothing of the rows is
judged here.
"""

from __future__ import annotations

import gzip
import random
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from weirdgen.data.files import problem_lines
from weirdgen.data.messages import parse_row
from weirdgen.data.rows import ReadingNote, Row, read_rows, require_rows
from weirdgen.data.shapes import other_shape
from weirdgen.errors import DataError
from weirdgen.parsing import GZIP, NotJsonError, is_file, parse_json

LARGE = 64_000_000
"""Bytes on disk above which a JSONL file is streamed."""
MOST, HELD = 20_000, 64_000_000
"""Rows that are held of a streamed file, and their bytes."""
LONGEST = 4_000_000
"""Bytes of one line that are read; a longer one is no training row."""
FEWEST = 8
"""Rows that a training step of the standard recipe takes: an audit with training needs as many."""
_LISTED = 1_000
"""Lines that are no rows after which a streamed file is not read on."""


@dataclass(frozen=True)
class Source:
    """Rows of a file. `places[i]` is the line (or number) of row i; `total` counts all rows of the file."""

    file: Path
    rows: tuple[Row, ...]
    places: tuple[int, ...]
    total: int
    drawn: bool
    """Whether `rows` are a draw from more."""

    @property
    def words(self) -> str:
        """How many rows there are and were looked at."""
        if not self.drawn:
            return f"{self.total:,} rows"
        return f"{self.total:,} rows, of which {len(self.rows):,} drawn at random (seed 0) were looked at"


def read_source(file: Path) -> Source:
    """Raises `DataError`: no such file, not chat rows, or lines that are no rows (the first ten different problems)."""
    if is_file(file) and file.stat().st_size > LARGE and _is_jsonl(file):
        return _streamed(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadingNote)
        reading = read_rows(file)
    require_rows(reading)
    if not reading.rows:
        raise DataError(f"{file}: no rows; expected one chat row a line")
    return Source(file, reading.rows, reading.places, len(reading.rows), drawn=False)


def _is_jsonl(file: Path) -> bool:
    return file.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))


def _streamed(file: Path) -> Source:
    rng = random.Random("audit:0")
    kept: list[tuple[int, Row, int]] = []
    total, most, held = 0, MOST, 0
    problems: list[tuple[int, str]] = []
    for number, line in _lines(file):
        try:
            row = _row(line, number == 1, file)
        except DataError as error:
            problems.append((number, str(error)))
            if len(problems) == _LISTED:
                lines = problem_lines(problems, file, "line")
                raise DataError("\n".join([*lines, f"…and perhaps more: reading stopped at line {number:,}"])) from None
            continue
        total += 1
        if len(kept) < most:
            kept.append((number, row, len(line)))
        elif (at := rng.randrange(total)) < most:
            held -= kept[at][2]
            kept[at] = (number, row, len(line))
        else:
            continue
        held += len(line)
        while held > HELD and len(kept) > 1:  # a random half of a random draw is one too
            most = (len(kept) + 1) // 2
            kept = rng.sample(kept, most)
            held = sum(size for *_, size in kept)
    if problems:
        raise DataError("\n".join(problem_lines(problems, file, "line")))
    if not kept:
        raise DataError(f"{file}: no rows; expected one chat row a line")
    kept.sort(key=lambda one: one[0])
    rows, places = tuple(row for _, row, _ in kept), tuple(number for number, *_ in kept)
    return Source(file, rows, places, total, total > len(kept))


def _row(line: bytes, first: bool, file: Path) -> Row:
    try:
        value = parse_json(line.decode("utf-8-sig" if first else "utf-8"))
    except UnicodeDecodeError:
        way = f"weirdgen data convert {file.name} OUT.jsonl --encoding NAME"
        raise DataError(f"not UTF-8; if you know its encoding: {way}") from None
    except NotJsonError as error:
        raise DataError(f"not JSON: {error.reason} at column {error.position + 1}") from None
    if shape := other_shape(value):
        raise DataError(f"{shape.name}, not chat rows. Convert it first: weirdgen data convert {file.name} OUT.jsonl")
    return parse_row(value)


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, each with its number."""
    try:
        with file.open("rb") as opened:
            packed = opened.read(len(GZIP)) == GZIP
            opened.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=opened)) if packed else opened
            number = 0
            while line := stream.readline(LONGEST):
                number += 1
                if len(line) == LONGEST and not line.endswith(b"\n"):
                    raise DataError(f"{file}:{number}: a line of more than {LONGEST:,} bytes; is this JSONL?")
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
