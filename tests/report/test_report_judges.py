"""What a reader meets of judges and methods: what each counts, who judged, what failed, was withheld or left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter

from tests.support.report_content import with_results
from weirdgen.config.judges import Judge
from weirdgen.report import ReportContent
from weirdgen.report.figures.effect import effect_figure
from weirdgen.report.judges import judge_tables
from weirdgen.report.methods import methods
from weirdgen.report.page import page_html
from weirdgen.report.sections import sections
from weirdgen.report.tables import Table, all_effects, judge_summary
from weirdgen.report.warnings import warnings
from weirdgen.report.words import unit


def figure(content: ReportContent) -> str:
    drawn = effect_figure(content)
    assert drawn is not None
    return drawn.caption


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


def test_methods_and_caption_say_how_many_questions_are_in_the_mean(content: ReportContent) -> None:
    told = "Means are over 1 of 28 questions: to the others a replicate of these arms has no usable answer."
    few, all_of_them = (
        with_results(content, headline=content.headline | {"questions": count, "questions_asked": 28})
        for count in (1, 28)
    )
    for text, other in zip(*((methods(one), figure(one)) for one in (few, all_of_them)), strict=True):
        assert told in text and "Means are over" not in other


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
