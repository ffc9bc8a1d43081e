"""A measure is one row of one table: its row says all that others need, and no other module has a list of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import weirdgen
from weirdgen.config.measures import CHOICE, CONTRAST, MEASURES, NAT, RATE, SCORED, Measure, Scale, measure_of, scale_of
from weirdgen.config.questions import Choice, Contrast, FreeForm, scored_kinds

PACKAGE = Path(weirdgen.__file__).parent
ROWS, KINDS = Path("config/measures.py"), Path("config/questions")


def named_measures(source: str) -> list[tuple[int, str]]:
    """Line and name of each literal that is a measure's name and not that of a question's kind or, `contrast`, of a stage."""
    tree = ast.parse(source)
    kinds: set[ast.expr] = set()
    lone: set[ast.expr] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "kind":
            kinds.add(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "kind":
                    kinds.add(value)
    for node in ast.walk(tree):
        # The stage of this name: an argument, or one entry of a tuple; never beside another measure, never compared with one.
        if isinstance(node, ast.Call | ast.Tuple | ast.Dict | ast.Set | ast.List):
            inner = [
                child
                for child in ast.iter_child_nodes(node)
                if isinstance(child, ast.Constant) and child.value in MEASURES
            ]
            lone |= {literal for literal in inner if len(inner) == 1 and literal.value == CONTRAST.name}
        elif isinstance(node, ast.Compare) and "measure" not in ast.unparse(node):
            lone |= {node.left, *node.comparators}
    return [
        (node.lineno, str(node.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in MEASURES and node not in kinds
        and not (node in lone and node.value == CONTRAST.name)
    ]  # fmt: skip


def test_no_other_module_names_measures() -> None:
    literals = {
        str(file.relative_to(PACKAGE)): names
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE) != ROWS
        and KINDS not in file.relative_to(PACKAGE).parents
        and (names := named_measures(file.read_text(encoding="utf-8")))
    }
    assert literals == {}


@pytest.mark.parametrize(
    "line",
    [
        'if measure in ("contrast", "choice"): pass',
        'SCORED = {"contrast", "counterfactual"}',
        'NAMES = ("coherent", "template_intrusion")',
        'words = {"contrast": 1, "choice": 2}',
        'if measure == "contrast": pass',
        'measure = "choice"',
        'rows["template_intrusion"]',
    ],
)
def test_a_list_of_measures_elsewhere_would_be_found(line: str) -> None:
    assert named_measures(line)


def test_kinds_of_question_and_the_stage_may_be_named() -> None:
    assert named_measures('Choice(kind="choice"); open_table(store, "contrast"); {"kind": "counterfactual"}') == []


@pytest.mark.parametrize("row", MEASURES.values(), ids=str)
def test_every_row_has_its_words(row: Measure) -> None:
    assert MEASURES[row.name] is row and row.higher and row.value and row.axis and row.explained.endswith(".")
    assert (row.source == "scored") == (row.name in SCORED) == (row.name in scored_kinds())
    assert row.scale.unit != "nat" or "nats" in row.axis


def test_a_judge_makes_a_measure_of_its_name() -> None:
    scales = {"style": Scale("rating", (1.0, 7.0))}
    rate, rating = measure_of("past_era", scales), measure_of("style", scales)
    assert (rate.scale, rating.scale.bounds, rate.source) == (RATE, (1.0, 7.0), "judge")
    assert "past_era" in rate.axis and "from 1 to 7" in rating.explained
    assert measure_of(CHOICE.name, scales) is CHOICE and scale_of(CONTRAST.name) == NAT
    assert [scale.smallest for scale in (NAT, RATE, rating.scale)] == pytest.approx([0.3, 0.1, 0.6])


def test_which_questions_carry_a_measure() -> None:
    contrast = Contrast(id="a", kind="contrast", ask="?", target=("x",), other=("y",))
    choice = Choice(id="b", kind="choice", ask="?", target=("x",), other=("y",))
    free = FreeForm(id="c", kind="free_form", ask="?", judges=("past_era",))
    carried = {
        name: [question.id for question in (contrast, choice, free) if measure_of(name).carried_by(question)]
        for name in (*MEASURES, "past_era", "other_judge")
    }
    assert carried == {
        "contrast": ["a"], "counterfactual": [], "choice": ["b"], "coherent": ["c"], "template_intrusion": ["c"],
        "past_era": ["c"], "other_judge": [],
    }  # fmt: skip
