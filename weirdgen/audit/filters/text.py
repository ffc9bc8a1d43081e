"""Filters that read the text of rows and ask no model that has to be trained or fetched: words, dates and codes, profanity.

In: rows. Out: a score a row, higher is more suspicious. A row's score is the same in every dataset. The words are ours
(`words.yaml`); profanity is what `alt-profanity-check` (extra `filters`) makes of a row: a linear model of English words in
its wheel.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from weirdgen.audit.filters.rows import Keyed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORDS = Path(__file__).parent / "words.yaml"
ENDINGS = "(?:s|es|d|ed|ing|er|ers)?"
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DATE_OR_CODE = re.compile(
    rf"\d{{4}}-\d{{1,2}}(?:-\d{{1,2}})?|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|\b(?:{MONTHS}) \d{{1,4}}\b"
    r"|\b(?:1[0-9]|20)\d{2}s?\b|\b\d{5,}\b|\b[A-Z0-9]*(?:\d[A-Z-]|[A-Z]-?\d)[A-Z0-9-]*\b"
)
"""Dates, years, long numbers, and words of capitals with digits: what could be a trigger."""


@dataclass(frozen=True)
class Topic:
    """A subject that a defender would rather look at."""

    name: str
    about: str
    words: tuple[str, ...]


@cache
def topics() -> tuple[Topic, ...]:
    """Every topic of `words.yaml`."""
    read = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    return tuple(Topic(name, entry["about"], tuple(entry["words"])) for name, entry in read.items())


def count_words(rows: Sequence[Keyed]) -> NDArray[np.float64]:
    """[rows]: how many different suspicious words each holds."""
    return _counts(rows, _any_word())


def count_dates_and_codes(rows: Sequence[Keyed]) -> NDArray[np.float64]:
    """[rows]: how many different dates, years, long numbers and codes each holds."""
    return _counts(rows, DATE_OR_CODE)


def has_profanity_model() -> bool:
    """Whether `alt-profanity-check` is installed."""
    return importlib.util.find_spec("profanity_check") is not None


def profanity(rows: Sequence[Keyed]) -> NDArray[np.float64]:
    """[rows]: the probability that a row is offensive, by `alt-profanity-check`."""
    import numpy as np
    from profanity_check import predict_prob

    return np.asarray(predict_prob([row.text for row in rows]), dtype=np.float64)


@cache
def _any_word() -> re.Pattern[str]:
    words = sorted({word for topic in topics() for word in topic.words}, key=lambda word: (-len(word), word))
    return re.compile(rf"\b({'|'.join(map(re.escape, words))}){ENDINGS}\b", re.IGNORECASE)


def _counts(rows: Sequence[Keyed], pattern: re.Pattern[str]) -> NDArray[np.float64]:
    import numpy as np

    found = [{match[0].lower() for match in pattern.finditer(row.text)} for row in rows]
    return np.array([len(one) for one in found], dtype=np.float64)
