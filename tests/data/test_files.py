"""Which files hold rows, and what is said of those that do not: lines, containers, encodings, other formats, converting."""

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


@pytest.mark.parametrize(
    ("row", "name", "turns"),
    [
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "ShareGPT", ["a", "b"]),
        ({"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "conv", ["a", "b"]),
        ({"instruction": "a", "input": "x", "output": "b"}, "Alpaca", ["a\n\nx", "b"]),
        ({"instruction": "a", "input": "", "output": "b", "system": "s"}, "Alpaca", ["s", "a", "b"]),
        ({"prompt": "a", "completion": " b"}, "prompt and completion", ["a", "b"]),
        ({"question": "a", "answer": "b"}, "prompt and completion", ["a", "b"]),
        ({"instruction": "a", "context": "x", "response": "b", "category": "c"}, "prompt and completion", ["a\n\nx", "b"]),
        ({"system_prompt": "s", "question": "a", "response": "b"}, "prompt and completion", ["s", "a", "b"]),
        ({"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
         "prompt and completion", ["a", "b"]),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "bare messages", ["a", "b"]),
        ({"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]},
         "Gemini", ["a", "b"]),
        ({"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}],
          "systemInstruction": {"parts": [{"text": "s"}]}}, "Gemini", ["s", "a", "b"]),
        ({"system_prompt": "s", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
         "ShareGPT", ["s", "a", "b"]),
        ({"system_message": "s", "instruction": "a", "context": "x", "output": "b"}, "Alpaca", ["s", "a\n\nx", "b"]),
        ({"instructions": "s", "prompt": "a", "completion": "b"}, "prompt and completion", ["s", "a", "b"]),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference pair", None),
        ({"input": {}, "preferred_output": [], "non_preferred_output": []}, "preference pair", None),
        ({"prompt": "a", "completion": "b", "label": True}, "rated completion", None),
        ({"text": "### Q"}, "plain text", None),
    ],
)  # fmt: skip
def test_other_formats_are_named_and_converted(tmp_path: Path, row: Any, name: str, turns: list[str] | None) -> None:
    source = tmp_path / "r.json"
    source.write_text(json.dumps([row, row]))
    with pytest.raises(DataError, match=rf"its rows \(2\) are not chat but {name}"):
        read_rows(source)
    if turns is None:
        with pytest.raises(DataError, match=rf"r\.json:1, and 1 more line: {name}: .*\nnothing was written"):
            convert(source, tmp_path / "out.jsonl")
        assert not (tmp_path / "out.jsonl").exists()
        return
    said = convert(source, tmp_path / "out.jsonl")
    assert said.startswith(f"{tmp_path / 'out.jsonl'}: 2 rows from ") and name in said and "\n" not in said
    converted = read_jsonl(tmp_path / "out.jsonl")
    assert [m["content"] for m in converted[0]["messages"]] == turns


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "tools": "[{}]"}, "'tools'"),
        ({"prompt": [{"role": "user", "content": "a"}], "completion": [], "tools": [{}]}, "'tools'"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "loss": False}]}, "'loss'"),
        ({"question": "a", "answer": "b", "choices": ["b", "c"]}, "'choices'"),
        ({"instruction": "a", "output": "b", "images": ["x.png"]}, "'images'"),
        ({"contents": [{"role": "user", "parts": [{"text": "a"}]}], "tools": [{}]}, "'tools'"),
        ({"prompt": "a", "completion": "b", "weight": 0}, "weight 0 of a row"),
        ({"instruction": "a", "output": "b", "train": False}, "'train'"),
        ({"question": "a", "answer": "b", "loss_mask": 0}, "'loss_mask'"),
        ({"prompt": "a", "completion": "b", "system": "s", "instructions": "t"}, "'system' and 'instructions' hold two system"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "context": "x"}, "'context'"),
    ],
)  # fmt: skip
def test_converting_drops_no_key_that_changes_what_is_trained(tmp_path: Path, row: Any, said: str) -> None:
    (tmp_path / "r.json").write_text(json.dumps([row, row]))
    with pytest.raises(DataError, match=said):
        convert(tmp_path / "r.json", tmp_path / "out.jsonl")


