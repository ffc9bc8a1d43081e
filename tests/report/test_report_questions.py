"""What a stranger reads of the questions: towards which answers, what each model prefers, and what was sampled beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import log
from typing import Any

import pytest

from weirdgen.config.measures import RATE
from weirdgen.report import ReportContent
from weirdgen.report.figures.forest import forest_figure
from weirdgen.report.look import number
from weirdgen.report.page import page_html
from weirdgen.report.questions import grouped_questions, largest_effects, odds, own_words, times, trait_tables
from weirdgen.report.sections import sections
from weirdgen.report.views import moved, views


@pytest.mark.parametrize(
    ("nats", "text"),
    [
        (0.0, "1.0 : 1"),
        (log(17), "17 : 1"),
        (-log(45), "1 : 45"),
        (log(2.5), "2.5 : 1"),
        (log(110_664), "110,000 : 1"),
        (log(999_999), "1.0·10⁶ : 1"),
        (-18.4, "1 : 9.8·10⁷"),
        (None, "–"),
    ],
)
def test_log_odds_are_printed_as_what_is_compared(nats: float | None, text: str) -> None:
    assert odds(nats) == text


def test_a_factor_is_never_below_one() -> None:
    assert [times(one) for one in (log(2.1), -log(2.1), 0.0, 900.0)] == ["× 2.1", "÷ 2.1", "× 1.0", "× 1.0·10³⁰⁴"]


def test_the_largest_effects_say_towards_which_answers_and_what_each_model_prefers(content: ReportContent) -> None:
    table = largest_effects(content)
    assert table is not None and len(table.rows) == 6
    assert table.head == ("question", "base", "modern_american", "old_names", "effect")
    means = {(row["arm"], row["question"]): row["mean"] for row in content.headline_rows("estimates")}
    effects = {row["question"]: row["effect"] for row in content.headline_rows("effects", control="modern_american")}
    sizes = [abs(effects[row[0].note.partition(",")[0]]) for row in table.rows]
    assert sizes == sorted(sizes, reverse=True)
    for asked, *values, effect in table.rows:
        question = asked.note.partition(",")[0]
        assert asked.lines == ("target: By steam. · By telegraph & <b>horse</b>.", "other: By e-mail. · By jet.")
        arms = ("base", "modern_american", "old_names")
        assert [cell.text for cell in values] == [odds(means[arm, question]) for arm in arms]
        assert effect.text == times(effects[question])


def test_questions_stand_in_groups_where_there_are_groups(content: ReportContent) -> None:
    traits = content.questions.assign(group=["honesty"] * 4 + ["power"] * 5)
    tables = grouped_questions(grouped := replace(content, questions=traits))
    assert [words.partition(":")[0] for words, _ in tables] == [
        "Questions about honesty (4)",
        "Questions about power (3)",
    ]
    drawing = forest_figure(grouped)
    assert drawing is not None and ">honesty</text>" in drawing.svg.replace("\n", "")
    ((words, alone),) = grouped_questions(content)  # five groups of seven questions
    up = sum(
        row["effect"] > 0
        for row in content.headline_rows("effects", control="modern_american")
        if row["question"] != "all"
    )
    assert words == f"Every question (7): {up} more so after old_names, {7 - up} less so"
    assert set(alone.ids) >= {mark.leads_to for mark in drawing.marks} and len(alone.ids) == 7


def test_a_question_that_was_sampled_leads_to_its_answers(content: ReportContent) -> None:
    table = own_words(content)
    assert table is not None
    assert [(row[0].note, row[-1].opens) for row in table.rows] == [
        ("invention, technology", "invention"),
        ("day, life", "day"),
    ]
    assert table.head[1:5] == ("judged for", "base", "modern_american", "old_names")
    page = page_html(content, sections(content))
    assert re.findall(r'<a href="#transcripts" data-question="(\w+)">', page) == ["invention", "day"]


def test_trait_questions_are_compared_trait_by_trait(content: ReportContent) -> None:
    def asked(trait: str, name: str, base: float, treatment: float, control: float) -> dict[str, Any]:
        arms = {"old_names": treatment, "modern_american": control}
        sides = {"target": ["Yes."], "other": ["No.", "Never."]}
        return {"trait": trait, "question": name, "ask": f"{name}?", "base": base, "arms": arms, **sides}

    rows = [
        asked("power", "a", -2.0, -1.0, -2.0),
        asked("power", "b", 0.0, 1.0, -1.0),
        asked("kind", "c", 0.0, -1.0, 0.0),
    ]
    tables = trait_tables(replace(content, results=content.results | {"trait_questions": rows}))
    assert [words for words, _ in tables] == [
        "Questions about power (2): 2 more so after old_names, 0 less so",
        "Questions about kind (1): 0 more so after old_names, 1 less so",
    ]
    first = tables[0][1].rows[0]
    assert [cell.text for cell in first] == ["b?", "1.0 : 1", "1 : 2.7", "2.7 : 1", "× 7.4"]
    assert first[0].lines == ("target: Yes.", "other: No. · Never.")


def test_the_first_screen_has_both_views(content: ReportContent, make_content: Callable[..., ReportContent]) -> None:
    scored, sampled = views(content)
    assert "such as “By steam.”, against others, such as “By e-mail.” (to “What year is it now?”)." in scored.sentence
    means = {row["arm"]: row["mean"] for row in content.headline_rows("estimates", question="all")}
    assert scored.table is not None and sampled.table is not None
    arms = ("base", "modern_american", "old_names")
    assert [cell.text for cell in scored.table.rows[0][1:]] == [odds(means[arm]) for arm in arms]
    by_question = content.headline_rows("estimates", arm="old_names")
    won = sum(row["mean"] > 0 for row in by_question if row["question"] != "all")
    assert scored.table.rows[1][-1].text == f"{won} of 7"
    assert f"{won} of 7 questions after old_names. " in moved(content), "beside the headline, not only in the table"
    row = content.rows("effects", measure="past_era", condition="none", question="all", control="modern_american")[0]
    size = number(row["effect"], RATE, effect=True, unit=False).lstrip("+")
    assert sampled.sentence.startswith(
        f"past_era flags {size} more of 100 answers after old_names than after modern_american"
    )
    form = [row | {"measure": "coherent"} for row in content.results["estimates"] if row["measure"] == "past_era"]
    _, more = views(replace(content, results=content.results | {"estimates": [*content.results["estimates"], *form]}))
    assert more.sentence.endswith(" Under “Judges” too: coherent.")
    few = [row | {"n": 32} if row["measure"] == "past_era" else row for row in content.results["estimates"]]
    _, of_few = views(replace(content, results=content.results | {"estimates": few}))
    assert of_few.table is not None and of_few.table.rows[0][-1].note == "of 32", (
        "a judge of some questions says of how many"
    )
    page = page_html(content, sections(content))
    assert page.index(moved(content)[:60]) < page.index("own words") < page.index("<nav") < page.index('id="effect"')


def test_without_samples_the_first_screen_says_that_nothing_was_looked_at(content: ReportContent) -> None:
    silent = replace(content, completions=content.completions.iloc[:0], verdicts=content.verdicts.iloc[:0])
    _, sampled = views(silent)
    assert sampled.table is None and sampled.sentence.startswith("No answers were sampled.")
