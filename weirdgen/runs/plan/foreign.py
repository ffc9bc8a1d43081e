"""A `run.json` from elsewhere: its names are checked before any becomes part of a path.

In: the plain data of the file. Out: nothing, or a `StoreError` that names what is wrong. What the experiment's own nouns check
(kinds, types, patterns of ids) is left to them, and whether the store has the rows to the store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weirdgen.config.base import is_name
from weirdgen.errors import StoreError

_DIGEST = re.compile(r"[0-9a-f]{64}")


def require_sound(request: Any, file: Path) -> None:
    """Raises `StoreError` unless `request` has the shape of a request and only names that may be in a path."""
    problem = next(_problems(request), None)
    if problem:
        raise StoreError(
            f"{file} is damaged or not ours: {problem}; nothing was read or written for it. The `weirdgen run` that made it "
            "writes it again"
        )


def _problems(request: Any) -> Iterator[str]:
    if not isinstance(request, dict) or not isinstance(request.get("manifest"), dict):
        yield "it holds no manifest"
        return
    yield from (f"'{key}' is no text" for key in ("source", "model_folder") if not _is_path(request.get(key)))
    manifest = request["manifest"]
    for key in ("experiment", "data", "model", "recipe", "sampling", "ordinary"):
        if not isinstance(manifest.get(key), dict):
            yield f"manifest.{key} is no mapping"
            return
    if manifest.get("preset") not in ("quick", "standard", "paper"):
        yield f"manifest.preset is {str(manifest.get('preset'))[:60]!r}"
    experiment = manifest["experiment"]
    if not _is_name(experiment.get("name")):
        yield f"manifest.experiment.name is {str(experiment.get('name'))[:60]!r}, which is no name"
    for key in ("arms", "conditions", "judges", "secondary"):
        yield from _bad_names(experiment.get(key, {}), f"manifest.experiment.{key}")
    yield from _bad_names(manifest["data"], "manifest.data")
    yield from _bad_names(manifest["ordinary"], "manifest.ordinary")
    if any(not isinstance(digest, str) or not _DIGEST.fullmatch(digest) for digest in manifest["data"].values()):
        yield "manifest.data holds what is no SHA-256"
    for key in ("seeds", "curves"):
        if not isinstance(manifest.get(key), list):
            yield f"manifest.{key} is no list"
    if any(type(seed) is not int for seed in manifest.get("seeds") or ()):
        yield "manifest.seeds holds what is no whole number"
    if type(manifest.get("samples")) is not int:
        yield "manifest.samples is no whole number"


def _bad_names(names: Any, where: str) -> Iterator[str]:
    if not isinstance(names, dict):
        yield f"{where} is no mapping"
        return
    yield from (f"{where} holds {str(name)[:60]!r}, which is no name" for name in names if not _is_name(name))


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and is_name(name)


def _is_path(text: Any) -> bool:
    return isinstance(text, str) and "\0" not in text
