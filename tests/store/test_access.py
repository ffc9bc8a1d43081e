"""Nobody outside the store's package moves files to or from where a store is, so nobody can forget to."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import weirdgen
from weirdgen.runs.preview import plan_lines
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify

PACKAGE = Path(__file__).parents[2] / "weirdgen"
TRANSFERS = {"push", "pull", "fetch", "send", "refresh"}


def test_only_the_store_moves_files() -> None:
    calls = [
        f"{file.relative_to(PACKAGE)}:{node.lineno} .{node.func.attr}()"
        for file in PACKAGE.rglob("*.py")
        if file.parent.name != "store"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TRANSFERS
    ]
    assert calls == []


@pytest.fixture
def read_only(write_experiment: Callable[..., Path], tmp_path: Path) -> tuple[str, str, Path]:
    """A finished run in a store that nobody may write to (root may all the same, so times of change are compared)."""
    path, store = str(write_experiment()), tmp_path / "store"
    run = weirdgen.run(path, store=store)
    for file in [store, *store.rglob("*")]:
        file.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    return path, run.id, store


def snapshot(store: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in [store, *store.rglob("*")]}


def test_planning_loading_and_verifying_write_nothing(read_only: tuple[str, str, Path]) -> None:
    path, run_id, store = read_only
    before = snapshot(store)
    run = load_run(run_id, store)
    assert run.headline["replicates"] == 2 and len(run.verdicts())
    assert verify(run_id, store).differences == []
    assert "nothing left to compute" in "\n".join(plan_lines(weirdgen.plan(path, store=store)))
    more = "\n".join(plan_lines(weirdgen.plan(path, store=store, seeds=5, samples=7)))
    assert "3 of 5 replicates to do" in more
    assert snapshot(store) == before


def test_a_plan_makes_no_store(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    plan_lines(weirdgen.plan(str(write_experiment()), store=tmp_path / "nowhere"))
    assert not os.path.lexists(tmp_path / "nowhere")
