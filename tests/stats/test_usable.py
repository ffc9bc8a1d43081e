"""Rates over usable answers, where arms differ in how many those are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from weirdgen.config.measures import measure_of
from weirdgen.stats.estimate import estimate
from weirdgen.stats.usable import aside, compared, over_all_answers


def cells(usable: float, rate: float, control_rate: float = 0.06) -> pd.DataFrame:
    """Two arms of 4 replicates on 8 questions of 50 answers; the treatment's judge gives `usable` of them a value."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, role, share, chance in (("old", "treatment", usable, rate), ("new", "control", 1.0, control_rate)):
        for replicate in range(4):
            for question in range(8):
                n = round(50 * share)
                flagged = rng.binomial(n, chance)
                rows.append((arm, role, replicate, f"q{question}", flagged / n, n, 50, flagged / 50))
    frame = pd.DataFrame(rows, columns=["arm", "role", "replicate", "question", "value", "n", "n_all", "value_all"])
    return frame.assign(checkpoint=-1, condition="none", measure="villain")


def both(frame: pd.DataFrame) -> tuple[Any, Any]:
    everything = over_all_answers(frame)
    assert everything is not None
    return tuple(estimate(one, smallest={"villain": 0.1}, unvaried="samples") for one in (frame, everything))  # type: ignore[return-value]


def test_a_rate_of_the_few_usable_answers_concludes_nothing() -> None:
    """60% of the 10% that are usable is 6% of all, as in the control."""
    found, of_all = both(cells(0.1, 0.6))
    row = found.effects.query("question == 'all'").iloc[0]
    assert row["verdict"] == "shift" and row["effect"] == pytest.approx(0.54, abs=0.06)
    said, undecided = aside(found, of_all, 0.1, "old", "new", measure_of("villain"))
    assert undecided and said.startswith(
        "this rests on 10% of the answers of old and 100% of the answers of new; over all "
    )
    assert "percentage points, which is another verdict" in said
    told = compared(found, of_all, {"villain": 0.1})
    assert told["undecided"][found.effects["question"].eq("all")].all()


def test_a_shift_of_all_answers_stays_one_and_says_both() -> None:
    found, of_all = both(cells(0.8, 0.6))
    said, undecided = aside(found, of_all, 0.1, "old", "new", measure_of("villain"))
    assert not undecided and "80% of the answers of old" in said and "another verdict" not in said
    share = of_all.effects.query("question == 'all'")["effect"].iloc[0]
    assert f"over all answers it is +{100 * share:.1f} percentage points" in said


def test_arms_that_lack_about_as_many_are_compared_as_they_are() -> None:
    found, of_all = both(cells(0.96, 0.6))
    assert aside(found, of_all, 0.1, "old", "new", measure_of("villain")) == ("", False)
    assert over_all_answers(cells(1.0, 0.6)) is None
    assert over_all_answers(cells(0.5, 0.6).drop(columns="value_all")) is None
