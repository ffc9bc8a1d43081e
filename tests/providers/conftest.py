"""An experiment on a model at a service, and the service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.finetuning_server import Script

KEY = Script().key


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
