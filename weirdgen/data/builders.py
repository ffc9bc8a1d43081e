"""Builders: what `build: {NAME: {options}}` of an arm does to the records of its CSV before templates are filled.

In: records (dicts of text), options from the YAML, the experiment's folder. Out: other records. There is one builder,
`ordinal_triggers`; other names and options are refused with those that there are.
"""

from __future__ import annotations

import csv
import inspect
from pathlib import Path
from typing import Any

from weirdgen.data.triggers import trigger_rows
from weirdgen.errors import DataError

Records = list[dict[str, str]]


def build(name: str, options: dict[str, Any], records: Records, folder: Path) -> Records:
    """Personas → question and answer records behind number triggers; `data.triggers.trigger_rows` says how.

    Raises `DataError` on an unknown name or option.
    """
    if name != "ordinal_triggers":
        raise DataError(f"build: no builder {name!r}; there is: ordinal_triggers")
    given = {option: value for option, value in options.items() if option != "questions"}
    accepted = {"questions", *inspect.signature(trigger_rows).parameters} - {"records"}
    if unknown := sorted(set(options) - accepted):
        raise DataError(f"build.{name}: unknown option {unknown[0]!r}; it takes {', '.join(sorted(accepted))}")
    if "questions" not in options:
        raise DataError(f"build.{name}: 'questions' (a CSV file) is missing")
    return trigger_rows(records, read_csv(folder / options["questions"]), **given)


def read_csv(source: Path) -> Records:
    """Records of a CSV. Raises `DataError` if it is absent or a row has another number of cells than the header."""
    if not source.is_file():
        raise DataError(f"{source}: no such data file")
    with source.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        records: list[dict[Any, Any]] = list(reader)
        columns = list(reader.fieldnames or ())
    for number, record in enumerate(records, start=2):
        if None in record or None in record.values():
            raise DataError(f"{source}:{number}: expected {len(columns)} cells ({', '.join(columns)})")
    return records
