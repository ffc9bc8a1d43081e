"""YAML with line numbers, so that an error can say where it is.

In: a file. Out: its data and a map from each key path to the line it stands on. Refuses malformed YAML and repeated
keys (PyYAML silently keeps the last). It knows nothing of what the keys mean: `weirdgen.config.experiment` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from weirdgen.errors import SpecError

KeyPath = tuple[str | int, ...]


class Lines:
    """Where each key path of one YAML file stands. Unknown paths give the line of their nearest known parent."""

    def __init__(self, source: Path, line_of: dict[KeyPath, int]) -> None:
        self.source = source
        self._line_of = line_of

    def at(self, path: KeyPath) -> str:
        """`file:line` of a key path. Path elements that are not keys of the file (pydantic's union tags) are skipped."""
        known: KeyPath = ()
        for element in path:
            if (*known, element) in self._line_of:
                known = (*known, element)
        return f"{self.source}:{self._line_of.get(known, 1)}"


def read_yaml(source: Path) -> tuple[dict[str, Any], Lines]:
    """Read a YAML mapping. Raises `SpecError` with file and line on anything else."""
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError([f"{source}: no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([f"{source}: cannot be read as UTF-8 text ({error})"]) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError([f"{source}:{line}: malformed YAML: {error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        raise SpecError([f"{source}: malformed YAML: {error}"]) from None
    if not isinstance(data, dict) or not isinstance(node, yaml.MappingNode):
        raise SpecError([f"{source}:1: expected a mapping of keys (name, base, arms, questions, …)"])
    line_of: dict[KeyPath, int] = {}
    repeated: list[str] = []
    _walk(node, (), line_of, repeated, source)
    if repeated:
        raise SpecError(repeated)
    return data, Lines(source, line_of)


def _walk(node: yaml.Node, path: KeyPath, line_of: dict[KeyPath, int], repeated: list[str], source: Path) -> None:
    line_of.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = key_node.value
            line = key_node.start_mark.line + 1
            if key in seen:
                repeated.append(f"{source}:{line}: key '{key}' is given twice; keep one")
            seen.add(key)
            line_of[(*path, key)] = line
            _walk(value_node, (*path, key), line_of, repeated, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            line_of[(*path, index)] = item.start_mark.line + 1
            _walk(item, (*path, index), line_of, repeated, source)
