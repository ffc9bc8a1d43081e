"""No import of the package runs back up: the order of its parts is written down once, here.

A module may import modules of its own part and of those before it. Inside a part, imports form no circle. Imports in functions
and those for type checkers count as well: what a reader has to follow is the same.
"""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "weirdgen"
ORDER = (
    "errors", "columns", "display", "parsing", "store", "machine", "progress", "config",
    "providers", "models", "data", "finetune", "sample", "judges", "stats", "report",
    "runs.plan", "runs.work", "runs.stages", "runs.references", "runs.preflight", "runs.preview", "runs.check", "runs.results",
    "runs.pipeline", "runs.imported", "runs.rejudge",
    "inspect", "audit", "world", "features", "serve", "cli", "",
)  # fmt: skip
"""Parts of the package, each after all that it may import; a longer name goes before a shorter one. "" is `weirdgen` itself."""


def _module(file: Path) -> str:
    name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix("__init__").removesuffix(".")


MODULES = {_module(file): file for file in PACKAGE.rglob("*.py")}


def _imported(name: str) -> set[str]:
    """Modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {one for one in inner if one.removeprefix("weirdgen.") in MODULES}
            found |= modules or {node.module}
    inside = {one.removeprefix("weirdgen").removeprefix(".") for one in found if one.split(".")[0] == "weirdgen"}
    return inside - {name}


def _part(name: str) -> int:
    fits = [index for index, part in enumerate(ORDER) if part and (name == part or name.startswith(f"{part}."))]
    return max(fits, key=lambda index: len(ORDER[index]), default=len(ORDER) - 1)


IMPORTS = {name: _imported(name) for name in sorted(MODULES)}


@pytest.mark.parametrize("name", IMPORTS)
def test_no_import_runs_back_up(name: str) -> None:
    above = [f"{name} imports {other}" for other in sorted(IMPORTS[name]) if other and _part(other) > _part(name)]
    assert not above


def test_no_imports_form_a_circle() -> None:
    # The package itself holds the version, which its parts may read.
    graph = {name: {other for other in others if other} for name, others in IMPORTS.items() if name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_a_module_that_another_one_names_exists() -> None:
    """In the texts at the head of modules: `sample.fast.stream`, `config.judges.base.Tools` …"""
    parts = {name.split(".")[0] for name in MODULES if name}
    missing = []
    for name, file in MODULES.items():
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        for named in re.findall(r"`(?:weirdgen\.)?([a-z_0-9]+(?:\.[A-Za-z_0-9]+)+)`", text):
            words, beside = named.split("."), name.rpartition(".")[0]
            heads = [".".join(words[:count]) for count in range(len(words), 0, -1)]
            known = next((one for head in heads for one in (head, f"{beside}.{head}") if one in MODULES), None)
            there = known is not None and re.search(rf"\b{words[-1]}\b", f"{known} {MODULES[known].read_text('utf-8')}")
            if words[0] in parts and words[-1] not in ("html", "json") and not there:
                missing.append(f"{name} names {named}")
    assert missing == []


def test_every_part_exists() -> None:
    assert [part for part in ORDER if part and part not in MODULES] == []
