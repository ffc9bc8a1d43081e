"""Which kinds of file hold chat rows, and how each container is read.

In: a path. Out: `Values`: every row as plain data with the place where it stands, and words on how it was read. It reads chat
JSONL (any suffix case, CRLF, gzip, UTF-16 with its mark), a JSON array or stream, Parquet, and a folder of `datasets`. What a
row may hold is not decided here. Tables with templates (CSV) are read by `weirdgen.config.files`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weirdgen.config.files import table_delimiter
from weirdgen.errors import DataError
from weirdgen.parsing import (
    MOST_BYTES,
    NotJsonError,
    is_file,
    is_folder,
    lone_surrogate,
    named_nearly,
    parse_json,
    parse_json_at,
    read_text,
    skip_blank,
    split_lines,
)

CHAT_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet")
ENDINGS = ".jsonl, .ndjson, .json, .parquet, .csv or .tsv, also with .gz"
EXPECTED = ".jsonl (OpenAI chat format), .json, .jsonl.gz, .parquet, a folder of `datasets` (save_to_disk) or .csv"
MOST_ROWS = 5_000_000
MOST_PROBLEMS = 10
"""Different problems of one file that are listed."""
_BATCH = 1_000


@dataclass
class Values:
    """`places[i]` says where value i stands: a line, or the number of a row where `unit` is "row"."""

    values: list[Any] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    unit: str = "line"
    how: tuple[str, ...] = ()
    """What the file is, if it is not plain JSONL: "gzip", "a JSON array"."""

    def add(self, place: int, value: Any) -> None:
        self.values.append(value)
        self.places.append(place)

    def at(self, source: Path, place: int) -> str:
        return f"{source}:{place}" if self.unit == "line" else f"{source}, row {place}"


def is_dataset_folder(folder: Path) -> bool:
    """Whether `datasets` wrote this folder with `save_to_disk`."""
    return is_folder(folder) and any(is_file(folder / name) for name in ("state.json", "dataset_dict.json"))


def problem_lines(problems: Iterable[tuple[int, str]], source: Path, unit: str) -> list[str]:
    """A line for each different problem: where it stands first, and how many more lines (or rows) have it too."""
    places: dict[str, list[int]] = {}
    for place, problem in sorted(problems):
        places.setdefault(problem, []).append(place)
    lines = []
    for problem, (first, *others) in places.items():
        where = f"{source}:{first}" if unit == "line" else f"{source}, row {first}"
        more = f", and {len(others):,} more {unit}{'s' if len(others) > 1 else ''}" if others else ""
        lines.append(f"{where}{more}: {problem}")
    left = f"…and {len(lines) - MOST_PROBLEMS} more problems"
    return [*lines[:MOST_PROBLEMS], left] if len(lines) > MOST_PROBLEMS else lines


def is_data(source: Path) -> bool:
    """Whether this name stands for rows or a table, and not for an experiment."""
    ending = source.name.lower().removesuffix(".gz")
    return ending.endswith(CHAT_ENDINGS) or table_delimiter(source.name) is not None or is_dataset_folder(source)


def read_values(source: Path, encoding: str | None = None) -> Values:
    """Every value of a file or folder of rows. Raises `DataError` if it is none that can be read."""
    if is_folder(source):
        return _read_folder(source)
    if source.name.lower().endswith(".parquet"):
        return _read_parquet(source)
    text, how = read_text(source, encoding)
    values = read_json_text(text)
    if values.problems and not values.values and not is_data(source):
        raise DataError(f"{source}: no file of rows; expected {EXPECTED}")
    values.how = (*how, *values.how)
    return values


def read_json_text(text: str) -> Values:
    """One JSON value per line; or, if its first line is none, one array, or objects written over several lines."""
    first = next((line for _, line in split_lines(text) if line.strip()), "")
    array = first.lstrip(" \t").startswith("[")
    if array or (first and (not _is_json(first) or text.strip() == first.strip())):
        values = _read_array(text) if array else _read_stream(text)
        if values is not None:
            return values
    return _read_lines(text)


def _read_lines(text: str) -> Values:
    values = Values()
    commas = 0
    for number, line in split_lines(text):
        if not line.strip():
            continue
        try:
            values.add(number, parse_json(line))
            continue
        except NotJsonError as error:
            problem = f"not JSON: {error.reason} at column {error.position + 1}"
        stripped = line.rstrip().removesuffix(",")
        if stripped != line.rstrip() and (value := _json_or_none(stripped)) is not None:
            values.add(number, value)
            commas += 1
        else:
            values.problems.append((number, problem))
    if commas:
        values.how = ("lines that end in a comma",)
    return values


def _read_array(text: str) -> Values | None:
    """The elements of one array; None if the first line is a complete value and more follow (JSONL of arrays)."""
    values = Values(how=("a JSON array",))
    position = skip_blank(text, skip_blank(text, 0) + 1)
    counted, line = 0, 1

    def problem(reason: str, where: int) -> Values:
        begins = text.count("\n", 0, where) + 1
        values.problems = [(begins, f"a JSON array that cannot be read from here on: {reason}")]
        return values

    while position < len(text) and text[position] != "]":
        try:
            value, end = parse_json_at(text, position)
        except NotJsonError as error:
            return problem(error.reason, error.position)
        line += text.count("\n", counted, position)
        counted = position
        values.add(line, value)
        position = skip_blank(text, end)
        if text[position : position + 1] == ",":
            position = skip_blank(text, position + 1)
            if text[position : position + 1] == "]":
                return problem("a comma before the closing bracket", position)
        elif text[position : position + 1] not in ("]", ""):
            return problem("a comma or the closing bracket is missing", position)
    if position >= len(text):
        return problem("the closing bracket is missing", len(text) - 1)
    if (rest := skip_blank(text, position + 1)) < len(text):
        if "\n" in text[position:rest]:
            return None
        return problem("something follows its closing bracket", rest)
    return values


def _read_stream(text: str) -> Values | None:
    """Objects written over several lines, one after another; or the rows that one object holds. None if it is no such text."""
    position = skip_blank(text, 0)
    values = Values()
    counted, line = 0, 1
    while position < len(text):
        try:
            value, end = parse_json_at(text, position)
        except NotJsonError:
            return None
        line += text.count("\n", counted, position)
        counted = position
        values.add(line, value)
        position = skip_blank(text, end)
    if len(values.values) > 1 or "\n" in text.strip():
        values.how = (
            "JSON objects over several lines" if "\n" in text.strip() else "JSON objects without newlines between",
        )
    if len(values.values) == 1 and isinstance(values.values[0], dict) and "messages" not in values.values[0]:
        lists = {key: value for key, value in values.values[0].items() if _is_rows(value)}
        if len(lists) == 1:
            ((key, rows),) = lists.items()
            return Values(
                rows, list(range(1, len(rows) + 1)), [], "row", (f"the list under {key[:40]!r} of a JSON object",)
            )
    return values


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) and "messages" in row for row in value)


def _is_json(line: str) -> bool:
    return _json_or_none(line) is not None


def _json_or_none(text: str) -> Any:
    try:
        return parse_json(text)
    except NotJsonError:
        return None


def _read_parquet(source: Path) -> Values:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not is_file(source):
        raise DataError(f"{source}: no such file{named_nearly(source)}")
    values = Values(unit="row", how=("Parquet",))
    size = 0
    try:
        with pq.ParquetFile(source) as file:
            if file.metadata.num_rows > MOST_ROWS:
                raise DataError(f"{source}: {file.metadata.num_rows:,} rows; more than {MOST_ROWS:,} are not read")
            for batch in file.iter_batches(batch_size=_BATCH):
                size += batch.nbytes
                if size > MOST_BYTES:
                    raise DataError(f"{source}: more than {MOST_BYTES:,} bytes unpacked are not read")
                _add_plain(values, batch.to_pylist())
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{source}: not a Parquet file that can be read ({reason})") from None
    return values


def _read_folder(folder: Path) -> Values:
    """A folder that `Dataset.save_to_disk` wrote, or one split of a `DatasetDict`."""
    if is_file(folder / "dataset_dict.json"):
        splits = _json_of(folder / "dataset_dict.json").get("splits")
        names = [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []
        if len(names) != 1 or names[0] in (".", "..") or Path(names[0]).name != names[0]:
            shown = ", ".join(str(folder / name) for name in names[:8]) or "none"
            raise DataError(f"{folder}: a folder of several splits; name one of them: {shown}")
        return _read_folder(folder / names[0])
    if not is_file(folder / "state.json"):
        held = ", ".join(sorted(p.name for p in folder.glob("*"))[:8]) or "nothing"
        raise DataError(
            f"{folder}: a folder, but not one that `datasets` saved (save_to_disk); it holds {held}. "
            f"`weirdgen data convert {folder} rows.jsonl` makes one file of a folder of files"
        )
    listed = _json_of(folder / "state.json").get("_data_files")
    files = [file.get("filename") for file in listed if isinstance(file, dict)] if isinstance(listed, list) else []
    for name in files:
        if not isinstance(name, str) or Path(name).name != name or (folder / name).is_symlink():
            raise DataError(f"{folder / 'state.json'}: names {str(name)[:80]!r}, which is not a file of this folder")
    import datasets

    values = Values(unit="row", how=("a folder of datasets",))
    try:
        loaded = datasets.load_from_disk(str(folder))
        if loaded.num_rows > MOST_ROWS:
            raise DataError(f"{folder}: {loaded.num_rows:,} rows; more than {MOST_ROWS:,} are not read")
        table = loaded.with_format("arrow")
        for start in range(0, loaded.num_rows, _BATCH):
            _add_plain(values, table[start : start + _BATCH].to_pylist())
    except DataError:
        raise
    except Exception as error:  # datasets, Arrow and the features each have errors of their own; all end the same way
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{folder}: datasets cannot load it ({type(error).__name__}: {reason}); export the rows with to_json"
        ) from None
    return values


def _json_of(file: Path) -> dict[str, Any]:
    try:
        value = parse_json(read_text(file).text)
    except NotJsonError as error:
        raise DataError(f"{file}: not JSON: {error.reason}") from None
    return value if isinstance(value, dict) else {}


def _add_plain(values: Values, rows: list[dict[str, Any]]) -> None:
    """Columnar rows as JSON would hold them: a key that another row has is null here, which means that it is absent."""
    for row in rows:
        place = len(values.places) + len(values.problems) + 1
        plain = _without_nulls(row)
        if half := _half_in(plain):
            values.problems.append((place, half))
        else:
            values.add(place, plain)


def _half_in(value: Any) -> str | None:
    try:
        half = lone_surrogate(value)
    except (TypeError, ValueError, RecursionError):
        return None  # bytes, dates and the like: no text of a chat row; `parse_row` says what is missing
    return f"a lone surrogate ({half}), which is half a character and no text" if half else None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def as_line(value: Any) -> str:
    """A row as one line of JSONL, every character itself but those that other readers take for an end of the line."""
    text = json.dumps(value, ensure_ascii=False)
    for mark in ("\x85", "\u2028", "\u2029"):
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text
