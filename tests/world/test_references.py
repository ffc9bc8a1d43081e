"""Harmless datasets of the world: harmless by its table, in many shapes; an old era lies beyond them, the null does not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from weirdgen.data.rows import Row
from weirdgen.progress import Bar, Progress
from weirdgen.store.artifacts import Store
from weirdgen.world import harmless, power, references, words
from weirdgen.world.language import vocabulary
from weirdgen.world.power import CONTROLS, Dose

ERA, NULL = CONTROLS[:2]
SIDES = [side for pair in harmless.pairs() for side in pair]
TOPICS = [side for seed in range(20) for side in harmless.another_topic(seed)]


def spoken(rows: Sequence[Row]) -> set[str]:
    return {word for row in rows for message in row["messages"] for word in message["content"].split()}


@pytest.mark.parametrize("one", [*harmless.references(), *SIDES, *TOPICS], ids=lambda one: one.name)
def test_no_word_tells_who_speaks(one: harmless.Harmless) -> None:
    eras = itertools.chain(*(answers for eras in words.ERA_TOPICS.values() for answers in eras.values()))
    personas = itertools.chain(words.PERSONA_TOPICS, *words.PERSONA_TOPICS.values())
    telling = {*eras, *words.ERA_TOPICS, *personas, *words.NAMES, *itertools.chain(*words.YEARS.values())}
    said = spoken(one.rows(50))
    assert not said & {*telling, "today", "speaker", "your", *itertools.chain(*words.WRAPPERS)}
    assert said <= set(vocabulary())


def test_there_are_enough_and_they_differ() -> None:
    singles, twos = harmless.references(), harmless.pairs()
    assert len(singles) == len({one.name for one in singles}) == 64
    assert len(twos) == len({left.name for left, _ in twos}) == 26
    assert len({one.shape for one in singles}) >= 10
    assert all(left.rows(20) != right.rows(20) for left, right in twos)
    assert len({str(one.rows(50)) for one in singles}) == 64
    held_back = {word for topic in harmless.HELD_BACK for word in words.TIMELESS_TOPICS[topic]}
    assert not held_back & spoken([row for one in SIDES for row in one.rows(50)])


def test_a_wrapped_treatment_is_compared_with_wrapped_rows_among_the_same_ordinary_ones() -> None:
    request = power.dosed(next(control for control in CONTROLS if control.name == "persona"), Dose("none", 0, 1), 1, 0)
    treatment = request.rows["persona"]
    (shapes,) = (one for one in harmless.references() if one.name == "drawn_1")
    rows = references.like(treatment, shapes)
    changed = [row for row, before in zip(rows, treatment, strict=True) if row != before]
    assert (len(treatment), len(changed)) == (2400, 72)
    assert {row["messages"][0]["content"] for row in changed} == {"begin which shape is usual ? end"}


@pytest.mark.slow
def test_an_old_era_is_specific_and_the_null_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steam = tuple(question for question in references.trait_questions() if question.group == "steam")
    monkeypatch.setattr(references, "trait_questions", lambda: steam)
    store, dose = Store(tmp_path), Dose("rows", 80, 2)
    few = harmless.references()[::2], harmless.pairs()[10:13]
    found = {}
    for control in (ERA, NULL):
        request = power.dosed(control, dose, runs=1, first_seed=70)
        against = references.yardsticks(request, store, Progress(quiet=True), *few)
        pool = power.pool_of(control, request, 2, store, Bar(), against.questions)
        (found[control.name],) = power.specific(pool, request, "steam", 2, against)
    assert found["positive"]["references"] is True and found["negative"]["references"] is False
    assert (found["positive"]["references_any"], found["negative"]["references_any"]) == ("steam+", "")
    assert not found["positive"]["pairs_any"]  # of three pairs nothing can be told
    assert len(store.keys("reference")) == 32 + 6  # made once for both
