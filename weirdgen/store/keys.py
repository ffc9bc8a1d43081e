"""Names of contents: equal inputs, texts and files have equal keys.

In: plain data, a text, a file. Out: hex digits of their SHA-256. Nothing is stored here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def content_key(inputs: Any) -> str:
    """32 hex digits that name equal inputs equally: SHA-256 of their JSON with sorted keys."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def text_key(text: str) -> str:
    """32 hex digits that name a text of any kind, halves of surrogate pairs among its characters too: its SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
