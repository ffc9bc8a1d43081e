"""Texts of somebody else: YAML within a budget, nothing that steers a terminal, no cell that a spreadsheet runs.

Files of rows and templates have tests of their own (`tests/data/test_files.py`, `tests/fuzz`), patterns too
(`tests/test_pattern_attacks.py`).
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weirdgen.cli.main import app
from weirdgen.config.files import parse_yaml
from weirdgen.display import printable
from weirdgen.errors import SpecError
from weirdgen.judges.labelling import Drawn, export_sheet, inert, labels_of

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "f:7: its aliases expand to more than is read"),
        ("a: &a [*a]", "holds itself"),
        ("a: &a {b: *a}", "holds itself"),
        ("[" * 50_000, "f:1: nested more than 60 deep"),
        ("a: 1\nb: " + "{c: " * 3000, "f:2: nested more than 60 deep"),
        ("a: 1\nb: 2026-13-45", "f:2: this value cannot be read .*month"),
        ("a: " + "9" * 10_000, "f:1: a: a number of 10,000 characters"),
        ("a: [1, 0x" + "f" * 10_000 + "]", "f:1: a: a number of 10,002 characters"),
        ('a: "\\ud800"', "f:1: a lone surrogate"),
        ('a: "\\U00110000"', "f:1: "),
        ("a: .nan", "f:1: a: .nan is not a usable number"),
        ("a: !!python/object/apply:os.system [ls]", "f:1: malformed YAML"),
        ("1: x", "f:1: key 1 is not read as text"),
        ("? [a]\n: b", "f:1: key this is not read as text"),
    ],
)
def test_yaml_has_a_budget(text: str, said: str) -> None:
    started = time.process_time()
    with pytest.raises(SpecError, match=said):
        parse_yaml(text, "f")
    assert time.process_time() - started < 2


def test_yaml_keeps_its_merges_and_aliases() -> None:
    data, line_of = parse_yaml("a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: [*x]\n", "f")
    assert data == {"a": {"b": 1}, "c": {"b": 2}, "d": [{"b": 1}]} and line_of["c", "b"] == 2


def test_a_terminal_is_not_steered(write_experiment: Callable[..., Path]) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    assert printable(f"a{evil}\nb\n👩\u200d🔬") == "a�]0;owned��31m�\nb\n👩\u200d🔬"
    path = write_experiment({"a tiny experiment": '"\\e]0;owned\\a\\x9b31m"'})
    shown = CliRunner().invoke(app, ["show", str(path)]).output
    assert "owned" in shown and not {"\x1b", "\x07", "\x9b"} & set(shown)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=x", "\r=x", "\n=x", " =x", "＝x", "|x", "%x"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert inert(text) == "'" + text and inert("a=b") == "a=b" and inert("") == ""


def test_labels_and_sheets_hold_no_formula_and_read_back(tmp_path: Path) -> None:
    from weirdgen.judges import labelling

    drawn = [Drawn("0001", "a", 0, "none", "q", 0, "=ask()", "\r=cmd|' /C calc'!A0", "1 · a", 1.0)]
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "j.sample.json").write_text(json.dumps([vars(answer) for answer in drawn]))
    labelling._keep(tmp_path, "j", {"0001": "=yes"})
    export_sheet(tmp_path / "sheet.csv", drawn, {"0001": "=yes"})
    for file in (tmp_path / "labels" / "j.csv", tmp_path / "sheet.csv"):
        with file.open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        assert all(row[key].startswith("'") for key in ("question", "answer", "label"))
    assert labels_of(tmp_path, "j") == {"0001": "=yes"}
