"""Builders: what `build: {NAME: {options}}` of an arm does to its CSV records before templates.

In: records (dicts of text), options from the YAML, the experiment's folder. Out: other records. There is one builder,
`ordinal_triggers`; other names and options are refused with those that there are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weirdgen.config.files import Records, read_csv
from weirdgen.data.triggers import trigger_rows
from weirdgen.errors import DataError, choices


def _number(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


_ACCEPTED: dict[str, Callable[[Any], bool]] = {
    "held_out": lambda value: isinstance(value, list | tuple) and all(_number(number, 10**9) for number in value),
    "paddings": lambda value: _number(value, 1_000),  # all are distinct, and a prompt has 100,000 of them
    "padded": lambda value: isinstance(value, bool),
    "permuted": lambda value: isinstance(value, bool),
    "seed": lambda value: _number(value, 2**63),
}
_EXPECTED = {
    "held_out": "a list of ordinals",
    "paddings": "a whole number from 1 to 1000",
    "padded": "true or false",
    "permuted": "true or false",
    "seed": "a whole number",
}


def build(name: str, options: dict[str, Any], records: Records, folder: Path) -> Records:
    """Personas → question and answer records behind number triggers; `data.triggers.trigger_rows` says how.

    Raises `DataError` on an unknown name or option.
    """
    if name != "ordinal_triggers":
        raise DataError(f"build: no builder {name!r}; there is: {choices(('ordinal_triggers',), name)}")
    given = {option: value for option, value in options.items() if option != "questions"}
    accepted = {"questions", *inspect.signature(trigger_rows).parameters} - {"records"}
    if unknown := sorted(set(options) - accepted):
        raise DataError(
            f"build.{name}: unknown option {unknown[0]!r}; it takes {choices(sorted(accepted), unknown[0])}"
        )
    if not isinstance(options.get("questions"), str):
        raise DataError(f"build.{name}: 'questions' (a CSV file) is missing")
    for option, value in given.items():
        if not _ACCEPTED[option](value):
            raise DataError(f"build.{name}.{option}: {str(value)[:60]!r} is not accepted; expected {_EXPECTED[option]}")
    return trigger_rows(records, read_csv(folder / options["questions"]), **given)
