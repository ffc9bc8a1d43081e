"""A kind of judge or question is one module and one line: no other module asks which kind it has before it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from weirdgen.config.base import Noun
from weirdgen.config.judges import JUDGE_KINDS
from weirdgen.config.questions import QUESTION_KINDS, ScoredQuestion, scored_kinds

PACKAGE = Path(__file__).parents[2] / "weirdgen"
KINDS: dict[str, type[Noun]] = {**JUDGE_KINDS, **QUESTION_KINDS}
CLASSES = {noun.__name__ for noun in KINDS.values()}
BUILDERS = ("world", "config", "audit", "features")
"""Parts that make or read questions of one kind, and so name it: the traits of `config/traits.py` and the side houses."""


def asks_for_a_kind(tree: ast.AST) -> list[str]:
    """Tests of an object's kind in a module: `isinstance` with a kind's class, and comparisons of `.kind` with a text."""
    places = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            named = {inner.id for inner in ast.walk(node.args[1]) if isinstance(inner, ast.Name)}
            places += [f"line {node.lineno}: {node.func.id}(…, {name})" for name in sorted(named & CLASSES)]
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "kind":
            texts = {
                leaf.value for side in node.comparators for leaf in ast.walk(side) if isinstance(leaf, ast.Constant)
            }
            places += [f"line {node.lineno}: kind is {kind!r}" for kind in KINDS if kind in texts]
    return places


def test_such_questions_are_recognised() -> None:
    code = "isinstance(x, Match | Other)\nif q.kind == 'choice' or q.kind in ('label', 'a'): pass\nisinstance(x, OfflineJudge)"
    assert asks_for_a_kind(ast.parse(code)) == [
        "line 1: isinstance(…, Match)", "line 2: kind is 'choice'", "line 2: kind is 'label'",
    ]  # fmt: skip


def test_no_module_asks_which_kind_it_has() -> None:
    modules = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] not in BUILDERS]
    trees = {str(file.relative_to(PACKAGE)): ast.parse(file.read_text(encoding="utf-8")) for file in modules}
    assert {file: places for file, tree in trees.items() if (places := asks_for_a_kind(tree))} == {}


def test_a_kind_s_class_is_named_in_its_module_and_in_the_dict_alone() -> None:
    """What makes a new kind one module and one line: an import elsewhere would be a third place."""
    importers: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                for name in {alias.name for alias in node.names} & CLASSES:
                    if (node.module or "").startswith(("weirdgen.config.judges", "weirdgen.config.questions")):
                        importers.setdefault(name, set()).add(file.relative_to(PACKAGE).parent.as_posix())
    places = {place for places in importers.values() for place in places}
    assert {place for place in places if place.split("/")[0] not in BUILDERS[2:]} <= {
        "config/judges", "config/questions", *BUILDERS
    }  # fmt: skip
    assert set(importers) == CLASSES


@pytest.mark.parametrize("kind", KINDS)
def test_the_dict_and_the_class_agree_on_the_name(kind: str) -> None:
    assert get_args(KINDS[kind].model_fields["kind"].annotation) == (kind,)


def test_scored_kinds_are_measures_in_the_order_of_the_dict() -> None:
    assert list(scored_kinds()) == ["contrast", "counterfactual", "choice"]
    assert {kind: noun.value for kind, noun in scored_kinds().items() if issubclass(noun, ScoredQuestion)} == {
        "contrast": "logit", "counterfactual": "logit", "choice": "wins",
    }  # fmt: skip


def test_the_kinds_load_nothing_heavy() -> None:
    code = "import sys, weirdgen.config.judges, weirdgen.config.questions; "
    code += "print([m for m in ('torch', 'numpy', 'pandas', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
