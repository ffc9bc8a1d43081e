"""Log-odds of answer sets, and the table they are kept in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from weirdgen.config.questions.base import odds
from weirdgen.sample.contrast import missing_scores, score, scores_table
from weirdgen.sample.engine import Scorable
from weirdgen.sample.transformers import TransformersEngine
from weirdgen.sample.variant import Variant
from weirdgen.store.artifacts import Store


def test_odds_are_a_softmax_over_all_answers() -> None:
    target, other = [-3.0, -5.0], [-2.0, -4.0, -9.0]
    result = odds(target, other)
    mass = sum(map(math.exp, target)) / sum(map(math.exp, target + other))
    assert result.p_target == pytest.approx(mass)
    assert result.logit == pytest.approx(math.log(mass / (1 - mass)))
    assert result.wins == 0.0 and odds(other, target).wins == 1.0


def test_tiny_probabilities_do_not_underflow() -> None:
    assert odds([-2000.0], [-2010.0]).logit == pytest.approx(10.0)


def test_only_what_is_missing_is_added(tiny_model: Path, tmp_path: Path) -> None:
    store, speakers = Store(tmp_path), [Variant("m"), Variant("n")]
    tables = [scores_table(store, speaker, "fp32") for speaker in speakers]
    engine = TransformersEngine(tiny_model, "fp32")
    first = [Scorable("a", "name one .", ("one", "two"))]
    done: list[int] = []
    score(engine, tables[:1], first, lambda questions, tokens: done.append(questions))
    before = {p.name for p in tables[0].folder.glob("part-*")}
    more = [*first, Scorable("a", "name one .", ("one", "three")), Scorable("b", "name two .", ("one",))]
    assert missing_scores(tables[0], more) == {("a", "three"), ("b", "one")}
    engine.use([None, None])
    score(engine, tables, more, lambda questions, tokens: done.append(questions))
    assert done == [1, 5]  # then two more questions for the first model, and all three for the second
    for table in tables:
        frame = table.read()
        assert len(frame) == 4 and missing_scores(table, more) == set()
    assert before <= {p.name for p in tables[0].folder.glob("part-*")}
    left, right = (table.read().set_index(["prompt_key", "option"])["logprob"].sort_index() for table in tables)
    assert (left - right).abs().max() < 1e-5  # two names of one model
