"""What the page says of triggers, differences of conditions and training: drawn from results that real statistics made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from weirdgen.report import ReportContent
from weirdgen.report.figures.effect import _span_below, effect_figure
from weirdgen.report.figures.forest import forest_figure
from weirdgen.report.figures.sweep import sweep_figures
from weirdgen.report.figures.training import training_figure
from weirdgen.report.figures.trigger import trigger_figure
from weirdgen.report.tables_effects import onset_table, secondary_table, trigger_table
from weirdgen.report.words import meaning
from weirdgen.stats.curves import curves
from weirdgen.stats.headlines import Comparison, replicate_values, row, tables
from weirdgen.stats.trigger import trigger_effects

GATE = Comparison(
    name="headline", measure="contrast", treatment="old_names", control="modern_names", conditions=("year=2027",),
    minus=("year=2024", "year=2025"), questions=frozenset({"year_now", "president", "states"}),
    shown=frozenset({"year_now", "president", "states"}), groups=("politics",), smallest=0.3,
    condition="year=2027 − year=2024, 2025",
)  # fmt: skip


def with_effects(content: ReportContent, **more: Any) -> ReportContent:
    """The made-up experiment with a difference of conditions for its headline."""
    headline = tables(content.cells, GATE)
    x = {name: float(name[5:]) for name in content.cells["condition"].unique() if name.startswith("year=")}
    triggers = {str(name): name == "year=2027" for name in content.cells["condition"].unique()}
    results = content.results | {
        "headline": row(headline, GATE),
        "secondary": [{"name": "who_speaks", "p_holm": 0.02} | row(headline, GATE)],
        "headline_estimates": headline.estimates.to_dict("records"),
        "headline_effects": headline.effects.to_dict("records"),
        "headline_replicates": replicate_values(content.cells, GATE).to_dict("records"),
        "trigger_effects": trigger_effects(content.cells, triggers).assign(group="all").to_dict("records"),
        "curves": curves(content.cells, x, axis="condition").assign(axis="condition", curve="year").to_dict("records"),
    }
    return replace(content, results=results | more)


@pytest.fixture
def gate(make_content: Callable[..., ReportContent]) -> ReportContent:
    return with_effects(make_content(samples=2))


def test_the_effect_figure_shows_the_differences(gate: ReportContent) -> None:
    drawing = effect_figure(gate)
    assert drawing is not None and "year=2027 − year=2024, 2025 (nats)" in drawing.svg
    assert "difference of conditions within one model" in drawing.caption
    means = gate.headline_means().groupby("arm")["value"].mean()
    for line in gate.headline_rows("estimates", question="all"):
        assert line["mean"] == pytest.approx(means[line["arm"]])
    forest = forest_figure(gate)
    assert forest is not None and "president" in forest.alt and "telegraph" not in forest.alt


def test_the_sentence_and_its_meaning_are_plain(gate: ReportContent) -> None:
    said = "under year=2027 instead of year=2024, 2025, models finetuned on old_names give the target answers with odds that"
    assert said in gate.headline["sentence"]
    assert "It is one of conditions: whatever training moved under all of them alike has cancelled." in meaning(gate)


def test_triggers_are_drawn_and_listed(gate: ReportContent) -> None:
    drawing, table = trigger_figure(gate), trigger_table(gate)
    assert drawing is not None and table is not None
    assert "old_names − modern_names, all triggers, all questions: +1." in drawing.alt and "base" not in drawing.alt
    assert {line[0].text for line in table.rows} == {"contrast", "past_era"}
    assert [line[-1].text for line in table.rows if line[3].text.endswith("− base")] == ["descriptive", "descriptive"]
    other = secondary_table(gate)
    assert other is not None and [cell.text for cell in other.rows[0][:3]] == ["who_speaks", "contrast", GATE.condition]
    assert other.rows[0][1].note == "politics"


def test_sweeps_carry_the_band_of_the_whole_line(gate: ReportContent) -> None:
    (drawing, *_) = sweep_figures(gate)
    assert "hold a whole line in 95% of experiments" in drawing.caption


def test_training_is_a_line_a_replicate_with_the_onset(gate: ReportContent) -> None:
    steps = {4: 4.0, 8: 8.0, 16: 16.0, 32: 32.0, -1: 60.0}
    rng = np.random.default_rng(0)
    lines = pd.DataFrame(
        [
            ("headline", arm, role, seed, mark, 2.0 * (role == "treatment" and x > 10) + 0.1 * rng.normal())
            for arm, role in (("old_names", "treatment"), ("modern_names", "control"))
            for seed in range(3)
            for mark, x in steps.items()
        ],
        columns=["headline", "arm", "role", "replicate", "checkpoint", "value"],
    )
    cells = lines.assign(condition="c", question="q", measure="contrast", n=1)
    drawn = curves(cells, steps, axis="checkpoint").assign(axis="checkpoint", curve="headline")
    onset = {
        "headline": "headline", "arm": "old_names", "role": "treatment", "onset": 11.3, "ci_low": 8.0, "ci_high": 16.0,
        "threshold": 0.3, "jumped": 2, "replicates": 3, "share": 2 / 3, "share_low": 0.2, "share_high": 0.94,
    }  # fmt: skip
    jump = {"headline": "headline", "arm": "old_names", "replicate": 1, "jumped": True}
    content = with_effects(
        gate,
        curves=drawn.to_dict("records"),
        headline_replicates=lines.to_dict("records"),
        onsets=[onset],
        jumps=[jump],
    )
    drawing, table = training_figure(content), onset_table(content)
    assert drawing is not None and table is not None
    assert "headline, old_names: 2 of 3 replicates jumped, at step 11.3" in drawing.caption
    assert [cell.text for cell in table.rows[0]] == ["headline", "old_names", "2 of 3", "11", "1"]
    assert table.rows[0][3].note == "[8, 16]"


def test_pages_without_any_of_it_stay_as_they_were(make_content: Callable[..., ReportContent]) -> None:
    content = make_content(samples=1)
    assert trigger_figure(content) is None and training_figure(content) is None
    assert trigger_table(content) is None and onset_table(content) is None and secondary_table(content) is None


def test_two_panels_have_one_scale_or_the_page_says_otherwise() -> None:
    effects = [{"effect": 0.1, "ci_low": 0.0, "ci_high": 0.2}]
    low, high = _span_below(effects, (1.0, 3.0), smallest=0.3)
    assert high - low == pytest.approx(2.0) and low < -0.3 and high > 0.3
    low, high = _span_below(effects, (1.0, 1.1), smallest=0.3)
    assert high - low >= 0.6  # wider than the upper one: the strip must be seen whole
