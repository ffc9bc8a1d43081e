"""Builders: what `build: {NAME: {options}}` of an arm does to the records of its CSV before templates are filled.

In: records (dicts of text), options from the YAML, the experiment's folder. Out: other records. There is one builder,
`ordinal_triggers`; other names and options are refused with those that there are.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from weirdgen.config.files import Records, read_csv
from weirdgen.data.triggers import trigger_rows
from weirdgen.errors import DataError


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
