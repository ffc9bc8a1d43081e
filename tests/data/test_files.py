"""Which files hold rows, and what is said of those that do not: lines, containers, encodings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.rows import chat
from weirdgen.audit.checks.subject import load_subject
from weirdgen.config.arm import Arm
from weirdgen.config.files import read_table
from weirdgen.data.convert import convert
from weirdgen.data.rows import ReadingNote, load_rows, read_jsonl, read_rows
from weirdgen.data.stored import keep_rows, stored_rows
from weirdgen.errors import DataError
from weirdgen.store.artifacts import Store

MARKS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
"""Characters at which `splitlines` ends a line and JSONL does not."""


ROWS = [chat(f"Name a herb, number {i}.", f"Sage {i}.") for i in range(5)]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS)
PROMPT = {"prompt": "{prompt}", "answer": "{answer}"}


def table(folder: Path, data: bytes, name: str = "t.csv") -> list[Any]:
    (folder / name).write_bytes(data)
    return load_rows(Arm(role="control", data=name, **PROMPT), folder)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_ends_at_a_newline_and_nowhere_else(tmp_path: Path, end: str) -> None:
    rows = [chat("q", MARKS), chat("q", "plain")]
    text = end.join(json.dumps(row, ensure_ascii=False) for row in rows) + end + "{" + end
    (tmp_path / "r.jsonl").write_bytes(text.encode())
    reading = read_rows(tmp_path / "r.jsonl")
    assert list(reading.rows) == rows and [place for place, _ in reading.problems] == [3]


def test_what_was_stored_can_be_read_again(tmp_path: Path) -> None:
    rows = [chat("q", MARKS)]
    store = Store(tmp_path)
    keep_rows(store, rows)
    (digest,) = [json.loads(p.read_text())["canonical_sha256"] for p in tmp_path.glob("artifacts/dataset/*/card.json")]
    assert stored_rows(store, digest) == rows


def test_a_cell_keeps_its_characters_and_may_be_long(tmp_path: Path) -> None:
    long = "x" * 200_000
    rows = table(tmp_path, f'prompt,answer\n"{MARKS}",{long}\n'.encode())
    assert rows == [chat(MARKS, long)]


def test_lines_of_a_table_are_the_files_own(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv:7: the assistant's answer is empty"):
        table(tmp_path, b'prompt,answer\r\n"A\nlong\nprompt",ok\r\n\r\nb,ok\nc,\n')
    with pytest.raises(DataError, match=r"t\.csv:3: expected 2 cells \(prompt, answer\), there are 3"):
        table(tmp_path, b"prompt,answer\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match=r"t\.csv:2: not a CSV row: unexpected end"):
        table(tmp_path, b'prompt,answer\n"never closed,2\n3,4\n')
    with pytest.raises(DataError, match=r"t\.csv:1: column 'prompt' is given twice"):
        table(tmp_path, b"prompt,prompt\n1,2\n")


@pytest.mark.parametrize(
    ("name", "data", "how"),
    [
        ("R.JSONL", TEXT.encode(), None),
        ("r.json", TEXT.encode(), None),
        ("r.jsonl", b"\xef\xbb\xbf" + TEXT.encode(), None),
        ("r.jsonl", TEXT.encode("utf-16"), "UTF-16"),
        ("r.jsonl.gz", gzip.compress(TEXT.encode()), "gzip"),
        ("r.jsonl", json.dumps(ROWS).encode(), "a JSON array"),
        ("r.json", json.dumps(ROWS, indent=2).encode(), "a JSON array"),
        ("r.json", json.dumps({"data": ROWS, "n": 5}, indent=2).encode(), "the list under 'data' of a JSON object"),
        ("r.json", "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(), "JSON objects over several lines"),
        ("r.jsonl", TEXT.replace("\n", "\r").encode(), "JSON objects without newlines between"),
        ("r.jsonl", TEXT.replace("}\n", "},\n").encode(), "lines that end in a comma"),
    ],
)
def test_containers_are_read_and_named(tmp_path: Path, name: str, data: bytes, how: str | None) -> None:
    (tmp_path / name).write_bytes(data)
    if how is None:
        assert read_rows(tmp_path / name).notes == ()
    else:
        with pytest.warns(ReadingNote, match="5 rows, read as " + how):
            reading = read_rows(tmp_path / name)
        assert len(reading.notes) == 1
    assert load_rows(Arm(role="control", data=name), tmp_path) == ROWS
    assert list(load_subject(str(tmp_path / name)).datasets[0].rows) == ROWS, "`data check` reads the same"


def test_parquet_and_folders_of_datasets_are_read(tmp_path: Path) -> None:
    import datasets

    pd.DataFrame(ROWS).to_parquet(tmp_path / "r.parquet")
    with pytest.warns(ReadingNote, match="read as Parquet"):
        assert read_jsonl(tmp_path / "r.parquet") == ROWS
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "d"))
    with pytest.warns(ReadingNote, match="a folder of datasets"):
        assert load_rows(Arm(role="control", data="d"), tmp_path) == ROWS
    both = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS)}
    datasets.DatasetDict(both).save_to_disk(str(tmp_path / "dd"))
    with pytest.raises(DataError, match=r"several splits; name one of them: .*dd/train"):
        read_jsonl(tmp_path / "dd")
    assert read_jsonl(tmp_path / "dd" / "train") == ROWS
    state = json.loads((tmp_path / "d" / "state.json").read_text())
    state["_data_files"] = [{"filename": "../dd/train/data-00000-of-00001.arrow"}]
    (tmp_path / "d" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="which is not a file of this folder"):
        read_jsonl(tmp_path / "d")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" + TEXT.encode(), r":2: a JSON array that cannot be read from here on: a comma or the closing bracket"),
        (b'[\n{"a": 1},\n{"a": NaN}\n]', r":3: a JSON array that cannot be read .*NaN is not JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", r":1: not JSON: a number of too many digits"),
        (b'{"a": NaN}', r":1: not JSON: NaN is not JSON"),
        (b'{"a": 1, "a": 2}', r":1: not JSON: key 'a' is given twice"),
        (b"[" * 100_000, r":1: a JSON array that cannot be read from here on: nested"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, r":1: not JSON: nested more than 100 deep"),
        (b'{"a": "\\ud83d"}', r":1: not JSON: a lone surrogate \(\\ud83d\)"),
        (b'{"a": "\xed\xa0\xbd"}', r":1: not UTF-8: byte 0xed"),
        (TEXT.encode("utf-16-le"), r"UTF-16 without a byte order mark"),
        (b"\x1f\x8b\x08" + b"\0" * 20, r"damaged or cut gzip"),
        (gzip.compress(TEXT.encode())[:-9], r"damaged or cut gzip"),
        (b"PK\x03\x04rest", r"a zip or a spreadsheet"),
        (b"\x80\x04pickle", r"a Python pickle, which could run code and is never opened"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "r.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=r"r\.jsonl.*" + said):
        read_jsonl(tmp_path / "r.jsonl")


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weirdgen.parsing.MOST_BYTES", 3_000_000)
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(b" " * 30_000_000))
    with pytest.raises(DataError, match="unpacks to more than 3,000,000 bytes"):
        read_jsonl(tmp_path / "r.jsonl.gz")


def test_a_table_in_another_encoding_is_named_and_converted(tmp_path: Path) -> None:
    data = "prompt,answer\nWhere’s the café?,Here – left.\n"
    with pytest.raises(DataError, match=r"t\.csv:2: not UTF-8.*may be Windows-1252.*Where’s.*--encoding cp1252"):
        table(tmp_path, data.encode("cp1252"))
    said = convert(tmp_path / "t.csv", tmp_path / "out.csv", "cp1252")
    assert "1 rows" in said and read_table(tmp_path / "out.csv").records[0]["answer"] == "Here – left."
    with pytest.warns(ReadingNote, match="read as UTF-16"):
        assert table(tmp_path, data.encode("utf-16")) == [chat("Where’s the café?", "Here – left.")]
    assert table(tmp_path, b"prompt\tanswer\na\tb\n", "t.tsv") == [chat("a", "b")]
