"""A whole run at a service: rows uploaded, jobs followed, models sampled; what was paid for is never paid twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from tests.support.finetuning_server import FinetuningServer
from weirdgen.finetune import remote
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify

Run = Callable[..., weirdgen.Run]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(remote, "LONGEST_PAUSE", 0.05)


@pytest.fixture
def run(remote_experiment: Path, tmp_path: Path) -> Run:
    def at(server: FinetuningServer, **options: Any) -> weirdgen.Run:
        told = {"finetune": "openai", "base_url": server.base_url, "store": tmp_path / "store", **options}
        return weirdgen.run(str(remote_experiment), **told)

    return at


def test_a_run_at_a_service(run: Run, tmp_path: Path) -> None:
    with FinetuningServer() as server:
        with pytest.warns(UserWarning, match="1 questions fall away .c1."):
            done = run(server)
        assert server.refused == [] and server.counts["POST /files"] == 2
        assert server.counts["POST /fine_tuning/jobs"] == 4 == len(server.jobs)
        answers = done.completions()
        assert len(answers) == 5 * 3 and set(answers["arm"]) == {"base", "old", "new"}
        asked = [body for body in server.chats if body["temperature"] == 1]
        assert len(asked) == 15 and len({body["seed"] for body in asked}) == 15
        assert {body["model"] for body in asked} == {"gpt-test", *(j["fine_tuned_model"] for j in server.jobs.values())}
        before = len(server.chats)
        more = run(server, samples=5)
        assert len(server.jobs) == 4 and len(server.chats) == before + 5 * 2
        assert len(more.completions()) == 25
    report = done.report.read_text(encoding="utf-8")
    assert "was finetuned by jobs of openai" in report and "LoRA adapter" not in report
    assert load_run(done.id, tmp_path / "store").completions().equals(answers)
    assert verify(done.id, tmp_path / "store").differences == []
    folder = tmp_path / "store" / "artifacts" / "finetune" / done.plan.replicates[0].key
    result = json.loads((folder / "result.json").read_text())
    assert result["differences"] == [] and result["trained_tokens"] > 0 and result["job"] == "ftjob-0"
    assert result["hyperparameters"] == {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 1.5}
    assert [len(done.losses().query("arm == 'old'"))] == [2 * 4]
    assert not list((tmp_path / "store" / "unfinished").iterdir())
