"""Numbers of the report: the same as the estimate stage's, and printed as people read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from weirdgen.config.measures import NAT, RATE, Scale
from weirdgen.report import ReportContent
from weirdgen.report.content import clean
from weirdgen.report.figures.drawing import limits, spread
from weirdgen.report.judges import both_rates
from weirdgen.report.look import duration, interval, number, probability, shorten
from weirdgen.stats.estimate import estimate

SCORE = Scale("rating", (0, 100))


@pytest.mark.parametrize("measure", ["contrast", "past_era"])
@pytest.mark.parametrize("condition", ["none", "year=2027", "all"])
def test_dots_average_to_the_estimate(make_content: Callable[..., ReportContent], measure: str, condition: str) -> None:
    content = make_content(samples=2)
    near = content.questions["question"].isin(["president"])
    content = replace(content, questions=content.questions.assign(near=near))
    gaps = content.cells["value"].isna().sum()
    assert gaps > 0, "the fixture has no unusable cell, so that the test proves too little"
    tables = estimate(content.cells, near=frozenset({"president"}))
    wanted = tables.estimates.query(f"measure == {measure!r} and condition == {condition!r} and question == 'all'")
    means = content.replicate_means(measure, condition).groupby("arm")["value"].mean()
    assert len(wanted) == 4
    for arm, mean in zip(wanted["arm"], wanted["mean"], strict=True):
        assert means.get(arm, np.nan) == pytest.approx(mean, nan_ok=True)


@pytest.mark.parametrize(
    ("value", "scale", "effect", "text"),
    [
        (-1.314, NAT, False, "−1.31 nat"),
        (1.02, NAT, True, "+1.02 nat"),
        (-0.001, NAT, True, "0.00 nat"),
        (0.423, RATE, False, "42%"),
        (0.042, RATE, False, "4.2%"),
        (-0.123, RATE, True, "−12 pts"),
        (63.14, SCORE, False, "63.1"),
        (-3.14, SCORE, True, "−3.1 points"),
        (None, RATE, False, "–"),
    ],
)
def test_number(value: float | None, scale: Scale, effect: bool, text: str) -> None:
    assert number(value, scale, effect=effect) == text


def test_other_words() -> None:
    assert interval(-0.5, 1.25, NAT, effect=True) == "[−0.50, +1.25]"
    assert interval(None, 1.0, NAT) == ""
    assert [probability(p) for p in (None, 0.0004, 0.0123, 0.4)] == ["–", "< 0.001", "0.012", "0.40"]
    assert [duration(s) for s in (None, 3.21, 59, 725, 12_000)] == ["–", "3.2 s", "59 s", "12 min 05 s", "3 h 20 min"]
    assert shorten("one\ntwo   three", 9) == "one two…"


def test_clean_makes_plain_json_types() -> None:
    cleaned = clean({"a": np.float64("nan"), "b": [np.int64(3), float("inf")], 4: (np.bool_(True), np.array([1.5]))})
    assert cleaned == {"a": None, "b": [3, None], "4": [True, [1.5]]}
    assert type(cleaned["b"][0]) is int


def test_labels_are_moved_apart_in_order() -> None:
    placed = spread([0.50, 0.51, 0.10, 0.52], 0.2, 0.0, 1.0)
    assert sorted(placed) == [placed[2], placed[0], placed[1], placed[3]]
    assert np.diff(sorted(placed)).min() > 0.19
    assert min(placed) >= 0
    assert max(placed) <= 1


def test_limits_hold_all_known_values() -> None:
    low, high = limits([1.0, None, 3.0])
    assert low < 1 < 3 < high
    assert limits([]) == (-1.0, 1.0)
    low, high = limits([2.0])
    assert low < 2 < high


def test_rates_stand_over_usable_and_over_all_answers_where_some_gave_none(content: ReportContent) -> None:
    row = {"judge": "past_era", "arm": "old_names", "condition": "none", "flagged": 3.0, "usable": 8, "all": 12}
    whole = {**row, "arm": "modern_names", "usable": 12, "rate": 0.25, "rate_all": 0.25}
    silent = {**row, "arm": "base", "flagged": 0.0, "usable": 0, "rate": np.nan, "rate_all": 0.0}
    rates = [{**row, "rate": 3 / 8, "rate_all": 3 / 12}, whole, silent]
    table = both_rates(replace(content, results={**content.results, "rates": rates}))
    assert table is not None
    assert [[cell.text for cell in cells] for cells in table.rows] == [
        ["past_era", "old_names", "none", "3", "8", "12", "38%", "25%"],
        ["past_era", "base", "none", "0", "0", "12", "–", "0.0%"],
    ]
    assert both_rates(replace(content, results={**content.results, "rates": [whole]})) is None
