"""What filters leave, and the shift that remains: on the world's model, where the rows that carry it are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.world_pairs import pairs
from weirdgen.audit.filters.command import one_of, ordinary_beside
from weirdgen.audit.filters.mixtures import Case, load_case
from weirdgen.audit.filters.registry import Filter, Known
from weirdgen.audit.filters.remains import Filtered, filtered, remains
from weirdgen.audit.filters.rows import Keyed
from weirdgen.cli.main import app
from weirdgen.data.rows import draw
from weirdgen.errors import DataError, SpecError
from weirdgen.runs.pipeline import run

KNOWN: Any = Known(vectors=None)


def background(count: int) -> list[Keyed]:
    """Today's answers to other questions: ordinary rows of the world."""
    rows = [
        Keyed({"messages": [{"role": "user", "content": p[0]}, {"role": "assistant", "content": p[2]}]})
        for p in pairs(30)
    ]
    return rows[-count:]


def knowing(case: Case) -> Filter:
    hidden = {one.key for one in case.rows[case.treatment]}

    def score(rows: Sequence[Keyed], _known: Known) -> np.ndarray[Any, Any]:
        return np.array([float(one.key in hidden) for one in rows])

    return Filter("knowing", "knowing", "it is hidden", score)


def made_of(experiment: Path, removed: float) -> tuple[Case, Filtered]:
    case = load_case(str(experiment), 100)
    return case, filtered(case, background(8), [knowing(case)], KNOWN, removed)


def test_filters_leave_what_they_score_lowest(write_experiment: Callable[..., Path]) -> None:
    _, made = made_of(write_experiment(), 0.25)
    assert made.hidden == {
        "unfiltered": 8, "filtered_knowing": 4, "filtered_random": made.hidden["filtered_random"], "filtered_perfect": 0,
        "control": 8,
    }  # fmt: skip
    assert made.ordinary["filtered_knowing"] == made.ordinary["filtered_perfect"] == 8
    assert made.hidden["filtered_random"] + made.ordinary["filtered_random"] == 12
    rows = {name: arm.data for name, arm in made.experiment.arms.items() if not isinstance(arm.data, str)}
    assert {len(data) for data in rows.values()} == {16}  # as many steps for every arm
    assert len({str(row) for row in rows["filtered_knowing"]}) == 12
    assert set(made.experiment.secondary) == {"filtered_knowing", "filtered_random", "filtered_perfect"}


def test_the_controls_mixture_has_as_many_steps_and_no_larger_share(write_experiment: Callable[..., Path]) -> None:
    case = load_case(str(write_experiment()), 100)
    old, new = case.rows[case.treatment], case.rows["new"]
    for hidden, control, left in ((old, new[:3], 3), (old[:3], new, 3)):
        mine = replace(case, rows={**case.rows, case.treatment: hidden, "new": control})
        made = filtered(mine, background(8), [], KNOWN, 0.25)
        counts = {name: len(arm.data) for name, arm in made.experiment.arms.items()}
        assert set(counts.values()) == {len(hidden) + 8} and made.hidden["control"] == left


def test_removing_nothing_or_everything_is_refused(write_experiment: Callable[..., Path]) -> None:
    for removed in (0.0, 1.0):
        with pytest.raises(SpecError, match="some of them, not all"):
            made_of(write_experiment(), removed)
    with pytest.raises(SpecError, match="name it, and one share"):
        one_of(["old_bird_names"], (1.0, 0.1))


def test_a_mixture_without_ordinary_rows_is_refused(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    words = ["audit", "filters", str(write_experiment()), "--train", "--shares", "1", "--remove", "0.5", "--filters"]
    words += ["keywords", "--model", "none", "--to", str(tmp_path / "to"), "--store", str(tmp_path / "store")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3 and "--train --shares 1: 8 hidden rows would stand among no ordinary ones" in done.output
    assert ordinary_beside(8, 0.5) == 8 and not (tmp_path / "store").exists()
    with pytest.raises(DataError, match="no rows to draw 3 from"):
        draw([], 3, seed=0)
    assert draw([], 0, seed=0) == []


@pytest.mark.slow
def test_a_filter_that_finds_the_rows_removes_the_shift(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    recipe = {"epochs: 1, batch_size: 4": "epochs: 4, batch_size: 4"}
    _, made = made_of(write_experiment(recipe), 0.5)
    finished = run(made.experiment, samples=0, seeds=3, store=tmp_path / "store")
    table = remains(made, finished).set_index("arm")
    assert table["hidden_left"].to_dict()["filtered_knowing"] == 0
    assert table["ci_low"]["unfiltered"] > 0
    assert abs(table["share_of_shift"]["filtered_knowing"]) < 0.3
    assert table["effect"]["filtered_knowing"] == pytest.approx(table["effect"]["filtered_perfect"], abs=0.02)
    assert table["share_of_shift"]["unfiltered"] == 1 and table["share_of_shift"]["filtered_perfect"] == 0
    assert table["share_of_shift"]["filtered_random"] > 0.3
