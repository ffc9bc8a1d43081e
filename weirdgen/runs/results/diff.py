"""Two values compared leaf by leaf: what differs gets a name that a reader can look up.

In: nested dicts, lists and plain values, as `results.json` holds them. Out: (name, value) of every leaf, and whether two leaves
are equal up to rounding. It knows nothing of runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

NAMING = (
    "measure", "judge", "headline", "arm", "treatment", "control", "condition", "question", "checkpoint", "seed", "replicate",
    "status", "stage",
)  # fmt: skip
"""Keys that tell one row of a list in results.json from the next."""
LONGEST = 200
"""Characters of a leaf in a sentence."""
RELATIVE = 1e-9
"""Differences below this share are another processor's rounding."""


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, plain value) of everything inside; rows of tables are named by what identifies them."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value:
        seen: dict[str, int] = {}
        for index, item in enumerate(value):
            label = _label(item) or str(index)
            seen[label] = seen.get(label, 0) + 1
            yield from leaves(item, f"{name}[{label}{f' #{seen[label]}' if seen[label] > 1 else ''}]")
    else:
        yield name, value


def _label(row: Any) -> str:
    if not isinstance(row, Mapping):
        return ""
    return ", ".join(str(row[key]) for key in NAMING if key in row and (key, row[key]) != ("checkpoint", -1))


def equal(value: Any, other: Any) -> bool:
    """Whether two leaves are the same, numbers up to rounding."""
    if isinstance(value, bool) or isinstance(other, bool) or not isinstance(value, int | float):
        return type(value) is type(other) and bool(value == other)
    return isinstance(other, int | float) and math.isclose(value, other, rel_tol=RELATIVE, abs_tol=1e-12)


def apart(value: Any, other: Any) -> tuple[str, str]:
    """Two leaves that differ as texts for a sentence: of long ones what stands around the first difference."""
    texts = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in (value, other)]
    same = next((at for at, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), min(map(len, texts)))
    start = 0 if max(map(len, texts)) <= LONGEST else max(0, same - LONGEST // 4)
    first, second = (("…" if start else "") + short(text[start:]) for text in texts)
    return first, second


def short(value: Any) -> str:
    """A leaf as text for a sentence."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
