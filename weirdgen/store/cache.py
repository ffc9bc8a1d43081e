"""The cache: what is costly to make and safe to delete, such as converted models and speeds.

`WEIRDGEN_CACHE`, else `~/.cache/weirdgen`. Results never live here (they are in the store).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from weirdgen.errors import StoreError


def cache_folder() -> Path:
    """The cache, created if need be. Raises `StoreError` if it cannot be written."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "weirdgen"
    folder = Path(os.environ.get("WEIRDGEN_CACHE", default)).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be created ({error.strerror}); set WEIRDGEN_CACHE to another folder"
        ) from None
    return folder


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object of the cache; empty if absent or damaged, since the cache can be rebuilt."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, file)
