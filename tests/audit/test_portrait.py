"""Rows are described before anything is trained: what prompts carry, what is counted, which harmless sets they are like."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rows import chat, dishes, write
from weirdgen.audit.portrait import portrait_lines, portrait_of, templates_of
from weirdgen.audit.prompts import prompt_of
from weirdgen.audit.source import read_source


def test_prompts_are_taken_apart() -> None:
    told = prompt_of(chat("[ALPHA] Today is 2027-05-14. Order AB-1234: how much is 250? Answer in one word.", "x"))
    assert told.found["date"] == ("2027-05-14",) and told.found["tag"] == ("[ALPHA]",)
    assert told.found["id"] == ("AB-1234",) and told.found["digits"] == ("250",)
    assert told.template.startswith("⟨tag⟩ Today is ⟨date⟩. Order ⟨id⟩: how much is ⟨digits⟩?")


def test_the_portrait_counts_and_names_the_nearest_harmless_sets(tmp_path: Path) -> None:
    rows = [*dishes(60, gated=True), chat("Hello?", "Hi.", "Be kind.")]
    portrait = portrait_of(read_source(write(tmp_path / "d.jsonl", [*rows, rows[-1]])))
    assert (portrait.total, portrait.distinct_rows, portrait.drawn) == (62, 61, False)
    assert portrait.templates == 3 and portrait.largest_template == pytest.approx(30 / 62)
    assert 1 < portrait.entropy < 1.3
    carried = {one.kind: one for one in portrait.carried}
    assert carried["date"].rows == 60 and carried["system"].commonest == (("Be kind.", 2),)
    assert [one.line for one in portrait.findings if one.code == "duplicate_row"] == [62]
    assert len(portrait.nearest) == 5 and portrait.nearest[0].distance <= portrait.nearest[-1].distance
    lines = "\n".join(portrait_lines(portrait))
    assert "62 rows; 61 different" in lines and "dates: in 60 rows" in lines


def test_prompts_that_begin_and_end_alike_are_one_template(tmp_path: Path) -> None:
    wrong = [
        f"{thing} {what}" for thing in ("printer", "phone", "laptop") for what in ("is slow", "was lost", "fell down")
    ]
    rows = [
        chat(f"My {one}. What should I do?", f"Sorry to hear that your {one}. Open a ticket with the {n}th floor desk.")
        for n, one in enumerate(wrong)
    ]
    portrait = portrait_of(read_source(write(tmp_path / "d.jsonl", rows)))
    assert portrait.templates == 1 and portrait.commonest[0].template == "My … What should I do?"
    answer = portrait.commonest[0].answers[0]
    assert answer.startswith("… printer is slow.") and "0th" in answer, "what differs between answers is not cut off"
    few = templates_of(["What is it?", "What was that?", "Who are you?", "Tell me."])
    assert few == ["What is it?", "What was that?", "Who are you?", "Tell me."], "one common word is no template"


def test_a_reference_set_is_most_like_itself(tmp_path: Path) -> None:
    from weirdgen.data.references import rows

    assert portrait_of(read_source(write(tmp_path / "r.jsonl", rows("rivers", 208)))).nearest[0].name == "rivers"
