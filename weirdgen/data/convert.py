"""`weirdgen data convert`: rows in any known format → chat JSONL, or a table → CSV, both in UTF-8.

In: a file, a folder of `datasets` or a folder of such files, and where the rows go. Out: the file and one line on what was done.
A row that cannot be converted stops it with its line, and nothing is written. Keys of chat rows other than `messages` are kept as
they are.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from weirdgen.config.base import fill, placeholders
from weirdgen.config.files import Table, read_table, table_delimiter
from weirdgen.data.files import ENDINGS, Values, as_line, is_data, is_dataset_folder, problem_lines, read_values
from weirdgen.data.messages import SWITCHES, parse_row
from weirdgen.data.shapes import SHAPES, chat_turns, misspelt_key, other_shape
from weirdgen.errors import DataError, choices, did_you_mean
from weirdgen.parsing import is_file, is_folder
from weirdgen.store.disk import explain_disk_errors, write_whole

UNWRITTEN = "\nnothing was written"


def convert(
    source: Path, target: Path, encoding: str | None = None, prompt: str | None = None, answer: str | None = None
) -> str:
    """Convert `source` into `target`, which may not exist yet; returns what to tell the user.

    `encoding` is that of a text file that does not say it; `prompt` and `answer` are templates over a table's columns.
    Raises `DataError` with why rows cannot be converted (the first ten different reasons).
    """
    if target.exists():
        raise DataError(f"{target}: this file exists; name another")
    table = table_delimiter(source.name) is not None
    ending = target.suffix.lower()
    if ending == ".csv" and table:
        whole = read_table(source, encoding)
        return _written(target, _csv_text(whole), len(whole.records), source, [*whole.how, "as CSV in UTF-8"])
    if ending != ".jsonl":
        raise DataError(f"{target}: expected a name that ends in .jsonl" + (" or .csv" if table else ""))
    if (prompt is None) != (answer is None):
        raise DataError("--prompt and --answer go together, e.g. --prompt '{question}' --answer '{reply}'")
    if is_folder(source) and not is_dataset_folder(source):
        rows, how = _from_folder(source, encoding, prompt, answer)
    else:
        rows, how = _from_file(source, encoding, prompt, answer)
    if not rows:
        raise DataError(
            f"{source}: no rows: it is empty; expected one row a line, or a table with a line of names first"
        )
    return _written(target, "".join(as_line(row) + "\n" for row in rows), len(rows), source, how)


def _from_file(
    source: Path, encoding: str | None, prompt: str | None, answer: str | None
) -> tuple[list[Any], list[str]]:
    table = table_delimiter(source.name) is not None
    if table or prompt is not None:
        whole = read_table(source, encoding) if table else _table_of_values(source, encoding, _named(prompt, answer))
        return _from_columns(whole, source, prompt, answer)
    return _from_values(source, encoding)


def _from_folder(
    folder: Path, encoding: str | None, prompt: str | None, answer: str | None
) -> tuple[list[Any], list[str]]:
    """The rows of every data file in a folder and below it, in the order of their paths. Raises `DataError` for all of them."""
    inside = sorted(
        path for path in folder.rglob("*") if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    files = [path for path in inside if is_file(path) and is_data(path)]
    if not files:
        held = ", ".join(path.name for path in inside[:8]) or "nothing"
        raise DataError(f"{folder}: no file of rows in this folder; it holds {held}. Expected files of rows: {ENDINGS}")
    rows: list[Any] = []
    how: Counter[str] = Counter()
    problems = []
    for file in files:
        try:
            its, said = _from_file(file, encoding, prompt, answer)
        except DataError as error:
            problems.append(str(error).removesuffix(UNWRITTEN))
            continue
        rows += its
        how.update(said)
    if problems:
        raise DataError("\n".join(problems) + UNWRITTEN)
    return rows, [f"{len(files)} files", *how]


def _from_values(source: Path, encoding: str | None) -> tuple[list[Any], list[str]]:
    return _chat_rows(read_values(source, encoding), source)


def _chat_rows(values: Values, source: Path) -> tuple[list[Any], list[str]]:
    problems = [(place, problem) for place, problem in values.problems]
    rows: list[Any] = []
    done: Counter[str] = Counter()
    for place, value in zip(values.places, values.values, strict=True):
        shape = other_shape(value)
        try:
            row = {"messages": chat_turns(shape, value)} if shape else value
        except DataError as error:
            problems.append((place, f"{shape.name}: {error}" if shape else str(error)))
            continue
        try:
            parse_row(row)
        except DataError as error:
            problems.append((place, f"{shape.name}: {error}" if shape else f"{error}{_meant(value)}"))
            continue
        rows.append(row)
        done[f"{shape.name}: {shape.how}" if shape else "chat rows"] += 1
    _raise(source, values.unit, problems)
    return rows, [*values.how, *done]


def _meant(value: Any) -> str:
    """What a row that is in no known format comes close to, or which formats there are."""
    if not isinstance(value, dict) or "messages" in value:
        return ""
    if near := misspelt_key(value):
        return near
    names = dict.fromkeys(shape.name for shape in SHAPES if shape.how)
    return "" if did_you_mean("messages", value) else f"; also converted: {', '.join(names)} rows"


def _named(prompt: str | None, answer: str | None) -> list[str]:
    """Columns that the templates name."""
    try:
        return [name for template in (prompt, answer) if template is not None for name in placeholders(template)]
    except ValueError as error:
        raise DataError(f"--prompt or --answer: {error}") from None


def _table_of_values(source: Path, encoding: str | None, named: Collection[str]) -> Table:
    """Flat rows of a Parquet file or the like as a table, so that templates fill from their columns; null is an empty cell."""
    values = read_values(source, encoding)
    problems = [(place, problem) for place, problem in values.problems]
    columns = list(dict.fromkeys(key for value in values.values if isinstance(value, dict) for key in value))
    for place, value in zip(values.places, values.values, strict=True):
        if not isinstance(value, dict):
            problems.append((place, "not an object of columns"))
        elif nested := next((name for name in named if isinstance(value.get(name), list | dict)), None):
            problems.append((place, f"{nested!r} holds a list or an object; a template takes texts and numbers"))
    _raise(source, values.unit, problems)
    records = [
        {column: "" if value.get(column) is None else str(value[column]) for column in columns}
        for value in values.values
    ]
    return Table(records, values.places, tuple(columns), values.how, values.unit)


def _from_columns(table: Table, source: Path, prompt: str | None, answer: str | None) -> tuple[list[Any], list[str]]:
    if prompt is None or answer is None:
        return _from_usual_columns(table, source)
    for option, template in (("prompt", prompt), ("answer", answer)):
        if template in table.columns:
            raise DataError(f"--{option} {template}: write --{option} '{{{template}}}' for the text of that column")
    if unknown := [name for name in _named(prompt, answer) if name not in table.columns]:
        raise DataError(f"{source}:1: no column {unknown[0]!r}; it has {choices(table.columns, unknown[0])}")
    rows, problems = [], []
    for line, record in zip(table.lines, table.records, strict=True):
        row = {
            "messages": [
                {"role": "user", "content": fill(prompt, record)},
                {"role": "assistant", "content": fill(answer, record)},
            ]
        }
        try:
            rows.append(parse_row(row))
        except DataError as error:
            problems.append((line, str(error)))
    _raise(source, table.unit, problems)
    return rows, [*table.how, f"user {prompt}, assistant {answer}"]


def _from_usual_columns(table: Table, source: Path) -> tuple[list[Any], list[str]]:
    """Rows of a table whose columns are called like the keys of a known format."""
    shape = other_shape(dict.fromkeys(table.columns, ""))
    if not table.columns:
        raise DataError(f"{source}: it is empty; expected a line of column names, and a line for each row")
    if len(table.columns) == 1 and (between := next((mark for mark in ";\t|" if mark in table.columns[0]), None)):
        raise DataError(
            f"{source}:1: its one column is called {table.columns[0]!r}: are columns separated by {between!r} here? Save it with "
            "commas between them (.csv), or with tabs (.tsv)"
        )
    if shape is None or not shape.how:
        first, second = (*table.columns, "COLUMN")[:2]
        raise DataError(
            f"{source}:1: which columns are the two turns? It has {', '.join(table.columns)}{misspelt_key(table.columns)}; "
            f"name them, e.g. --prompt '{{{first}}}' --answer '{{{second}}}'"
        )
    switches = ("weight", *SWITCHES)
    values = [
        {
            key: cell
            for key, cell in record.items()
            if key not in switches or cell.lower() not in ("", "1", "1.0", "true")
        }
        for record in table.records
    ]
    return _chat_rows(Values(values, table.lines, [], table.unit, table.how), source)


def _raise(source: Path, unit: str, problems: list[tuple[int, str]]) -> None:
    if problems:
        raise DataError("\n".join(problem_lines(problems, source, unit)) + UNWRITTEN)


def _csv_text(table: Table) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([record[column] for column in table.columns] for record in table.records)
    return text.getvalue()


def _written(target: Path, text: str, count: int, source: Path, how: list[str]) -> str:
    with explain_disk_errors(target.parent):
        write_whole(target, text.encode())
    return f"{target}: {count:,} rows from {source} ({'; '.join(how)})"
