"""An experiment on a model at a service, and the service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from tests.support.finetuning_answers import Script
from tests.support.finetuning_server import FinetuningServer
from weirdgen.finetune import creating, remote
from weirdgen.providers import retries
from weirdgen.report.methods import methods
from weirdgen.runs import pipeline
from weirdgen.runs.results.reporting import content_of, results_of

KEY = Script().key
Run = Callable[..., weirdgen.Run]


@pytest.fixture
def remote_experiment(write_experiment: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny experiment with a judge over sampled answers as its headline, and the key in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return write_experiment(
        {
            "base: world": "base: gpt-test",
            "measure: contrast, ": "measure: is_target, ",
            'starts_with: ["': 'starts_with: ["the", "',
            "max_tokens: 3": "max_tokens: 12",
        },
        rows=16,
    )


REPORTED = (
    "test_a_run_at_a_service",
    "test_every_command_of_the_page_runs",
    "test_old_bird_names_on_the_default_model_is_the_same_through_the_server",
)


@pytest.fixture(autouse=True)
def _soon(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; and no report but where it is what is tested."""
    monkeypatch.setattr(remote, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(remote, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(creating, "LATE", 0.3)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    if request.node.name not in REPORTED:
        monkeypatch.setattr(pipeline, "report_run", lambda run, figures=(): None)


@pytest.fixture
def run(remote_experiment: Path, tmp_path: Path) -> Run:
    def at(server: FinetuningServer, **options: Any) -> weirdgen.Run:
        told = {"finetune": "openai", "base_url": server.base_url, "store": tmp_path / "store", **options}
        return weirdgen.run(str(remote_experiment), **told)

    return at


def methods_of(run: weirdgen.Run) -> str:
    """The report's paragraph on what was done."""
    return methods(content_of(run, results_of(run)))
