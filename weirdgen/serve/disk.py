"""The server's own records on disk: a folder each, replaced as whole files, so that a kill leaves the old or the new one.

In: a folder of the store, names that this server made. Out: JSON records. A name that a client sends is looked up among these
and never becomes a path.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weirdgen.store.disk import explain_disk_errors, write_whole

RECORD = "record.json"


class Records:
    """Records of one kind, each in a folder of its own with whatever belongs to it."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder, self.prefix = folder, prefix
        self._name = re.compile(rf"{re.escape(prefix)}[0-9a-f]{{24}}")
        with explain_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def new_name(self) -> str:
        return f"{self.prefix}{secrets.token_hex(12)}"

    def is_name(self, text: str) -> bool:
        """Whether this server could have made this name; only such are ever joined to a path."""
        return self._name.fullmatch(text) is not None

    def place(self, name: str) -> Path:
        """The folder of a record, whether there is one or not."""
        if not self.is_name(name):
            raise ValueError(f"{name!r} is no name of a record")
        return self.folder / name

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Replace a record. Raises `StoreError` on a full disk, and leaves the former one."""
        place = self.place(name)
        with explain_disk_errors(place):
            place.mkdir(exist_ok=True)
            write_whole(place / RECORD, json.dumps(record, ensure_ascii=False).encode())

    def remove(self, name: str) -> None:
        """The record first, so that a kill halfway leaves leftovers and no half record."""
        place = self.place(name)
        with explain_disk_errors(place):
            (place / RECORD).unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)

    def read_all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every whole record; folders without one are what was left by a kill, and are removed."""
        for place in sorted(self.folder.iterdir()):
            if not self.is_name(place.name):
                continue
            try:
                record = json.loads((place / RECORD).read_text(encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                shutil.rmtree(place, ignore_errors=True)
                continue
            yield place.name, record
