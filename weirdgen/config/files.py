"""YAML with line numbers and CSV tables with the line of every record, for errors that say where.

In: a file. Out: its data and a map from each key path to the line it stands on; or records of text with their lines. Refuses
malformed YAML, repeated keys (PyYAML silently keeps the last) and what stands for more than it is long. It knows nothing of
what keys and columns mean: `weirdgen.config.experiment` and `weirdgen.data.rows` do.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from weirdgen.errors import DataError, SpecError
from weirdgen.parsing import MOST_BYTES, is_file, named_nearly, read_text

KeyPath = tuple[str | int, ...]
Records = list[dict[str, str]]
TABLES = {".csv": ",", ".tsv": "\t"}
"""Endings of table files, in any case and also with .gz after them, and what stands between their cells."""
MOST_YAML = 4_000_000
"""Characters and nodes that a YAML file may stand for once its aliases are written out."""
LONGEST_NUMBER = 400
"""Characters of a number: longer ones, in any base, are refused by Python itself as soon as they are shown."""
DEEPEST = 60
"""How deep YAML may be nested."""


class Lines:
    """Where each key path of one YAML file stands. Unknown paths give the line of their nearest known parent."""

    def __init__(self, source: Path, line_of: dict[KeyPath, int]) -> None:
        self.source = source
        self._line_of = line_of

    def written(self, path: KeyPath) -> bool:
        """Whether the file holds this key."""
        return path in self._line_of

    def at(self, path: KeyPath) -> str:
        """`file:line` of a key path. Path elements that are not keys of the file (pydantic's union tags) are skipped."""
        known: KeyPath = ()
        for element in path:
            if (*known, element) in self._line_of:
                known = (*known, element)
        return f"{self.source}:{self._line_of.get(known, 1)}"


def read_yaml(source: Path, twice: list[str] | None = None) -> tuple[dict[str, Any], Lines]:
    """Read a YAML mapping. Raises `SpecError` with file and line on anything else.

    With a list `twice`, keys that are given twice are added to it, and the file is read all the same: the last one holds.
    """
    try:
        text = read_text(source).text
    except DataError as error:
        raise SpecError([str(error)]) from None
    try:
        data, line_of = parse_yaml(text, str(source), twice)
    except SpecError:
        if source.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json", *TABLES)):
            what = "a file of rows, not an experiment; `weirdgen data check FILE` looks at rows"
            raise SpecError([f"{source}: {what}"]) from None
        raise
    if not isinstance(data, dict):
        raise SpecError([f"{source}:1: expected a mapping of keys (name, base, arms, questions, …)"])
    return data, Lines(source, line_of)


def parse_yaml(text: str, source: str, twice: list[str] | None = None) -> tuple[Any, dict[KeyPath, int]]:
    """Plain data of a YAML text and the line of each key path. Raises `SpecError` that begins with `source` and a line.

    Refused in addition to what YAML refuses: aliases and nesting beyond the budgets above, keys given twice or that are no text,
    numbers that are none (`.nan`, `.inf`), half characters.
    """
    if len(text) > MOST_YAML:
        raise SpecError([f"{source}: more than {MOST_YAML:,} characters of YAML are not read"])
    line = 1
    loader = _Loader("")
    try:
        for event, expanded, depth in _weighed(text):
            line = _line(event)
            if expanded > MOST_YAML:
                raise SpecError([f"{source}:{line}: its aliases expand to more than is read; write less"])
            if depth > DEEPEST:
                raise SpecError([f"{source}:{line}: nested more than {DEEPEST} deep"])
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        line_of: dict[KeyPath, int] = {}
        problems: list[str] = []
        repeated: list[str] = []
        _walk(node, (), line_of, problems, repeated, source)
        if problems or (repeated and twice is None):
            raise SpecError([*repeated, *problems])
        if twice is not None:
            twice += repeated
        return loader.construct_document(node), line_of
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else line
        raise SpecError([f"{source}:{line}: malformed YAML: {error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        raise SpecError([f"{source}: malformed YAML: {' '.join(str(error).split())}"]) from None
    # What PyYAML's constructors raise on a scalar that only looks like a date, a number or an escape.
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise SpecError([f"{source}:{loader.line or line}: this value cannot be read ({reason}); quote it"]) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe one, that knows on which line the value stands that it constructs."""

    line = 0

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        self.line = node.start_mark.line + 1
        return super().construct_object(node, deep)


def _weighed(text: str) -> Iterator[tuple[yaml.Event, int, int]]:
    """Each event of a text with what has been read so far, aliases written out, and the depth of nesting."""
    total = 0
    size_of: dict[str, int] = {}
    open_anchors: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in [anchor for anchor, _ in open_anchors]:
                raise yaml.YAMLError(f"'*{event.anchor}' in line {_line(event)} holds itself")
            total += size_of.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1 + len(event.value)
            if event.anchor:
                size_of[event.anchor] = 1 + len(event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_anchors.pop()
            if anchor:
                size_of[anchor] = total - before
        yield event, total, len(open_anchors)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _walk(
    node: yaml.Node, path: KeyPath, line_of: dict[KeyPath, int], problems: list[str], repeated: list[str], source: str
) -> None:
    line = node.start_mark.line + 1
    line_of.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.endswith((":str", ":merge", ":value")):
                shown = key if isinstance(key_node, yaml.ScalarNode) else "this"
                problems.append(f"{source}:{line}: key {shown[:60]} is not read as text; quote it, or write another")
                continue
            if key in seen:
                repeated.append(f"{source}:{line}: key '{key}' is given twice; keep one")
            seen.add(key)
            problems += _half_characters(key, f"{source}:{line}")
            line_of[(*path, key)] = line
            _walk(value_node, (*path, key), line_of, problems, repeated, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            line_of[(*path, index)] = item.start_mark.line + 1
            _walk(item, (*path, index), line_of, problems, repeated, source)
    else:
        problems += _half_characters(node.value, f"{source}:{line}")
        of = next((f"{key}: " for key in reversed(path) if isinstance(key, str)), "")
        if node.tag.endswith((":int", ":float")) and len(node.value) > LONGEST_NUMBER:
            problems.append(
                f"{source}:{line}: {of}a number of {len(node.value):,} characters; quote it if it is a text"
            )
        elif node.tag.endswith(":float") and not _finite(node.value):
            problems.append(f"{source}:{line}: {of}{node.value} is not a usable number; write one, or quote it")


def _half_characters(text: str, where: str) -> list[str]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        return [f"{where}: a lone surrogate ({half}), which is half a character and no text"]
    return []


def _finite(written: str) -> bool:
    try:
        return math.isfinite(float(written.replace("_", "")))
    except ValueError:  # .nan, .inf, and 1:30.5, which YAML reads as ninety and a half
        return not written.lower().endswith((".nan", ".inf"))


@dataclass(frozen=True)
class Table:
    """Records of a table file. `lines[i]` is the line on which record i begins; `how` says what was done to read it."""

    records: Records
    lines: list[int]
    columns: tuple[str, ...]
    how: tuple[str, ...] = ()
    unit: str = "line"
    """What `lines` count: of a Parquet file, rows."""


def table_delimiter(name: str) -> str | None:
    """What stands between the cells of a table file of this name, or None if it is the name of none."""
    lowered = name.lower().removesuffix(".gz")
    return next((delimiter for ending, delimiter in TABLES.items() if lowered.endswith(ending)), None)


def read_csv(source: Path) -> Records:
    """Records of a CSV. Raises `DataError` if it is absent or a row has another number of cells than the header."""
    return read_table(source).records


def read_table(source: Path, encoding: str | None = None) -> Table:
    """A CSV (or, named .tsv, tab-separated) file: UTF-8 or what its byte order mark says, or `encoding`.

    Raises `DataError` naming file and line if it is absent, not decodable, badly quoted, has a column twice, or has a row
    with another number of cells than the header.
    """
    if not is_file(source):
        raise DataError(f"{source}: no such data file{named_nearly(source)}")
    text, how = read_text(source, encoding)
    csv.field_size_limit(MOST_BYTES)  # one cell may be as long as a file may be
    stream = io.StringIO(text, newline="")
    cells = csv.reader(stream, delimiter=table_delimiter(source.name) or ",", strict=True)
    columns: list[str] | None = None
    records: Records = []
    lines: list[int] = []
    line = position = 0
    try:
        for row in cells:
            begins, line, position = line + 1, *_reached(text, stream, line, position)
            if not row:
                continue
            if columns is None:
                columns = row
                if twice := next((name for name in row if row.count(name) > 1), None):
                    raise DataError(f"{source}:{begins}: column {twice!r} is given twice; rename one")
                continue
            if len(row) != len(columns):
                raise DataError(
                    f"{source}:{begins}: expected {len(columns)} cells ({', '.join(columns)}), there are {len(row)}"
                )
            records.append(dict(zip(columns, row, strict=True)))
            lines.append(begins)
    except csv.Error as error:
        raise DataError(
            f"{source}:{line + 1}: not a CSV row: {error}; put a text that holds quotes or newlines in quotes, and double those "
            "inside"
        ) from None
    return Table(records, lines, tuple(columns or ()), how)


def _reached(text: str, stream: io.StringIO, line: int, position: int) -> tuple[int, int]:
    """How many lines of the text have been read: those that end in a newline, as an editor counts them."""
    now = stream.tell()
    return line + max(1, text.count("\n", position, now)), now
