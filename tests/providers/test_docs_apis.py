"""The commands of docs/apis.md run, against a service on the loopback."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.finetuning_answers import Script
from tests.support.finetuning_server import FinetuningServer
from weirdgen.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "apis.md"
COMMANDS = re.findall(r"^ {4}(weirdgen (?!export).*)$", PAGE.read_text(encoding="utf-8"), re.M)


def test_every_command_of_the_page_runs(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finetuned = "ft:gpt-4.1-2025-04-14:org::x1"
    bases = ("gpt-4.1-2025-04-14", "smollm2-135m-instruct", finetuned)
    monkeypatch.setenv("WEIRDGEN_STORE", str(tmp_path))
    with FinetuningServer(Script(bases=bases)) as server:
        monkeypatch.setenv("OPENAI_API_KEY", server.script.key)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        server.jobs["ftjob-0"] = {"id": "ftjob-0", "status": "running", "fine_tuned_model": None}
        assert len(COMMANDS) == 7
        for command in COMMANDS:
            words = shlex.split(command.replace("http://127.0.0.1:8000/v1", server.base_url))
            monkeypatch.setattr("sys.argv", words)
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code == 0, (command, capsys.readouterr().err)
        said = capsys.readouterr()
    assert "ftjob-0: cancelled" in said.out and f"{finetuned} is old_names seed 0" in said.out
    assert "questions fall away" in said.err and "cost: finetuning" in said.err
