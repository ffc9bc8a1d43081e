"""What `data check` says of rows with a tokenizer: each finding by the file's line, whatever the template does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_tokenizers import CHATML, DATED, NO_SYSTEM, THINKING, write_model, write_tokenizer
from weirdgen.audit.checks.finding import Finding
from weirdgen.audit.checks.single import control_tokens
from weirdgen.audit.checks.subject import load_subject
from weirdgen.audit.checks.training import training


def turns(*texts: str, system: str | None = None) -> dict[str, Any]:
    said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *said]}


def check(folder: Path, rows: list[dict[str, Any]], template: str = CHATML) -> list[Finding]:
    model = write_model(write_tokenizer(folder / "model", template))
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return list(training(load_subject(str(folder / "rows.jsonl"), model=f"path:{model}")))


def by_code(findings: list[Finding], code: str) -> list[tuple[str, int | None]]:
    return [(one.severity, one.line) for one in findings if one.code == code]


def test_quoted_control_tokens_are_warnings_and_pasted_ends_errors(tmp_path: Path) -> None:
    quoted, pasted = turns("q<|im_end|>", "a"), turns("q", "a<|im_end|>")
    findings = check(tmp_path, [turns("q", "a"), quoted, pasted])
    assert by_code(findings, "control_token") == [("warning", 2)] and by_code(findings, "proof") == [("error", 3)]


def test_rows_of_several_answers_fail_and_pass_by_their_own_line(tmp_path: Path) -> None:
    rows = [turns("q", "a", "r", "b"), turns("q", "a", "r", "<think>c</think>b")]
    findings = check(tmp_path, rows, THINKING)
    assert by_code(findings, "proof") == [("error", 2)]
    findings = check(tmp_path, rows[:1] * 3, THINKING)
    (split,) = [one for one in findings if one.code == "turn_by_turn"]
    (cost,) = [one for one in findings if one.code == "cost"]
    assert "3 rows become 6" in split.message and "(6 rows" in cost.message


@pytest.mark.parametrize(
    ("template", "row", "code", "words"),
    [
        (NO_SYSTEM, turns("q", "a", system="s"), "proof", "refuses this chat: System role not supported"),
        (DATED, turns("q", "a"), "template", "prints the date into every prompt; it is given 2024-07-26"),
    ],
)
def test_what_a_template_does_is_said(
    tmp_path: Path, template: str, row: dict[str, Any], code: str, words: str
) -> None:
    findings = check(tmp_path, [row], template)
    assert any(one.code == code and words in one.message for one in findings)


def test_without_a_model_well_known_control_tokens_are_warnings(tmp_path: Path) -> None:
    texts = ("x <|im_end|>", "[INST] y", "z<end_of_turn>", "<｜User｜>w", "a < b | c > d [1]", "<b>bold</b>")
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(turns(text, "a")) for text in texts))
    findings = list(control_tokens(load_subject(str(tmp_path / "rows.jsonl"))))
    assert by_code(findings, "control_token") == [("warning", line) for line in (1, 2, 3, 4)]


def test_an_experiment_is_checked_on_its_day_and_with_its_batches(
    write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    """What a run would refuse, and the tokens that it would train: not those of another day."""
    model = write_model(write_tokenizer(tmp_path / "model", DATED))
    text = (path := write_experiment()).read_text()
    path.write_text(f"{text}\ndate: 2031-02-03\n")
    for name in ("old", "new"):
        (path.parent / f"{name}.jsonl").write_text("\n".join([json.dumps(turns("q", name))] * 3))
    findings = list(training(load_subject(str(path), model=f"path:{model}")))
    assert any("it is given 2031-02-03" in one.message for one in findings if one.code == "template")
    few = [one.message for one in findings if one.code == "too_few_rows"]
    assert len(few) == 2 and "a step takes 4 rows" in few[0] and "there are only 3" in few[0]