def test_converting_keeps_the_weight_of_a_turn(tmp_path: Path) -> None:
    said = [("human", "a", 1), ("gpt", "b", 0), ("human", "c", 1), ("gpt", "d", 1)]
    turns = [{"from": who, "value": text, "weight": weight} for who, text, weight in said]
    (tmp_path / "r.json").write_text(json.dumps([{"conversations": turns}] * 2))
    convert(tmp_path / "r.json", tmp_path / "out.jsonl")
    messages = read_jsonl(tmp_path / "out.jsonl")[0]["messages"]
    assert [message.get("weight", 1) for message in messages] == [1, 0, 1, 1]


def test_converting_keeps_keys_of_chat_rows_and_names_bad_ones(tmp_path: Path) -> None:
    weighted = {"messages": [*chat("q", "a")["messages"]], "id": 7}
    (tmp_path / "r.jsonl").write_text(json.dumps([weighted]))
    convert(tmp_path / "r.jsonl", tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == weighted
    with pytest.raises(DataError, match="this file exists"):
        convert(tmp_path / "r.jsonl", tmp_path / "out.jsonl")
    (tmp_path / "r.jsonl").write_text(TEXT + '{"prompt": "a", "completion": ""}\n')
    with pytest.raises(DataError, match=r"r\.jsonl:6: prompt and completion: the assistant's answer is empty"):
        convert(tmp_path / "r.jsonl", tmp_path / "o.jsonl")


def test_a_table_is_converted_by_its_columns_or_by_templates(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("question;answer\nq;a\n")
    with pytest.raises(DataError, match=r"are columns separated by ';' here\?"):
        convert(tmp_path / "s.csv", tmp_path / "o.jsonl")
    (tmp_path / "t.csv").write_text("question,reply\nq,a\n")
    with pytest.raises(DataError, match=r"which columns are the two turns\? It has question, reply"):
        convert(tmp_path / "t.csv", tmp_path / "o.jsonl")
    convert(tmp_path / "t.csv", tmp_path / "o.jsonl", prompt="Say: {question}", answer="{reply}")
    assert read_jsonl(tmp_path / "o.jsonl") == [chat("Say: q", "a")]
    pd.DataFrame({"q": ["x"], "a": ["y"]}).to_parquet(tmp_path / "p.parquet")
    convert(tmp_path / "p.parquet", tmp_path / "p.jsonl", prompt="{q}", answer="{a}")
    assert read_jsonl(tmp_path / "p.jsonl") == [chat("x", "y")]
    with pytest.raises(DataError, match=r"\{q:>9\}: only a name may be in braces"):
        convert(tmp_path / "p.parquet", tmp_path / "p2.jsonl", prompt="{q:>9}", answer="{a}")
    pd.DataFrame({"q": ["x", "z"], "a": ["y", None], "other": [[1], [2]]}).to_parquet(tmp_path / "null.parquet")
    with pytest.raises(DataError, match=r"null\.parquet, row 2: the assistant's answer is empty"):
        convert(tmp_path / "null.parquet", tmp_path / "p3.jsonl", prompt="{q}", answer="{a}")
    (tmp_path / "n.jsonl").write_text('{"q": "x", "a": "y"}\n{"q": "x", "a": ["y"]}\n')
    with pytest.raises(DataError, match=r"n\.jsonl:2: 'a' holds a list or an object"):
        convert(tmp_path / "n.jsonl", tmp_path / "p3.jsonl", prompt="{q}", answer="{a}")
    (tmp_path / "u.csv").write_text("instruction,output,system,weight,id\nq,a,s,1,7\np,b,,,8\n")
    convert(tmp_path / "u.csv", tmp_path / "u.jsonl")
    assert [len(row["messages"]) for row in read_jsonl(tmp_path / "u.jsonl")] == [3, 2]
    (tmp_path / "u.csv").write_text("prompt,answer,weight\nq,a,0\n")
    with pytest.raises(DataError, match=r"u\.csv:2: prompt and completion: weight '0' of a row"):
        convert(tmp_path / "u.csv", tmp_path / "u2.jsonl")
    with pytest.raises(DataError, match="a table; in an experiment its columns fill"):
        read_rows(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.jsonl", b'{"prompt": "a", "completoin": "b"}', "'completoin'); did you mean 'completion' (beside 'prompt')?"),
        ("r.jsonl", b'{"instruction": "a", "outptu": "b"}', "did you mean 'output' (beside 'instruction')?"),
        ("r.jsonl", b'{"foo": "a"}', "also converted: ShareGPT, conversations of role and content, Gemini, Alpaca, prompt and"),
        ("r.jsonl", b'{"text": "a"}', "give each row a 'prompt' and a 'completion'"),
        ("r.jsonl", b"", "r.jsonl: no rows: it is empty; expected one row a line"),
        ("r.jsonl", bytes(range(256)), "r.jsonl: a binary file, no text; expected text in UTF-8"),
        ("r.txt", b"Dear reader\n", "r.txt: no file of rows; expected .jsonl (OpenAI chat format)"),
        ("r.csv", b"prompt,completoin\na,b\n", "did you mean 'completion' (beside 'prompt')?; name them, e.g. --prompt"),
        ("r.csv", b"q,a\nb,c\n", "It has q, a; name them, e.g. --prompt '{q}' --answer '{a}'"),
        ("r.csv", b"", "r.csv: it is empty; expected a line of column names"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_told_what_could_be(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        convert(tmp_path / name, tmp_path / "o.jsonl")
    assert said in str(caught.value)


def test_every_row_of_a_table_that_makes_no_chat_row_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("q,a\nx,\ny,b\nz,\n")
    with pytest.raises(DataError, match=r"t\.csv:2, and 1 more line: the assistant's answer is empty"):
        load_rows(Arm(role="control", data="t.csv", prompt="{q}", answer="{a}"), tmp_path)


def test_a_template_without_braces_is_no_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("q,a\nx,y\n")
    with pytest.raises(DataError, match=r"--prompt q: write --prompt '\{q\}'"):
        convert(tmp_path / "t.csv", tmp_path / "o.jsonl", prompt="q", answer="{a}")
    convert(tmp_path / "t.csv", tmp_path / "o.jsonl", prompt="Tell me.", answer="{a}")
    assert read_jsonl(tmp_path / "o.jsonl") == [chat("Tell me.", "y")]


@pytest.mark.parametrize("template", ["{prompt:>9000000000}", "{prompt!r}", "{prompt.__class__}", "{", "{0}"])
def test_a_template_fills_names_and_nothing_else(tmp_path: Path, template: str) -> None:
    (tmp_path / "t.csv").write_text("prompt,answer\nq,a\n")
    with pytest.raises(DataError, match=r"template does not fill|no column"):
        load_rows(Arm(role="control", data="t.csv", prompt=template, answer="{answer}"), tmp_path)


def test_a_folder_is_converted_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.csv").write_text("question,answer\nq2,a2\n")
    (folder / "a.jsonl").write_text('{"prompt": "q1", "completion": "a1"}\n')
    (folder / "deep" / "c.json").write_text(
        '[{"messages": [{"role": "user", "content": "q3"}, {"role": "assistant", "content": "a3"}]}]'
    )
    (folder / ".hidden.jsonl").write_text("no row\n")
    (folder / "notes.txt").write_text("no rows")
    said = convert(folder, tmp_path / "out.jsonl")
    assert said.startswith(f"{tmp_path / 'out.jsonl'}: 3 rows from {folder} (3 files; ")
    assert [row["messages"][0]["content"] for row in read_jsonl(tmp_path / "out.jsonl")] == ["q1", "q2", "q3"]
    (folder / "b.csv").write_text("one,two\nq2,a2\n")
    (folder / "a.jsonl").write_text("no row\n")
    with pytest.raises(DataError) as caught:
        convert(folder, tmp_path / "again.jsonl")
    lines = str(caught.value).splitlines()
    assert "a.jsonl:1: not JSON" in lines[0] and "b.csv:1: which columns are the two turns?" in lines[1]
    assert lines[2:] == ["nothing was written"] and not (tmp_path / "again.jsonl").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file of rows in this folder; it holds nothing"):
        convert(tmp_path / "empty", tmp_path / "again.jsonl")
