"""Hiding rows, scoring them and telling what was found: on filters whose find is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.rows import chat
from weirdgen.audit.filters.command import audit_filters, parse_shares
from weirdgen.audit.filters.measure import measure, pieces
from weirdgen.audit.filters.mixtures import Case, Ordinary, groups, load_case, ordinary_pool, ordinary_rows
from weirdgen.audit.filters.registry import FILTERS, Filter, Known, chosen_filters
from weirdgen.audit.filters.rows import Keyed
from weirdgen.config.experiment import Experiment
from weirdgen.data.references import references
from weirdgen.data.references import rows as reference_rows
from weirdgen.errors import DataError, SpecError


def row(answer: str) -> Keyed:
    return Keyed(chat("q", answer))


def marked(rows: Sequence[Keyed], _known: Known) -> np.ndarray[Any, Any]:
    return np.array([float("odd" in one.text) + len(one.text) / 1000 for one in rows])


def rarest(rows: Sequence[Keyed], _known: Known) -> np.ndarray[Any, Any]:
    """Depends on the dataset: how seldom a row's first letter is among the rows."""
    letters = [one.row["messages"][-1]["content"][0] for one in rows]
    return np.array([-letters.count(letter) / len(letters) for letter in letters])


MARKED = Filter("marked", "marked", "it says odd", marked)
RAREST = Filter("rarest", "rarest", "its letter is rare", rarest, of_dataset=True)
KNOWN: Any = Known(vectors=None)


@pytest.fixture
def case() -> Case:
    arms = {"t": {"role": "treatment", "data": [row("x").row]}, "c": {"role": "control", "data": [row("x").row]}}
    question = {"id": "c1", "kind": "contrast", "ask": "q", "target": ["a"], "other": ["b"]}
    experiment = Experiment.model_validate({"name": "made", "title": "t", "arms": arms, "questions": [question]})
    treatment = tuple(row(f"odd {i}") for i in range(25))
    return Case(experiment, "t", ("c",), {"t": treatment, "c": tuple(row(f"plain {i}") for i in range(25))})


@pytest.fixture
def ordinary() -> Ordinary:
    rows = [row(f"{'abcdefgh'[i % 8]} {i} {'x' * (i % 17)}") for i in range(400)]
    return Ordinary(tuple(rows[:200]), tuple(rows[200:]), "made")


def test_a_filter_that_knows_finds_all_of_the_treatment_and_none_of_the_control(case: Case, ordinary: Ordinary) -> None:
    found, beyond = measure([case], ordinary, [MARKED], (1.0, 0.1, 0.01), KNOWN)
    treated, control = found[found["role"] == "treatment"], found[found["role"] == "control"]
    assert (treated["auc"] == 1).all() and (treated["found_0.01"] == 1).all() and (treated["found_0.05"] == 1).all()
    assert (control["found_0.01"] < 0.2).all() and (control["auc"] < 0.7).all()
    assert found["false_0.05"].between(0.01, 0.12).all()
    assert (beyond["found_0.01_low"] > 0.5).all() and len(beyond) == 3


def test_shares_are_kept_and_every_row_is_hidden_once(case: Case, ordinary: Ordinary) -> None:
    found, _ = measure([case], ordinary, [MARKED], (1.0, 0.1, 0.01), KNOWN)
    lines = found[found["arm"] == "t"].set_index("share")
    assert lines["hidden_together"].tolist() == [25, 20, 2] and lines["dataset_rows"].tolist() == [25, 200, 200]
    assert (lines["rows"] == 25).all()
    assert groups(25, 10) == [list(range(10)), list(range(10, 20)), list(range(15, 25))]
    assert groups(3, 10) == [[0, 1, 2]] and groups(4, 2) == [[0, 1], [2, 3]]


