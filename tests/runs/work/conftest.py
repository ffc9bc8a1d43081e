"""A finished run of the judged experiment, for tests to copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import weirdgen


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test puts a finished run without a judging model, for the others to copy."""
    return tmp_path_factory.mktemp("built") / "store"


@pytest.fixture
def store(judged: Path, built: Path, tmp_path: Path) -> Path:
    if not built.exists():
        weirdgen.run(str(judged), store=built)
    shutil.copytree(built, tmp_path / "store")
    return tmp_path / "store"
