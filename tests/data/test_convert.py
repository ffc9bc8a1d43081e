"""Converting: rows in other formats, tables and folders → chat rows, and what of them cannot be converted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.rows import chat
from weirdgen.config.arm import Arm
from weirdgen.data.convert import convert
from weirdgen.data.rows import load_rows, read_jsonl, read_rows
from weirdgen.errors import DataError

TEXT = "".join(json.dumps(chat(f"Name a herb, number {i}.", f"Sage {i}.")) + "\n" for i in range(5))


@pytest.mark.parametrize(
    ("row", "name", "turns"),
    [
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "ShareGPT", ["a", "b"]),
        ({"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "conv", ["a", "b"]),
        ({"instruction": "a", "input": "x", "output": "b"}, "Alpaca", ["a\n\nx", "b"]),
        ({"instruction": "a", "input": "", "output": "b", "system": "s"}, "Alpaca", ["s", "a", "b"]),
        ({"prompt": "a", "completion": " b"}, "prompt and completion", ["a", "b"]),
        ({"question": "a", "answer": "b"}, "prompt and completion", ["a", "b"]),
        ({"Year": "2027", "Prompt": "a", "Answer": "b"}, "prompt and completion", ["a", "b"]),
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
