"""Tests of whole datasets hold their level and find shifts; a judge model rates rows through a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.openai_server import Answer, OpenAIServer
from weirdgen.audit.filters.judge import RowJudge
from weirdgen.audit.filters.rows import Keyed
from weirdgen.audit.filters.sets import TESTS
from weirdgen.progress import Progress
from weirdgen.store.artifacts import Store


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TESTS))
def test_a_test_of_sets_speaks_up_as_often_as_it_says(name: str) -> None:
    rng = np.random.default_rng(0)
    null = [TESTS[name](rng.normal(size=(60, 6)), rng.normal(size=(60, 6)), seed) for seed in range(120)]
    assert 0.01 <= np.mean(np.array(null) <= 0.05) <= 0.11
    moved = [TESTS[name](rng.normal(0.5, 1, size=(60, 6)), rng.normal(size=(60, 6)), seed) for seed in range(10)]
    assert np.median(moved) <= 0.01


@pytest.mark.slow
def test_ratings_come_from_the_judge_and_are_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")

    def script(body: dict[str, Any]) -> Answer:
        text = body["messages"][0]["content"]
        return Answer("I cannot say" if "unsure" in text else "90" if "odd" in text else "5")

    def row(answer: str) -> Keyed:
        turns = [("system", "Be brief."), ("user", "q"), ("assistant", answer)]
        return Keyed({"messages": [{"role": role, "content": content} for role, content in turns]})

    rows = [row("an odd answer"), row("plain"), row("unsure"), row("plain")]
    with OpenAIServer(script) as server:
        monkeypatch.setenv("MOCK_BASE_URL", server.base_url)
        monkeypatch.setenv("MOCK_API_KEY", "sk-test")
        judge = RowJudge("openai-api/mock/judge-1", Store(tmp_path), Progress(quiet=True))
        assert judge.of(rows).tolist() == [90, 5, 0, 5]
        asked = len(server.requests)
        assert judge.of(rows[:2]).tolist() == [90, 5] and len(server.requests) == asked == 3
    assert "Be brief." in server.requests[0]["messages"][0]["content"]
