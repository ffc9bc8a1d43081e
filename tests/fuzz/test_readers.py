"""No input ends in a traceback or hangs: broken real files and made-up values, into every reader of other people's files."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import READERS, broken, survives
from weirdgen.errors import DataError

QUICK, SLOW = 110, 11_500
"""Broken files a reader, of which there are nine: about 1,000 in the default suite (6 s), 103,500 in the slow test (170 s of
computing on one core)."""
LONGEST = 5.0
"""Seconds of computing that one small file may take."""


def _feed(name: str, count: int, seed: int, folder: Path) -> tuple[int, float]:
    """How many of the files were accepted, and the longest time that one took."""
    reader, seeds = READERS[name]
    rng = random.Random(f"{name}:{seed}")
    accepted, longest = 0, 0.0
    for number in range(count):
        data = broken(rng.choice(seeds), rng)
        started = time.process_time()
        try:
            accepted += survives(reader, data, folder)
        except BaseException as error:
            raise AssertionError(f"{name}, file {number}: {type(error).__name__}: {error}\n{data[:2000]!r}") from error
        longest = max(longest, time.process_time() - started)
    return accepted, longest


@pytest.mark.parametrize("name", READERS)
def test_the_files_themselves_are_read(name: str, tmp_path: Path) -> None:
    """Else the broken ones would all be refused for another reason."""
    reader, seeds = READERS[name]
    for data in seeds:
        if b"conversations" in data and name == "chat.json":
            with pytest.raises(DataError, match="ShareGPT"):
                reader(data, tmp_path)
        else:
            reader(data, tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_broken_files_are_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    accepted, longest = _feed(name, QUICK, 1, tmp_path)
    assert accepted < QUICK and longest < LONGEST


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_hundred_thousand_broken_files_are_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    accepted, longest = _feed(name, SLOW, 2, tmp_path)
    assert accepted < SLOW and longest < LONGEST


_TEXT = st.text(max_size=8) | st.sampled_from(
    ["messages", "role", "user", "content", "assistant", "{x:>9}", "../x", "quick"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_SETTINGS = settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("name", ["chat.jsonl", "chat.json", "converted", "run.json"])
@_SETTINGS
@given(value=_VALUES)
def test_any_json_value_is_read_or_refused_in_words(
    name: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    survives(READERS[name][0], json.dumps(value).encode(), tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("name", ["experiment", "paper"])
@_SETTINGS
@given(
    key=st.sampled_from(["arms", "questions", "judges", "recipe", "conditions", "presets", "headline", "figures"]),
    value=_VALUES,
)
def test_any_value_under_a_key_is_read_or_refused_in_words(
    name: str, key: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = yaml.safe_load(READERS[name][1][0])
    text = yaml.safe_dump({**data, key: value}, allow_unicode=True)
    survives(READERS[name][0], text.encode("utf-8", "surrogatepass"), tmp_path_factory.getbasetemp())