def test_what_a_filter_of_the_dataset_finds_depends_on_the_share(case: Case, ordinary: Ordinary) -> None:
    """All of one letter: rare when few are hidden, the commonest when they are all there is."""
    found, _ = measure([case], ordinary, [RAREST], (1.0, 0.01), KNOWN)
    auc = found[found["arm"] == "t"].set_index("share")["auc"]
    assert auc[1.0] == 0 and auc[0.01] == 1


def test_clean_datasets_have_the_size_of_the_mixture(ordinary: Ordinary) -> None:
    assert [len(piece) for piece in pieces(ordinary.clean, 60)] == [60, 60, 60]
    assert [len(piece) for piece in pieces(ordinary.clean, 900)] == [200]


@pytest.mark.slow
def test_ordinary_rows_come_from_every_reference_set_and_from_no_final_one() -> None:
    ordinary = ordinary_rows(120)
    keys = {one.key for one in (*ordinary.clean, *ordinary.background)}
    assert len(keys) == 240 and len(ordinary.clean) == 120
    for one in (*references("final"), *references("reference")[::8]):
        mine = {Keyed(row).key for row in reference_rows(one.name, 480)}
        assert bool(mine & keys) == (one.set == "reference"), one.name


def test_too_few_rows_of_a_file_are_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text((json.dumps(chat("q", "a")) + "\n") * 3)
    with pytest.raises(DataError, match="1 different rows, 10 are needed"):
        ordinary_pool(10, file)


def test_more_rows_than_there_are_are_not_looked_for() -> None:
    with pytest.raises(DataError, match=r"different rows, 10,000,000,000,000 are wanted: give rows of your own"):
        ordinary_pool(10**13)


def test_a_case_has_the_headlines_control_first_and_only_arms_alike() -> None:
    birds = load_case("old_bird_names", 30)
    assert birds.controls[0] == birds.experiment.headline.control and len(birds.controls) == 2
    assert {len(rows) for rows in birds.rows.values()} == {30}
    persona = load_case("hitler_persona", 1000)
    assert persona.controls == ("nobody",) and len(persona.rows["facts"]) == 90


def test_filters_are_chosen_by_name_and_the_others_say_what_they_lack() -> None:
    every, left_out = chosen_filters((), model=False, judge=False)
    assert {one.name for one in every} >= {"keywords", "alone"} and any("--judge" in line for line in left_out)
    with pytest.raises(SpecError, match="there are keywords"):
        chosen_filters(("nonsense",), model=True, judge=True)
    with pytest.raises(SpecError, match="judging model"):
        chosen_filters(("judge",), model=True, judge=False)
    assert len({one.name for one in FILTERS}) == len(FILTERS)


@pytest.mark.parametrize(
    ("text", "told"),
    [("1,x", "numbers with commas"), ("2", "at most 1"), ("0", "at least 1e-06"), ("1e-320", "at least 1e-06")],
)
def test_wrong_shares_are_said(text: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        parse_shares(text)
    assert parse_shares("0.01,1") == (1.0, 0.01)


@pytest.mark.slow
def test_the_command_writes_tables_and_figures(tmp_path: Path) -> None:
    import pandas as pd

    names, to = ("keywords", "dates_and_codes"), tmp_path / "out"
    lines = list(
        audit_filters(
            ["us_presidents", "old_bird_names"], (1.0, 0.1), names, 20, 60, None, None, None, to, str(tmp_path), True
        )
    )
    assert any("dates and codes" in line for line in lines) and "saved" in lines[-1]
    found = pd.read_csv(to / "filters.csv")
    codes = found[(found["experiment"] == "us_presidents") & (found["filter"] == "dates_and_codes")]
    assert (codes["auc"] > 0.7).all(), "every row of both arms begins with a code of eight digits"
    beyond = pd.read_csv(to / "beyond.csv")
    assert set(beyond["control"]) == {"permuted", "modern_american", "modern_names"}
    assert (to / "filters-0.1.svg").read_text().count("suspicious words") == 1 and (to / "filters-1.png").is_file()
    assert not (tmp_path / "artifacts").exists(), "filters of words keep nothing"
