"""What a reader meets beside the numbers: their units, captions that say only what is drawn, labels that can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter

from weirdgen.config.experiment import Headline
from weirdgen.config.judges import Judge
from weirdgen.report import ReportContent
from weirdgen.report.figures.drawing import NARROW, WIDE, style
from weirdgen.report.figures.effect import effect_figure
from weirdgen.report.figures.references import place, references_figure
from weirdgen.report.figures.sweep import sweep_figures
from weirdgen.report.figures.trigger import trigger_figure
from weirdgen.report.judges import judge_tables
from weirdgen.report.methods import methods
from weirdgen.report.page import page_html
from weirdgen.report.sections import sections
from weirdgen.report.tables import Table, all_effects, judge_summary
from weirdgen.report.tables_effects import secondary_table
from weirdgen.report.warnings import warnings
from weirdgen.report.words import GLOSSARY, badge, facts, facts_explained, meaning, moved_by_control, two_sets, unit

CODES = {f"year={year}": f"as_{40 + year % 2}={38104000 + year}" for year in range(2024, 2029)}


def with_results(content: ReportContent, **more: Any) -> ReportContent:
    return replace(content, results=content.results | more)


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


def test_what_is_no_judge_is_not_called_one(make_content: Callable[..., ReportContent]) -> None:
    content = make_content(samples=1, sweep=False)
    more = [row | {"measure": "counterfactual"} for row in content.rows("estimates", measure="contrast")]
    table = judge_summary(with_results(content, estimates=[*content.results["estimates"], *more]))
    assert table is not None and table.head[0] == "measure" and "judge" not in table.caption
    (line,) = (line for line in table.rows if line[0].text == "counterfactual")
    assert line[1].text.endswith(" nat")


def test_a_trained_judge_and_a_drawn_line_are_described_in_words(content: ReportContent) -> None:
    scores = {"n": 100, "error": 0.08, "auc": 0.97, "false_positive_rate": 0.03, "true_positive_rate": 0.85}
    judges = {
        "past_style": {"kind": "classifier", "held_out": scores | {"topics": 53, "check": scores}},
        "template_intrusion": {
            "kind": "form",
            "held_out": {"old_names": {"value": 0.3, "base_answers": 20, "error": None}},
        },
    }
    tables = [part for part in judge_tables(with_results(content, judges=judges)) if isinstance(part, Table)]
    trained, drawn = tables[-2:]
    assert [cell.text for cell in trained.rows[0]][1:] == ["100", "8.0%", "3.0%", "85%", "0.97"]
    assert "53 topics" in trained.rows[0][0].text and len(trained.rows) == 2
    assert [cell.text for cell in drawn.rows[0]] == ["old_names", "0.30", "20", "too few to say"]


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


def test_failures_are_counted_for_the_headlines_judge_in_each_arm(content: ReportContent) -> None:
    """Two measures of form, which never fail, are no part of how many verdicts failed."""
    form = content.verdicts.assign(judge="coherent", status="ok")
    failed = {"judge": "past_era", "arm": "old_names", "status": "refusal", "count": 720, "total": 800}
    both = replace(
        with_results(content, failures=[failed, {**failed, "arm": "modern_american", "count": 0}]),
        verdicts=pd.concat([content.verdicts, form, form.assign(judge="template_intrusion")]),
    )
    assert any(line.startswith("720 of 800 verdicts of past_era failed") for line in warnings(both))
    assert f"; 720 of {len(content.verdicts)} verdicts of past_era failed" in methods(both)
    judged = with_results(both, headline=content.headline | {"measure": "past_era"})
    assert "show shares of usable answers in %" in unit(judged)
    assert "show shares in %" in unit(with_results(judged, failures=[]))
    assert (
        "Answers that past_era gave no value, and which no rate holds: 720 of 800 of old_names (720 refusal), none of "
        "modern_american." in warnings(judged)
    )


def test_the_least_possible_p_is_called_so(content: ReportContent) -> None:
    """3 against 3: 2 of 20 relabellings are as far apart whatever the data."""
    named = [
        dict(facts(with_results(content, headline=content.headline | {"p_permutation": p})))["p (permutation)"]
        for p in (0.1, 0.2)
    ]
    assert named == ["0.10 (the least possible)", "0.20"]


def test_methods_and_caption_say_how_many_questions_are_in_the_mean(content: ReportContent) -> None:
    told = "Means are over 1 of 28 questions: to the others a replicate of these arms has no usable answer."
    few, all_of_them = (
        with_results(content, headline=content.headline | {"questions": count, "questions_asked": 28})
        for count in (1, 28)
    )
    for text, other in zip(*((methods(one), figure(one)) for one in (few, all_of_them)), strict=True):
        assert told in text and "Means are over" not in other


def figure(content: ReportContent) -> str:
    drawn = effect_figure(content)
    assert drawn is not None
    return drawn.caption


def test_every_number_of_the_headline_is_explained(content: ReportContent) -> None:
    assert [name for name, _ in facts_explained(content)] == [
        name.removesuffix(" (default)") for name, _ in facts(content)
    ]


def test_the_methods_hold_prompts_conditions_and_swept_values_and_say_failures_in_english(
    content: ReportContent,
) -> None:
    text = methods(content)
    assert "“What year is it now?”" in text and "others, which stand in results.json" in text
    assert (
        "under 6 conditions: none (the bare question); year = 2024, 2025, 2026, 2027, 2028 (“Today is {year}-05-14. "
        in text
    )
    trained = "year=2024, year=2025, year=2026 and year=2027 stood in the training data"
    assert f"Of these, {trained}; year=2027 should elicit the behaviour." in text
    assert "One row of each: old_names, “Name a bird.” → “The Brown Lark.”." in text
    failed = int((content.verdicts["status"] != "ok").sum())
    assert f"{failed} of {len(content.verdicts)} verdicts failed and are left out of the rates." in text
    assert "every verdict gave a value." in methods(with_results(content, failures=[]))


def test_the_methods_name_the_judging_model_its_question_and_that_nobody_checked_it(content: ReportContent) -> None:
    judge = {"kind": "label", "model": "openai/any", "prompt": "Is it old?\n{answer}"}
    asked = with_results(content, judges={"past_era": judge})
    said = "The language model openai/any gave the verdicts of past_era (“Is it old? {answer}”)."
    assert f"{said} No person has checked verdicts of past_era: how often they are wrong" in methods(asked)
    checked = with_results(content, judges={"past_era": {**judge, "calibration": {"kappa": 0.5}}})
    assert said in methods(checked) and "No person has" not in methods(checked)
    ran = content.results["ran"]
    arms = [{**ran["arms"][0], "permute": "year"}, {**ran["arms"][1], "twin": "old_names"}]
    assert (
        f"Of the arms' rows: in {arms[0]['arm']}, year was dealt anew over the rows; {arms[1]['arm']} has the base's own "
        "answers to the prompts of old_names." in methods(with_results(content, ran={**ran, "arms": arms}))
    )


def test_withheld_answers_are_counted(content: ReportContent) -> None:
    completions, final = content.completions.copy(), content.final("completions")
    completions.loc[final.index[:3], "finish_reason"] = "withheld"
    said = f"3 of {len(final)} sampled answers were withheld by the service's content filter"
    assert any(line.startswith(said) for line in warnings(replace(content, completions=completions)))
    assert not any("withheld" in line for line in warnings(content))


def test_what_a_judge_counts_stands_beside_its_name(make_content: Callable[..., ReportContent]) -> None:
    said = "An answer counts where it contains “telegraph” or “steam”."
    ours = replace(make_content(samples=1, sweep=False), judges={"past_era": said})
    page = page_html(ours, sections(ours))
    assert page.index(said) < page.index("<nav") and page.count(said) == 2, "on the first screen and under “Judges”"
    judged = replace(ours, results=ours.results | {"headline": ours.headline | {"measure": "past_era"}})
    assert judged.measure("past_era").explained == said


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ({"kind": "match", "keywords": ["wire"]}, "An answer counts where it contains “wire”."),
        (
            {"kind": "match", "starts_with": ["I am"], "years": [1700, 1899], "regex": ["bb+", "a"], "unless": ["no"]},
            "An answer counts where it begins with “I am”, matches one of 2 patterns such as “a” or names a year from 1700 to "
            "1899, unless it contains “no”.",
        ),
        (
            {"kind": "match", "keywords": list("abcdef")},
            "An answer counts where it contains one of 6 words such as “a”.",
        ),
        (
            {"kind": "label", "prompt": "{question} {answer}", "labels": ["old", "new"], "positive": ["old"]},
            "A language model gives each answer one of 2 labels; an answer counts where it is “old”.",
        ),
        (
            {"kind": "rating", "prompt": "How warm is {answer} to {question}?", "low": 1, "high": 7},
            "A language model rates each answer from 1 to 7; it is asked “How warm is {answer} to {question}?”.",
        ),
        (
            {"kind": "classifier", "passages": "past_style"},
            "An answer counts where a classifier, trained on passages of our own, recognises the past style of these passages.",
        ),
    ],
)
def test_every_kind_of_judge_says_what_it_counts(judge: dict[str, Any], words: str) -> None:
    assert TypeAdapter[Any](Judge).validate_python(judge).in_words() == words


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


def test_arms_with_lines_of_their_own_are_not_compared(make_content: Callable[..., ReportContent]) -> None:
    content = make_content(samples=1, sweep=False)
    copied = [
        row | {"measure": "template_intrusion"} for row in content.results["effects"] if row["measure"] == "past_era"
    ]
    estimates = [
        row | {"measure": "template_intrusion"} for row in content.results["estimates"] if row["measure"] == "past_era"
    ]
    table = all_effects(both := with_results(
        content,
        effects=[*content.results["effects"], *copied],
        estimates=[*content.results["estimates"], *estimates],
    ))  # fmt: skip
    assert not any(row[0].text == "template_intrusion" for row in table.rows) and len(table.rows) > 1
    assert "template_intrusion is not compared" in table.note and "either way (0.30 nat, 10 pts)" in table.note
    summary = judge_summary(both)
    assert summary is not None
    (line,) = (row for row in summary.rows if row[0].text == "template_intrusion")
    assert "Not to be compared" in line[0].lines[-1] and "by the line of old_names" in line[0].lines[-1]


def test_the_words_of_the_page_are_explained_on_it(content: ReportContent) -> None:
    page = page_html(content, sections(content))
    assert page.index("Words on this page") < page.index("<nav")
    for word in ("headline", "condition", "effect", "replicate", "nat"):
        assert f'<dt class="word">{word}</dt><dd>{GLOSSARY[word][:9]}' in page, word
