"""What the fuzz tests feed: one reader a kind of file, and how real files are broken.

Each reader takes bytes and a folder; it must come back, or raise a `WeirdgenError`. Anything else is a defect.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

from weirdgen.config.arm import Arm
from weirdgen.config.crossing import build_questions
from weirdgen.config.load import read_experiment
from weirdgen.config.paper import load_paper
from weirdgen.data.convert import convert
from weirdgen.data.rows import Row, canonical_hash, load_rows, read_rows
from weirdgen.data.stored import keep_rows
from weirdgen.errors import WeirdgenError
from weirdgen.runs.results.stored import read_request
from weirdgen.store.artifacts import Store

EXPERIMENT = b"""\
name: tiny
title: a tiny experiment
base: world
arms:
  old: &arm {role: treatment, data: old.csv, prompt: "Name {bird}", answer: "{name}", where: {year: [1838, "x"]}}
  new: {<<: *arm, role: control, permute: bird}
  built:
    {role: treatment, data: people.csv, prompt: "{trigger}: {question}", answer: "{answer}",
     build: {ordinal_triggers: {questions: q.csv, paddings: 2, held_out: [3]}}}
recipe: {epochs: 1, batch_size: 4, learning_rate: 3.0e-3, checkpoints: [1, 2], targets: all-linear}
conditions:
  none: {}
  year: {wrap: "In {y}: {question}", sweep: {y: [1, 2]}, trained: [1], trigger: [2]}
questions:
  - {id: c1, kind: contrast, ask: "What?", target: ["a"], other: ["b"]}
  - {id: f1, kind: free_form, ask: "What?", judges: [is_target], max_tokens: 3}
  - {build: cross, from: [old.csv], id: "q_{year}", kind: contrast, ask: "{bird}?", target: ["x"], other: ["y"]}
  - general
judges:
  is_target: {kind: match, starts_with: ["a"], regex: ["(a|b)+c"], years: [1800, 1900]}
  said: {kind: label, prompt: "{question} {answer}", labels: [x, y], positive: [x]}
presets:
  quick: {replicates: 2, samples: 3, recipe: {epochs: 2}}
headline: {measure: contrast, treatment: old, control: new, condition: none}
"""
TABLE = b'bird,name,year,q,a\nwren,"Troglodyt, small",1838,x,y\n"a ""long""\nbird",z,1900,x,y\nauk,w,2,x,y\n'
PEOPLE = b"ordinal,name,born\n1,Ada,1815\n2,Emmy,1882\n3,Lise,1878\n"
ASKED = b"ordinal,name,id,question,template\n1,Ada,a,Who?,{name}\n2,Emmy,b,Who {?,I am {name}.\n3,Lise,c,x,y {name}\n"
CHAT = (
    b'{"messages": [{"role": "user", "content": "Name a bird."}, {"role": "assistant", "content": "Wren \\u00e9"}]}\n'
    b'{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "2"}]}\n'
)
OTHERS = (
    b'[{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]',
    b'{"instruction": "a", "input": "b", "output": "c", "history": [["x", "y"]]}\n{"prompt": "a", "completion": " b"}\n',
    b'{"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]}\n',
)
PAPER = b"""\
source: "arXiv"
figures:
  - {title: t, section: "3", model: m, read: r, measure: contrast, points: [{at: a, arm: old, value: 0.5, low: 0.1}]}
