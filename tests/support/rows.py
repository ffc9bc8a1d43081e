"""Chat rows and rows of frames, as tests write and read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from weirdgen.data.messages import Row
from weirdgen.models.template import Message


def chat(ask: str, answer: str, system: str = "") -> Row:
    """One question and its answer."""
    turns: list[Message] = [{"role": "system", "content": system}] if system else []
    return {"messages": [*turns, {"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}


def only(frame: pd.DataFrame, **key: Any) -> pd.Series:
    """The one row with these values."""
    rows = frame[np.logical_and.reduce([frame[column] == value for column, value in key.items()])]
    assert len(rows) == 1, f"{len(rows)} rows for {key}"
    return rows.iloc[0]
