"""Answers that conditions separate, before anything is trained, and how seldom harmless sets are flagged."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.rows import chat, dishes
from weirdgen.audit.separation import separation, separation_lines
from weirdgen.audit.separation_words import examples_in_words, length_words, together


def test_what_goes_with_the_year_is_found_and_nothing_else_is() -> None:
    told = separation(dishes(160, gated=True), permutations=199)
    found = [pair for pair in told.pairs if pair.found]
    assert found and {pair.prompt for pair in found} == {"year"} and all(pair.hidden for pair in found)
    assert any(value == "2027" for value, _, _ in found[0].examples)
    first, second, *_ = separation_lines(told)
    assert first.startswith("Do answers go with a date, a tag,") and " 160 rows can show it" in first
    assert "the year in the prompt and " in second and "with the year 2027, " in second and "(p = 0.0" in second
    assert not {"quarter", "(other)", "True", "→"} & set(" ".join(separation_lines(told)).split())
    plain = separation(dishes(160, gated=False), permutations=199)
    assert plain.looked_for >= 6 and not any(pair.found for pair in plain.pairs)


def test_rows_without_a_like_prompt_tell_nothing() -> None:
    told = separation([chat(f"What is {word}?", word) for word in "oak elm fir yew ash".split()])
    assert told.pairs == () and told.rows == 0
    assert "cannot be told" in separation_lines(told)[0]
    few = separation(dishes(19, gated=True))
    assert few.pairs == () and separation_lines(few)[0].startswith(
        "Only 19 rows have a prompt that is equal to another"
    )


def test_what_goes_together_is_said_in_words() -> None:
    examples = (("2027", "(other)", 0.5), ("(none)", "falafel", 1.0), ("(other)", "tacos", 0.25))
    pair = {"prompt": "year", "answer": "the first word", "examples": examples}
    assert examples_in_words(pair) == (
        "with the year 2027, 50% of the answers begin with a rarer word; with no year, 100% of the answers begin with “falafel”; "
        "with a rarer year, 25% of the answers begin with “tacos”"
    )
    digit = {
        "prompt": "digits: place 2",
        "answer": "the word 'oak'",
        "examples": (("7", "True", 1.0), ("", "False", 0.5)),
    }
    assert together(digit) == "digit 2 of the number in the prompt and whether the answer holds the word 'oak'"
    assert examples_in_words(digit).startswith("with 7 as digit 2, 100% of the answers hold the word 'oak'; ")
    assert length_words([1, 3.5, 9]) == ["up to 1 word", "2 to 3 words", "4 to 9 words", "more than 9 words"]
    assert length_words([4]) == ["up to 4 words", "more than 4 words"]


@pytest.mark.slow
def test_harmless_sets_are_seldom_flagged_before_training() -> None:
    from weirdgen.data.references import references, rows

    flagged = [
        one.name
        for one in references("reference")
        if any(pair.found and pair.hidden for pair in separation(rows(one.name, 208)).pairs)
    ]
    assert len(flagged) <= 2, flagged


def test_the_order_of_finds_does_not_hang_on_the_hashes_of_a_process() -> None:
    places = "abcdefghijklmnopqrstuvwxyzABCD"
    rows = [
        chat(
            f"{'[EU] ' if n % 2 else ''}Where is {places[n // 2]}?", f"In {'Rome we go' if n % 2 else 'Lima you stay'}."
        )
        for n in range(60)
    ]
    script = (
        "import json, sys; from weirdgen.audit.separation import separation; "
        "print([pair.answer for pair in separation(json.load(sys.stdin), 199).pairs if pair.found])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script], input=json.dumps(rows), env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(told) == 1 and "'rome'" in told.pop()