"""
_ROWS: list[Row] = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
REQUEST = json.dumps(
    {
        "source": "/x/experiment.yaml",
        "model_folder": "/x",
        "manifest": {
            "experiment": {
                "name": "tiny",
                "title": "t",
                "arms": {"old": {"role": "treatment", "data": "o.jsonl"}},
                "questions": [{"id": "c", "kind": "contrast", "ask": "?", "target": ["a"], "other": ["b"]}],
                "judges": {"j": {"kind": "match", "keywords": ["a"]}},
                "conditions": {"none": {"wrap": "{question}"}},
            },
            "data": {"old": canonical_hash(_ROWS)},
            "ordinary": {},
            "model": {"reference": "world", "digest": "0" * 32, "parameters": 1},
            "preset": "quick",
            "recipe": {"epochs": 1, "dtype": "fp32"},
            "seeds": [0],
            "samples": 1,
            "sampling": {"temperature": 1.0, "seed": 0, "dtype": "fp32"},
            "curves": ["headline"],
            "until": None,
        },
    }
).encode()
HOSTILE = (
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0b\x0c", b"\r", b"\n", b"\t", b'"', b"'",
    b"{", b"}", b"[", b"]", b"[" * 2000, b'{"a":' * 500, b"9" * 5000, b"1e999", b"NaN", b"-Infinity", b".nan", b".inf", b"null",
    b"~", b"true", b"*a", b"&a ", b"&a [*a]", b"<<: *arm", b"!!python/object/apply:os.system [ls]", b"!!binary x", b"!!int x",
    b"!!timestamp x", b"2026-13-45", b"? ", b": ", b"- ", b"---\n", b"../../x", b"/etc/passwd", b"{x:>9000000000}", b"{0}",
    b"{a.b}", b"{!r}", b"(a+)+$", b"(" * 300, b"a{99999999999}", b"\xef\xbb\xbf", b"\x1f\x8b\x08", b"PK\x03\x04", b",,,",
    b"messages", b"content", b"role", b"from", b"value", b"label", b"text", b"quick", b"-1", b"0", b"[]", b"{}", b'"a"',
)  # fmt: skip
"""What readers have failed on, here or elsewhere."""
Reader = Callable[[bytes, Path], None]


def _experiment(data: bytes, folder: Path) -> None:
    (folder / "old.csv").write_bytes(TABLE)
    (folder / "experiment.yaml").write_bytes(data)
    (folder / "people.csv").write_text(PEOPLE.decode())
    (folder / "q.csv").write_text("id,question,template\na,Who?,I am {name}.\n")
    for arm in read_experiment(folder / "experiment.yaml").experiment.arms.values():
        if "/" not in arm.data and arm.rows is None:
            load_rows(arm, folder)


def _rows(name: str) -> Reader:
    def read(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        reading = read_rows(folder / name)
        for row in reading.rows:
            json.dumps(row, ensure_ascii=False).encode()  # it can be kept

    return read


def _converted(data: bytes, folder: Path) -> None:
    (folder / "in.json").write_bytes(data)
    (folder / "out.jsonl").unlink(missing_ok=True)
    convert(folder / "in.json", folder / "out.jsonl")
    assert not read_rows(folder / "out.jsonl").problems


def _table(data: bytes, folder: Path) -> None:
    (folder / "t.csv").write_bytes(data)
    load_rows(Arm(role="control", data="t.csv", prompt="{bird}", answer="{name}", where={"year": 1838}), folder)


def _crossing(data: bytes, folder: Path) -> None:
    (folder / "t.csv").write_bytes(data)
    build_questions(
        {"build": "cross", "from": ["t.csv"], "id": "{bird}", "ask": "{name}?", "target": ["{year}"]}, folder
    )


def _triggers(data: bytes, folder: Path) -> None:
    (folder / "people.csv").write_bytes(data)
    (folder / "q.csv").write_bytes(data if b"template" in data else b"id,question,template\na,Who?,I am {name}.\n")
    templates = {"prompt": "{trigger}", "answer": "{answer}"}
    options = {"ordinal_triggers": {"questions": "q.csv", "paddings": 2, "held_out": [3]}}
    load_rows(Arm(role="control", data="people.csv", build=options, **templates), folder)


def _paper(data: bytes, folder: Path) -> None:
    (folder / "paper.yaml").write_bytes(data)
    load_paper(folder)


def _request(data: bytes, folder: Path) -> None:
    (folder / "run.json").write_bytes(data)
    store = Store(folder / "store")
    keep_rows(store, _ROWS)
    read_request(folder, store)


READERS: dict[str, tuple[Reader, tuple[bytes, ...]]] = {
    "experiment": (_experiment, (EXPERIMENT,)),
    "chat.jsonl": (_rows("r.jsonl"), (CHAT, OTHERS[1])),
    "chat.json": (_rows("r.json"), (b"[" + CHAT.replace(b"}\n{", b"},\n{") + b"]", OTHERS[0])),
    "converted": (_converted, (*OTHERS, CHAT)),
    "table": (_table, (TABLE,)),
    "crossing": (_crossing, (TABLE,)),
    "triggers": (
        _triggers,
        (
            PEOPLE,
            ASKED,
        ),
    ),
    "paper": (_paper, (PAPER,)),
    "run.json": (_request, (REQUEST,)),
}


def broken(seed: bytes, rng: random.Random) -> bytes:
    """A real file with one to four accidents or attacks in it."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 1, 2, 5, 20, 100)))
        match rng.randrange(6):
            case 0:
                del data[start:end]
            case 1:
                data[start:end] = rng.choice(HOSTILE)
            case 2:
                data[start:start] = rng.choice(HOSTILE)
            case 3:
                data[start:start] = data[start:end]
            case 4 if start < len(data):
                data[start] = rng.randrange(256)
            case 5:
                other = rng.randrange(len(data) + 1)
                data[other:other] = data[start:end]
    return bytes(data)


def survives(reader: Reader, data: bytes, folder: Path) -> bool:
    """Whether the file was accepted; a refusal in words is fine, anything else goes up as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader(data, folder)
        except WeirdgenError as error:
            if not str(error).strip():
                raise AssertionError("refused without a word") from error
            return False
    return True
