"""An experiment whose answers are judged, and a server that judges them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import JUDGES, judge
from tests.support.openai_server import Answer, Failure, OpenAIServer


@pytest.fixture
def judged(write_experiment: Callable[..., Path]) -> Path:
    path = write_experiment()
    (path.parent / "judges_llm.yaml").write_text(JUDGES)
    return path


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OpenAIServer]]:
    pytest.importorskip("inspect_ai", reason="pip install 'weirdgen[api]'")
    servers: list[OpenAIServer] = []

    def start(script: Callable[[dict[str, Any]], Answer | Failure] = judge) -> OpenAIServer:
        servers.append(OpenAIServer(script).__enter__())
        monkeypatch.setenv("MOCK_BASE_URL", servers[-1].base_url)
        monkeypatch.setenv("MOCK_API_KEY", servers[-1].key)
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)
