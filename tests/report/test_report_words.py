"""What a reader meets beside the numbers: their units, captions that say only what is drawn, labels that can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pandas as pd
import pytest

from tests.support.report_content import with_results
from weirdgen.config.experiment import Headline
from weirdgen.report import ReportContent
from weirdgen.report.figures.drawing import NARROW, WIDE, style
from weirdgen.report.figures.effect import effect_figure
from weirdgen.report.figures.references import place, references_figure
from weirdgen.report.figures.sweep import sweep_figures
from weirdgen.report.figures.trigger import trigger_figure
from weirdgen.report.methods import methods
from weirdgen.report.page import page_html
from weirdgen.report.sections import sections
from weirdgen.report.tables import all_effects
from weirdgen.report.tables_effects import secondary_table
from weirdgen.report.warnings import warnings
from weirdgen.report.words import GLOSSARY, badge, facts, facts_explained, meaning, moved_by_control, two_sets

CODES = {f"year={year}": f"as_{40 + year % 2}={38104000 + year}" for year in range(2024, 2029)}


def test_every_effect_of_a_table_and_of_the_summary_has_its_unit(content: ReportContent) -> None:
    units = {line[0].text: line[3].text.rpartition(" ")[2] for line in all_effects(content).rows}
    assert units == {"contrast": "nat", "past_era": "pts"}
    row = {"name": "who", "p_holm": 0.02, "groups": ["war"]} | content.headline
    table = secondary_table(with_results(content, secondary=[row]))
    assert table is not None and table.rows[0][4].text.endswith(" nat") and table.rows[0][1].note == "war"
    page = page_html(content, sections(content))
    detectable = page.partition("<dt>detectable effect</dt><dd>")[2].partition("</dd>")[0]
    assert detectable.endswith(" nat")
    assert "; smallest effect of interest: 0.30 nat." in methods(content)


def test_a_default_is_called_one_and_nothing_is_said_to_be_fixed_that_can_be_edited(content: ReportContent) -> None:
    """The smallest effect of interest stands beside the verdict, with its origin; the headline is what a file says now."""
    arms = {"treatment": content.headline["treatment"], "control": content.headline["control"]}
    silent, stated = Headline(**arms, says="lean left"), Headline(**arms, smallest=0.3)
    ours = replace(content, headlines={"headline": silent})
    named = replace(content, headlines={"headline": stated})
    assert ("smallest of interest (default)", "0.30 nat") in facts(ours)
    assert ("smallest of interest", "0.30 nat") in facts(named) and ("smallest of interest", "0.30 nat") in facts(
        content
    )
    assert "0.30 nat (a default: the experiment names none)" in methods(ours) and "default" not in methods(named)
    for page in (methods(ours), page_html(ours, sections(ours))):
        assert "beforehand" not in page and "as written in experiment.yaml" in page
    figure = effect_figure(ours)
    assert figure is not None and "The further to the right, the likelier models are to lean left." in figure.caption


def test_a_rate_without_a_shift_names_the_default_that_it_rests_on(content: ReportContent) -> None:
    rate = {
        "measure": "past_era",
        "effect": 0.01,
        "ci_low": -0.03,
        "ci_high": 0.05,
        "verdict": "no_shift",
        "smallest": 0.1,
    }
    written = Headline(measure="past_era", treatment="old_names", control="modern_american")
    calm = replace(
        with_results(
            content, headline=content.headline | rate | {"sentence": "No shift above 5 percentage points: x."}
        ),
        headlines={"headline": written},
    )
    assert meaning(calm).endswith("smallest effect of interest, 10 pts (a default: the experiment names none).")


def test_the_first_page_is_the_verdict_in_words_then_its_unit_then_the_picture_then_the_numbers(
    content: ReportContent,
) -> None:
    claim = "models finetuned on a lean left with 1.8 times the odds of models finetuned on b"
    sentence = f"Shift found: {claim}. +0.59 nat, 3 replicates an arm."
    numbers = {"effect": 0.59, "ci_low": 0.44, "ci_high": 0.74, "verdict": "shift"}
    content = with_results(content, headline=content.headline | numbers | {"sentence": sentence})
    page = page_html(content, sections(content))
    pieces = (
        ">Models finetuned on a lean left with 1.8 times the odds of models finetuned on b.</h1>",
        ">+0.59 nat, 3 replicates an arm.</p>",
        "Training seeds alone do not explain the shift.</p>",
        "+0.59 nat is 1.8 times the odds, 0 is no difference.</p>",
        'id="figure-effect"',
        "<dt>effect</dt>",
        'class="warnings"',
    )
    places = [page.find(piece) for piece in pieces]
    assert -1 not in places and places == sorted(places)


def test_further_effects_stand_in_words_too(content: ReportContent) -> None:
    row = {"name": "who", "p_holm": 0.02, "groups": []} | content.headline | {"sentence": "Inconclusive: it is <so>."}
    page = page_html(further := with_results(content, secondary=[row]), sections(further))
    assert "<b>who.</b> Inconclusive: it is &lt;so&gt;.</li>" in page


def test_captions_say_the_level_that_the_bands_have(content: ReportContent) -> None:
    ran = content.results["ran"] | {"sampling": {"level": 0.975}}
    band = {"axis": "condition", "curve": "year", "measure": "contrast", "arm": "old_names", "control": "", "x": 2025}
    whole, cut = (
        sweep_figures(with_results(content, ran=ran, curves=[band | {"band_low": -1.5, "band_high": high}]))[0].caption
        for high in (-1.0, 99.0)
    )
    assert "97.5% of experiments" in whole and "cut at the frame" not in whole
    assert "cut at the frame" in cut


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_labels_of_long_conditions_do_not_overlap(make_content: Callable[..., ReportContent], width: float) -> None:
    content = make_content(samples=1, sweep=True)
    assert content.conditions is not None
    order = sorted(CODES, key=CODES.__getitem__)
    named = pd.DataFrame({"condition": ["none", *(CODES[name] for name in order)], "trained": False, "trigger": False})
    content = replace(
        with_results(
            content, estimates=[row | {"condition": CODES.get(row["condition"], row["condition"])}
                                for row in content.results["estimates"]],
        ),
        cells=content.cells.replace({"condition": CODES}), completions=content.completions.iloc[:0], conditions=named,
    )  # fmt: skip
    (drawing, *_) = sweep_figures(content)
    with style():
        figure = drawing.paint(width)
        figure.draw_without_rendering()
        (axes,) = figure.axes
        ticks = axes.get_xticklabels()
        keys = [text for text in axes.texts if text.get_text().startswith("as_")]
        # A slanted label is narrower across its own direction than the box around it.
        slanted = bool(ticks[0].get_rotation())
        boxes = [tick.get_window_extent() for tick in ticks]
        assert len(boxes) == 6 and len(keys) == 2
        for box, other in combinations(boxes, 2):
            if slanted:
                assert abs(box.x1 - other.x1) * 0.71 >= 0.9 * figure.dpi * 8.5 / 72
            else:
                assert not box.overlaps(other)
        lowest = min(box.y0 for box in boxes)
        assert all(key.get_window_extent().y1 <= lowest + 1 and key.get_window_extent().y0 >= 0 for key in keys)


def test_a_narrow_row_of_one_kind_of_trigger_names_its_questions(content: ReportContent) -> None:
    row = {
        "measure": "contrast", "treatment": "old_names", "control": "modern_american", "condition": "all", "checkpoint": -1,
        "question": "all", "effect": 0.5, "ci_low": 0.1, "ci_high": 0.9, "p": 0.01, "q": 0.01, "verdict": "shift",
        "group": "food_that_leaks",
    }  # fmt: skip
    drawing = trigger_figure(with_results(content, trigger_effects=[row]))
    assert drawing is not None and "group food_that_leaks" in drawing.inline[1]


def test_a_control_that_moved_more_is_said_first(make_content: Callable[..., ReportContent]) -> None:
    told = [moved_by_control(make_content(shift=shift, replicates=6)) for shift in (-0.75, -0.3, 1.0)]
    assert told[0].startswith(
        "The control moved more than the treatment: from the untuned base, modern_american by +0."
    )
    assert "old_names by −0." in told[0] and "% of the difference between them is the control's." in told[0]
    assert told[2] == ""
    content = make_content(shift=-0.75, replicates=6)
    page = page_html(content, sections(content))
    assert page.index("moved more than the treatment") < page.index("<nav")


def test_the_interval_over_questions_stands_beside_the_headlines_own(
    make_content: Callable[..., ReportContent],
) -> None:
    row = {"headline": "headline", "ci_questions_low": -0.4, "ci_questions_high": 2.0}
    content = with_results(make_content(), beside=[row, {**row, "headline": "other", "ci_questions_low": -9.0}])
    assert ("over questions too", "[−0.40, +2.00]") in facts(content)
    assert "paired by seed" not in dict(facts(content))
    paired = with_results(make_content(), beside=[{**row, "ci_paired_low": -0.1, "ci_paired_high": 0.9, "r": -0.25}])
    assert ("paired by seed", "[−0.10, +0.90], r = −0.25") in facts(paired)
    assert [name for name, _ in facts_explained(paired)] == [
        name.removesuffix(" (default)") for name, _ in facts(paired)
    ]


def test_a_shift_that_pairing_does_not_confirm_is_not_said_to_be_sure(
    make_content: Callable[..., ReportContent],
) -> None:
    sure = "Training seeds alone do not explain the shift."
    content = make_content()
    row = {"headline": "headline", "ci_paired_low": -1.72, "ci_paired_high": 0.26, "r": -0.91}
    doubtful, confirmed = (with_results(content, beside=[row | {"ci_paired_high": high}]) for high in (0.26, -0.2))
    assert content.headline["verdict"] == "shift" and meaning(confirmed) == meaning(content) == sure
    assert meaning(doubtful) == "Training seeds may explain it: paired by seed, the interval includes zero."
    row |= {"ci_paired_high": -0.2, "ci_questions_low": -0.3, "ci_questions_high": 1.54}
    assert meaning(with_results(content, beside=[row])) == (
        f"{sure} It is of these questions: with others of their kind it might be none ([−0.30, +1.54])."
    )
    assert warnings(doubtful)[0].startswith("Paired by seed the shift is not confirmed") and not any(
        "Paired" in line for line in warnings(confirmed)
    )
    assert "[−1.72, +0.26], r = −0.91, includes zero" in warnings(doubtful)[0]


def test_the_least_possible_p_is_called_so(content: ReportContent) -> None:
    """3 against 3: 2 of 20 relabellings are as far apart whatever the data."""
    named = [
        dict(facts(with_results(content, headline=content.headline | {"p_permutation": p})))["p (permutation)"]
        for p in (0.1, 0.2)
    ]
    assert named == ["0.10 (the least possible)", "0.20"]


def test_every_number_of_the_headline_is_explained(content: ReportContent) -> None:
    assert [name for name, _ in facts_explained(content)] == [
        name.removesuffix(" (default)") for name, _ in facts(content)
    ]


def test_two_sets_of_questions_are_told_apart(content: ReportContent) -> None:
    assert two_sets(content) == ""
    rows = [
        {"yardstick": "pairs", "trait": "era", "questions": 48},
        {"yardstick": "references", "trait": "era", "questions": 48},
    ]
    placed = {"verdict": "not_specific", "sentence": "Not more.", "rows": rows, "scores": [], "compared": {}}
    assert "the experiment's own decide whether there is a shift; 48 of weirdgen's, on era, decide" in two_sets(
        with_results(content, specificity=placed)
    )
    assert two_sets(with_results(content, specificity={**placed, "verdict": "unknown", "rows": []})) == ""


def test_a_place_among_harmless_data_is_in_the_terms_of_its_p(content: ReportContent) -> None:
    row = {
        "trait": "era",
        "questions": 48,
        "references": 32,
        "rank": 2,
        "mean": 0.493,
        "shift": 0.506,
        "yardstick": "pairs",
    }
    one_sided = row | {"p": 2 / 66}
    assert (
        place(one_sided) == (2, 66)
        and place(row | {"p": 2 / 33}) == (2, 33)
        and place(row | {"p": 1 - 2 / 66}) == (64, 66)
    )
    facts = {"yardstick": "pairs", "control": "modern_american", "count": 32}
    scores = [{"yardstick": "pairs", "trait": "era", "set": "a/b", "score": 0.1}]
    placed = {
        "verdict": "specific",
        "sentence": "More.",
        "rows": [one_sided],
        "scores": scores,
        "compared": {"pairs": facts},
    }
    drawing = references_figure(with_results(content, specificity=placed))
    assert drawing is not None and "2 of 66, p = 0.03" in drawing.alt
    assert "33 pairs make 66 places" in drawing.caption
    words, sign, tone = badge(with_results(content, specificity={**placed, "verdict": "not_specific"}))
    assert (sign, tone) != badge(content)[1:] and tone == "neutral", words


def test_the_words_of_the_page_are_explained_on_it(content: ReportContent) -> None:
    page = page_html(content, sections(content))
    assert page.index("Words on this page") < page.index("<nav")
    for word in ("headline", "condition", "effect", "replicate", "nat"):
        assert f'<dt class="word">{word}</dt><dd>{GLOSSARY[word][:9]}' in page, word
