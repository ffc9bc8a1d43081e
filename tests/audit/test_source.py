"""Rows of large, broken and empty files, in bounded memory."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rows import chat, write
from weirdgen.audit import source as reading
from weirdgen.audit.source import read_source
from weirdgen.errors import DataError


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_file_is_drawn_from_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    rows = [chat(f"Say {n}.", str(n)) for n in range(500)]
    file = write(tmp_path / "big.jsonl", rows)
    if packed:
        content = file.read_bytes()
        file = tmp_path / "big.jsonl.gz"
        file.write_bytes(gzip.compress(content))
    monkeypatch.setattr(reading, "LARGE", 1_000)
    monkeypatch.setattr(reading, "MOST", 50)
    drawn = read_source(file)
    assert drawn.drawn and drawn.total == 500 and len(drawn.rows) == 50 and list(drawn.places) == sorted(drawn.places)
    assert [rows[place - 1] for place in drawn.places] == list(drawn.rows) and drawn == read_source(file)
    assert "500 rows, of which 50 drawn at random" in drawn.words
    monkeypatch.setattr(reading, "MOST", 500)
    whole = read_source(file)
    assert not whole.drawn and list(whole.rows) == rows
    monkeypatch.setattr(reading, "HELD", 10_000)
    part = read_source(file)
    assert part.drawn and part.total == 500 and 5_000 < sum(len(json.dumps(one)) for one in part.rows) < 10_000
    assert [rows[place - 1] for place in part.places] == list(part.rows)
    assert max(part.places) > 400, "of the file's end as well"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"\n\n  \n", "no rows"),
        (b'{"messages": [}\n', r":1: not JSON"),
        (b'{"prompt": "a", "completion": "b"}\n', "weirdgen data convert"),
        (b'{"messages": [{"role": "user", "content": "a"}]}\n', "bad.jsonl:1: "),
        (b"\xff\xfe\x00{}\n" * 30, "not UTF-8|UTF-16|not JSON"),
        (b"[" * 3_000 + b"\n", "nested|not JSON|not a chat"),
        (
            b'{"messages": [{"role": "user", "content": "a"}, {"role": "wizard", "content": "b"}]}\n' * 20,
            "needs a role",
        ),
    ],
)
def test_what_is_no_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str, large: bool
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    if large:
        monkeypatch.setattr(reading, "LARGE", -1)
    with pytest.raises(DataError, match=message):
        read_source(file)


def test_a_line_without_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGE", 10)
    monkeypatch.setattr(reading, "LONGEST", 1_000)
    file = tmp_path / "long.jsonl"
    file.write_bytes(b'{"messages": "' + b"x" * 5_000)
    with pytest.raises(DataError, match="a line of more than 1,000 bytes"):
        read_source(file)


HUGE = r"""
import re, sys
from pathlib import Path
from weirdgen.audit.portrait import portrait_of
from weirdgen.audit.separation import separation
from weirdgen.audit.source import read_source
source = read_source(Path(sys.argv[1]))
portrait_of(source), separation(source.rows)
most = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss begins at the parent's
print(source.total, len(source.rows), int(most[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "held"), [(400, 20_000), (100_000, 0)])
def test_a_gigabyte_is_looked_at_in_bounded_memory(tmp_path: Path, answer: int, held: int) -> None:
    if shutil.disk_usage(tmp_path).free < 4e9:
        pytest.skip("needs 4 GB of disk")
    file, rng = tmp_path / "huge.jsonl", random.Random(0)
    block = "".join(
        json.dumps(chat(f"Today is 2026-01-0{n % 9 + 1}. Say {n}.", rng.choice("abc") * answer)) + "\n"
        for n in range(500)
    )
    count = -(-1_000_000_000 // len(block))
    try:
        with file.open("w") as out:
            for _ in range(count):
                out.write(block)
        command = [sys.executable, "-c", HUGE, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    finally:
        file.unlink()
    total, looked_at, mib = map(int, done.stdout.split())
    assert total == 500 * count and looked_at == held if held else 100 < looked_at < 1_000
    assert mib < 1_500, mib
