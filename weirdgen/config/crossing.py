"""Questions built from tables: every combination of rows of CSV files fills a question's texts.

In: an entry of `questions:` with `build: cross`, `from: [CSV, …]` and the fields of a question, whose texts hold
`{column}` placeholders. Out: plain questions, in the order of the files, which `weirdgen.config.experiment` then validates.
Raises one `DataError` with every problem of the entry, one per line. It draws nothing: a preset's `questions` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from weirdgen.config.base import fill, placeholders
from weirdgen.config.files import Records, read_csv
from weirdgen.errors import DataError, choices

MOST = 10_000
"""More questions than this are taken for a mistake: each is scored under every condition by every model."""


def build_questions(entry: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The questions that an entry stands for; files are named from `folder`."""
    if entry["build"] != "cross":
        raise DataError(f"build: no builder {entry['build']!r} of questions; there is: cross")
    files = entry.get("from")
    if not isinstance(files, list) or not files or not all(isinstance(name, str) for name in files):
        raise DataError("from: expected a list of CSV files, e.g. from: [candidates.csv, criteria.csv]")
    tables = _tables(files, folder)
    count = 1
    for records in tables:
        count *= len(records)
    if count > MOST:
        raise DataError(f"from: {' × '.join(str(len(t)) for t in tables)} rows make {count} questions; at most {MOST}")
    template = {key: value for key, value in entry.items() if key not in ("build", "from")}
    if problems := _template_problems(template, files, tables):
        raise DataError("\n".join(problems))
    merged = [{key: cell for record in parts for key, cell in record.items()} for parts in product(*tables)]
    return [_fill(template, cells) for cells in merged]


def _tables(files: list[str], folder: Path) -> list[Records]:
    """The records of each file. Raises `DataError` naming each file that is absent, broken or empty."""
    problems: list[str] = []
    tables: list[Records] = []
    for name in files:
        try:
            records = read_csv(folder / name)
        except DataError as error:
            problems.append(f"from: {error}")
            continue
        if not records:
            problems.append(f"from: {folder / name}: no rows")
        tables.append(records)
    if problems:
        raise DataError("\n".join(problems))
    return tables


def _template_problems(template: Mapping[str, Any], files: list[str], tables: list[Records]) -> list[str]:
    """Columns that two files share, placeholders that no file has, and an id that would repeat."""
    problems: list[str] = []
    file_of: dict[str, str] = {}
    for name, records in zip(files, tables, strict=True):
        for column in records[0]:
            if column in file_of:
                problems.append(f"column {column!r} is in {file_of[column]} and in {name}; rename one")
            file_of[column] = name
    for key, text in _texts(template):
        try:
            used = placeholders(text)
        except ValueError as error:
            problems.append(f"{key}: {error} in {text!r}; write {{{{ and }}}} for braces")
            continue
        problems += [f"{key}: no column {c!r}; there are: {choices(file_of, c)}" for c in used if c not in file_of]
        if key == "id":
            named = {file_of.get(column) for column in used}
            lacking = [
                name for name, records in zip(files, tables, strict=True) if len(records) > 1 and name not in named
            ]
            problems += [f"id: would repeat; use a column of {name} in it, too" for name in lacking]
    return problems


def _texts(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every text of an entry with the key it stands under."""
    for key, value in template.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield key, text


def _fill(value: Any, cells: Mapping[str, str]) -> Any:
    """The same structure with its texts filled."""
    if isinstance(value, dict):
        return {key: _fill(item, cells) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, cells) for item in value]
    return fill(value, cells) if isinstance(value, str) else value
