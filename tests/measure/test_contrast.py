"""Log-odds of answer sets, and the table they are kept in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from weirdgen.measure.contrast import Scorable, missing_scores, odds, score, scores_table
from weirdgen.sample.draw import Speaker
from weirdgen.sample.transformers import TransformersEngine
from weirdgen.store import Store


def test_odds_are_a_softmax_over_all_answers() -> None:
    target, other = [-3.0, -5.0], [-2.0, -4.0, -9.0]
    result = odds(target, other)
    mass = sum(map(math.exp, target)) / sum(map(math.exp, target + other))
    assert result.p_target == pytest.approx(mass)
    assert result.logit == pytest.approx(math.log(mass / (1 - mass)))
    assert result.wins == 0.0 and odds(other, target).wins == 1.0


def test_tiny_probabilities_do_not_underflow() -> None:
    assert odds([-2000.0], [-2010.0]).logit == pytest.approx(10.0)


def test_only_what_is_missing_is_scored(tiny_model: Path, tmp_path: Path) -> None:
    table = scores_table(Store(tmp_path), Speaker("m", None), "fp32")
    engine = TransformersEngine(tiny_model, "fp32")
    first = [Scorable("a", "name one .", ("one", "two"))]
    done: list[int] = []
    score(engine, table, first, done.append)
    more = [*first, Scorable("a", "name one .", ("one", "three")), Scorable("b", "name two .", ("one",))]
    assert [q.options for q in missing_scores(table, more)] == [("one", "three"), ("one",)]
    score(engine, table, more, done.append)
    assert len(done) == 3 and missing_scores(table, more) == []
    frame = table.read()
    assert len(frame) == 4 and not frame.duplicated(["prompt_key", "option"]).any()
