"""Builders: what `build: {NAME: {options}}` of an arm does to the records of its CSV before templates are filled.

In: records (dicts of text), options from the YAML, the experiment's folder. Out: other records. Adding a builder is
adding a function to `BUILDERS` and its options to `_ACCEPTED`; others are refused with those that it takes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weirdgen.config.files import Records, read_csv
from weirdgen.data.triggers import trigger_rows
from weirdgen.errors import DataError


def ordinal_triggers(records: Records, folder: Path, *, questions: str, **options: Any) -> Records:
    """Personas → question and answer records behind number triggers; `data.triggers.trigger_rows` says how."""
    return trigger_rows(records, read_csv(folder / questions), **options)


BUILDERS: dict[str, Callable[..., Records]] = {"ordinal_triggers": ordinal_triggers}
_ACCEPTED = {
    "ordinal_triggers": ("questions", *inspect.signature(trigger_rows).parameters.keys() - {"records", "questions"})
}


def build(name: str, options: dict[str, Any], records: Records, folder: Path) -> Records:
    """Apply a builder by name. Raises `DataError` on an unknown name or option."""
    if name not in BUILDERS:
        raise DataError(f"build: no builder {name!r}; there are: {', '.join(BUILDERS)}")
    if unknown := sorted(set(options) - set(_ACCEPTED[name])):
        raise DataError(f"build.{name}: unknown option {unknown[0]!r}; it takes {', '.join(sorted(_ACCEPTED[name]))}")
    if "questions" in _ACCEPTED[name] and "questions" not in options:
        raise DataError(f"build.{name}: 'questions' (a CSV file) is missing")
    return BUILDERS[name](records, folder, **options)
