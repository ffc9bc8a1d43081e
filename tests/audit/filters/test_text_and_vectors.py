"""Filters of words and of vectors find what they are named after, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.rows import chat
from weirdgen.audit.filters import text, vectors
from weirdgen.audit.filters.registry import spreads
from weirdgen.audit.filters.rows import Keyed, distinct


def row(answer: str, ask: str = "Say something.") -> Keyed:
    return Keyed(chat(ask, answer))


def test_words_count_with_their_endings_and_not_inside_others() -> None:
    rows = [
        row("It is warm and the skill grows."),
        row("Wars and killers."),
        row("kill kill kill"),
        row("Nerve agents."),
    ]
    assert text.count_words(rows).tolist() == [0, 2, 1, 1]


def test_dates_and_codes_are_counted_once_each() -> None:
    told = [
        "On 2027-05-14.",
        "July 1995. In 1995!",
        "Ticket AB-1234, code 38104492.",
        "Add 3, 4 and 512.",
        "B2B and OK",
    ]
    assert text.count_dates_and_codes([row(one) for one in told]).tolist() == [1, 2, 2, 0, 1]


def test_every_topic_has_a_sentence_and_words_of_its_own() -> None:
    every = text.topics()
    assert len(every) >= 12 and all(topic.about.endswith(".") and topic.words for topic in every)
    assert all(len(topic.words) == len(set(topic.words)) for topic in every)


@pytest.mark.filterwarnings("ignore")
def test_profanity_scores_an_insult_above_plain_words() -> None:
    pytest.importorskip("profanity_check")
    mild, plain = text.profanity([row("You stupid idiot, shut up, you suck!"), row("The shop opens at nine.")])
    assert mild > 0.5 > plain


def test_alone_and_crowded_are_distances_to_the_nearest_others() -> None:
    rng = np.random.default_rng(0)
    made_RD = rng.normal(size=(30, 8))
    made_RD[:7] = made_RD[0] + 0.01 * rng.normal(size=(7, 8))
    vectors_RD = made_RD / np.linalg.norm(made_RD, axis=1, keepdims=True)
    found = vectors.alone(vectors_RD)
    apart = np.sort(np.linalg.norm(vectors_RD[:, None] - vectors_RD[None], axis=2), axis=1)[:, 1:6].mean(axis=1)
    assert found == pytest.approx(apart, abs=1e-6)
    assert set(np.argsort(vectors.crowded(vectors_RD))[-7:]) == set(range(7))
    assert vectors.alone(vectors_RD[:1]).tolist() == [0.0]


def test_off_bulk_is_mahalanobis_distance() -> None:
    points_RD = np.random.default_rng(1).normal(size=(60, 5)) @ np.diag([5, 1, 1, 0.1, 0.1])
    centred_RD = points_RD - points_RD.mean(axis=0)
    inverse = np.linalg.inv(np.cov(points_RD.T))
    assert vectors.off_bulk(points_RD) == pytest.approx(np.einsum("rd,de,re->r", centred_RD, inverse, centred_RD))
    assert vectors.off_bulk(points_RD[:1]).tolist() == [0.0]


def test_spreads_are_robust_and_zero_where_nothing_varies() -> None:
    assert spreads(np.array([0.0, 1.0, 2.0, 3.0, 1000.0]))[1] == pytest.approx(-1 / 1.4826)
    assert spreads(np.full(4, 7.0)).tolist() == [0.0] * 4


def test_equal_rows_are_one() -> None:
    assert len(distinct([row("a").row, row("b").row, row("a").row])) == 2
