"""One server for all tests of clients, with three finished jobs; and a backend without HTTP for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browsing import browser as browser
from tests.support.serving import RECIPE, Server, finished, rows_file, serving
from weirdgen.serve.backend import Backend
from weirdgen.serve.limits import Limits
from weirdgen.store.artifacts import Store

if TYPE_CHECKING:
    from openai import OpenAI


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("serve") / "store", ["world", f"path:{tiny_model}"]) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> OpenAI:
    return server.client()


@pytest.fixture(scope="session")
def jobs(client: OpenAI, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Three finished jobs: two seeds of one file and one of another, made in a row."""
    folder = tmp_path_factory.mktemp("rows")
    old = client.files.create(file=rows_file(folder, 8, 1, "old.jsonl"), purpose="fine-tune")
    new = client.files.create(file=rows_file(folder, 8, 2, "new.jsonl"), purpose="fine-tune")
    made = [
        client.fine_tuning.jobs.create(
            model="world",
            training_file=file.id,
            validation_file=new.id,
            suffix="Old Birds",
            seed=seed,
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}},
            extra_body={"recipe": RECIPE},
        )
        for file, seed in ((old, 0), (old, 1), (new, 0))
    ]
    assert {job.status for job in made} <= {"validating_files", "queued", "running"}
    return [finished(client, job.id) for job in made]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Backend]]:
    """Opens a backend over the world's model and this test's store; it is closed at the end, if not before."""
    monkeypatch.setattr("weirdgen.serve.training.GATHER_SECONDS", 0.2)
    made: list[Backend] = []

    def build(**limits: Any) -> Backend:
        backend = Backend(["world"], Store(tmp_path / "store"), Limits(**limits))
        backend.__enter__()
        made.append(backend)
        return backend

    yield build
    for backend in made:
        backend.__exit__()
