"""A small run on the world's model and a server that judges it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from tests.support.asking import JUDGES, judge
from tests.support.openai_server import Answer, Failure, OpenAIServer

Write = Callable[..., Path]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OpenAIServer]]:
    servers: list[OpenAIServer] = []

    def start(script: Callable[[dict[str, Any]], Answer | Failure] = judge) -> OpenAIServer:
        server = OpenAIServer(script).__enter__()
        servers.append(server)
        monkeypatch.setenv("MOCK_BASE_URL", server.base_url)
        monkeypatch.setenv("MOCK_API_KEY", server.key)
        return server

    yield start
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def experiment(write_experiment: Write) -> Path:
    path = write_experiment()
    (path.parent / "judges_llm.yaml").write_text(JUDGES)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test puts a finished run without a judging model, for the others to copy."""
    return tmp_path_factory.mktemp("built") / "store"


@pytest.fixture
def store(experiment: Path, built: Path, tmp_path: Path) -> Path:
    if not built.exists():
        weirdgen.run(str(experiment), store=built)
    shutil.copytree(built, tmp_path / "store")
    return tmp_path / "store"
