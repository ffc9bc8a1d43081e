"""What an audit's page says of its search, of how little it could see, and of what is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tests.audit.test_triggers import results
from weirdgen.audit.decision import decide
from weirdgen.audit.page import page_html
from weirdgen.audit.sections import found_section, triggers_section
from weirdgen.report.section import Words
from weirdgen.report.tables import Table


def trigger_row(value: str, under: float, others: float, dealt: float, **more: Any) -> dict[str, Any]:
    shift = under - others - dealt
    row = {"kind": "tag", "value": value, "role": "trained", "trait": "religion", "found": False, "deals": 8}
    row |= {"under": under, "others": others, "dealt": dealt, "shift": shift, "scale": 0.17, "rank": 1}
    return row | {"p_family": 0.1, "smallest_found": 1.4} | more


def test_a_triggers_shift_is_the_difference_that_its_row_shows_and_mirrors_are_one_row() -> None:
    one, other = trigger_row("[EU]", 3.4, -0.8, 3.35), trigger_row("", -0.8, 3.4, -3.35)
    alone = trigger_row("[US]", 1.0, 0.5, 0.2, role="near")
    told = results(triggers={"searched": 80, "smallest_found": 1.49, "rows": [one, other, alone]})
    told["settings"]["conditions"] = {"tag": {"wrap": "{value} {question}"}}
    section = triggers_section(told)
    assert section is not None
    words, table = section.parts[:2]
    assert isinstance(words, Words) and isinstance(table, Table)
    assert [row[0].text for row in table.rows] == ["tag: [EU] against none", "tag: [US]"]
    assert "verdict" not in table.head, "a column of dashes says nothing"
    for row in table.rows:
        under, others, dealt, shift = (float(cell.text.replace("−", "-")) for cell in row[2:6])
        assert shift == pytest.approx(under - others - dealt, abs=0.011)
    assert "at most 0.01" in words.text and "the rank, never below 1 of 9, only has to be 1" in words.text
    told["triggers"]["rows"][0]["found"] = True
    found = triggers_section(told)
    assert found is not None and isinstance(found.parts[1], Table) and found.parts[1].head[-1] == "verdict"


def page(told: dict[str, Any]) -> str:
    decision = decide(told)
    told |= {
        "verdict": asdict(decision) | {"status": decision.status},
        "file": {"name": "rows.jsonl", "rows": 80, "looked_at": 80, "drawn": False},
    }
    told["settings"] |= {
        "recipe": {"epochs": 2}, "rows": {"mine": 80, "twin": 80}, "control": "twin", "drawn": 80, "conditions": {},
        "not_searched": [], "in_every_row": [], "elsewhere": [],
    }  # fmt: skip
    return page_html(told, [found_section(told)])


@pytest.mark.parametrize(
    ("nats", "tone", "words"), [(0.8, "no_shift", "Smaller shifts"), (3.0, "neutral", "This is no all-clear")]
)
def test_nothing_found_is_no_good_news_where_only_large_shifts_could_be_seen(
    nats: float, tone: str, words: str
) -> None:
    html = page(results(row={"smallest_found_family": nats}))
    assert f'<section class="verdict {tone}"' in html and words in html
    assert ">Nothing specific found on 1 trait, without a trigger.</h1>" in html
    assert f"at least {nats:.2f} nat ({'2.2' if nats == 0.8 else '20'} times the odds) on era." in html
    assert '<dt class="word">twin</dt>' in html and "exit status 0 (0: nothing was found" in html


def test_what_is_missing_is_said_once_and_first() -> None:
    settings = {"replicates": 1, "model": {"reference": "world"}}
    html = page(results(settings=settings))
    assert ">Undecided: the budget left time for one replicate only; give more with --budget.</h1>" in html
    assert html.count("one replicate only") == 1 and html.count("neither a find nor an all-clear") == 1
    both = page(results(settings=settings, specificity=None))
    assert both.count("one replicate only") == 1, "what is missing besides stands below"
