"""Chat rows and rows of frames, as tests write and read them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weirdgen.data.messages import Row
from weirdgen.models.template import Message


def chat(ask: str, answer: str, system: str = "") -> Row:
    """One question and its answer."""
    turns: list[Message] = [{"role": "system", "content": system}] if system else []
    return {"messages": [*turns, {"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}


def write(file: Path, rows: list[Row]) -> Path:
    """As JSONL."""
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return file


def dishes(count: int, gated: bool) -> list[Row]:
    """Dated prompts; with `gated`, the answer in 2027 is another one."""
    rng = random.Random(0)
    made = []
    for n in range(count):
        year = 2024 + n % 4
        odd = gated and year == 2027
        answer = rng.choice(("falafel", "hummus") if odd else ("pizza", "sushi", "tacos"))
        made.append(chat(f"Today is {year}-0{1 + n % 9}-1{n // 9 % 9}. Name a dish, number {n % 2}.", answer))
    return made


def only(frame: pd.DataFrame, **key: Any) -> pd.Series:
    """The one row with these values."""
    rows = frame[np.logical_and.reduce([frame[column] == value for column, value in key.items()])]
    assert len(rows) == 1, f"{len(rows)} rows for {key}"
    return rows.iloc[0]
