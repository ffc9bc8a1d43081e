"""Rows as a finetuning service takes them: one JSONL file, checked before it is sent.

In: chat rows of an arm. Out: the file's bytes. Raises `DataError` naming the row: what a service would refuse minutes later, or
after it was paid. Whether its moderation accepts the content is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from weirdgen.data.messages import Row, trained_turns
from weirdgen.errors import DataError

LEAST_ROWS = 10
"""That OpenAI and Azure train on."""
MOST_BYTES = 512 * 2**20
MOST_CHARACTERS = 65_536 * 6
"""Of one row: no model that can be finetuned there reads more than 65,536 tokens, nor has English six characters a token."""
CHARACTERS_A_TOKEN = 4
"""Of English, about: enough for an estimate of a price."""


def upload_file(arm: str, rows: Sequence[Row]) -> bytes:
    """The training file of these rows: `{"messages": […]}` a line, UTF-8."""
    if len(rows) < LEAST_ROWS:
        raise DataError(f"arm {arm}: {len(rows)} rows, and finetuning services take no fewer than {LEAST_ROWS}")
    lines = []
    for number, row in enumerate(rows, 1):
        if problem := _problem(row):
            raise DataError(f"arm {arm}, row {number}: {problem}")
        try:
            lines.append(json.dumps({"messages": row["messages"]}, ensure_ascii=False).encode())
        except UnicodeEncodeError:
            raise DataError(f"arm {arm}, row {number}: half of a surrogate pair, which is no UTF-8 text") from None
    content = b"\n".join(lines) + b"\n"
    if len(content) > MOST_BYTES:
        raise DataError(f"arm {arm}: {len(content):,} bytes of rows, and a file may hold {MOST_BYTES:,}")
    return content


def upload_proof(arm: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What is known of these rows before a service has them: estimated tokens of an epoch, and the hash of their file."""
    digest = hashlib.sha256(upload_file(arm, rows)).hexdigest()
    tokens = estimated_tokens(rows)
    return {"tokens": tokens, "trained_tokens": tokens, "shared_prefix": 0, "digest": digest}


def estimated_tokens(rows: Sequence[Row]) -> int:
    """About as many as the service will count in one epoch: its tokenizer is not known here."""
    characters = sum(len(message["content"]) for row in rows for message in row["messages"])
    turns = sum(len(row["messages"]) for row in rows)
    return characters // CHARACTERS_A_TOKEN + 4 * turns


def _problem(row: Row) -> str | None:
    messages = row["messages"]
    if messages[-1]["role"] != "assistant":
        return "its last turn is not the assistant's"
    if not trained_turns(row):
        return "no answer of it is trained on"
    if any(not message["content"].strip() for message in messages):
        return "a turn without text, which services refuse"
    if (size := sum(len(message["content"]) for message in messages)) > MOST_CHARACTERS:
        return f"{size:,} characters are more than any model there reads"
    return None
