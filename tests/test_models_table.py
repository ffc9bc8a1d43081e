"""The table in docs/models.md: every model that it lists agrees with plain libraries, or is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models_table import PAGE, measure
from tests.support.architectures import ARCHITECTURES, build


def test_the_table_lists_every_model() -> None:
    lines = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if line in ARCHITECTURES] == list(ARCHITECTURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_agrees_or_is_refused(name: str, tmp_path: Path) -> None:
    line = measure(name, build(name, tmp_path / "model"), tmp_path / "work")
    assert line.right, line
    page = PAGE.read_text(encoding="utf-8")
    assert f"| {name} | {'refused' if line.refusal else line.engine.split(' (')[0]}" in page
