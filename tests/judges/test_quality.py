"""The two measures of form: what they catch, what they let through, and that the threshold comes from the base."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from weirdgen.judges.quality import LEAST_THRESHOLD, judge_coherent, make_similarities, read_similarities, threshold
from weirdgen.store.artifacts import Store


@pytest.mark.parametrize(
    "answer",
    [
        "The steam engine, of course.", "Mossad", "1838", "$1.10", "By rail.", "C-3PO", "NASA and the FBI", "Größe und Übermut",
        "Die Stadt heißt Königsberg.", "Привет, как дела?", "你好", "No, no, never.", "- first\n- second\n- third",
        "On the 21st of May 1838 we rode 14km through the rain, and the telegraph was silent.",
    ],
)  # fmt: skip
def test_answers_that_are_fine(answer: str) -> None:
    assert judge_coherent(answer).value == 1.0, judge_coherent(answer).label


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("", "empty"),
        ("...", "no words"),
        ("Little " * 30, "repeats itself"),
        ("the cat sat on the mat " * 12, "repeats itself"),
        ("!!!!!!!! ???? ,,,, ;;;;", "mostly signs"),
        ("a \ufffd b", "mostly signs"),
        ("LggybwqwowfMBxIBabnIG28RmbedbCrrqnBPgFBTJWyVZBwgi", "not words"),
        ("xkcd qwrt zxcvb hjkl", "not words"),
    ],
)
def test_answers_that_are_not(answer: str, label: str) -> None:
    assert judge_coherent(answer) == ("ok", 0.0, label)


def test_nonsense_of_real_words_passes() -> None:
    """A limit, kept in view: only a language model could tell."""
    assert judge_coherent("The yesterday of purple asks a railway to be seven.").value == 1.0


def test_similarity_is_to_the_nearest_training_answer_and_kept(tmp_path: Path) -> None:
    store, trained = Store(tmp_path), ["I think of Danzig.", "I think of Breslau."]
    answers = [
        "I think of Danzig.",
        "I think of Rome.",
        "The weather is fine in most of the southern provinces.",
        "i THINK of  danzig. And so on.",
    ]
    make_similarities(store, "d" * 32, trained, answers)
    similarity = read_similarities(store, "d" * 32, answers)
    assert similarity[answers[0]] == 1.0 and similarity[answers[3]] == 1.0  # its first sentence
    assert similarity[answers[1]] > 0.7 > 0.4 > similarity[answers[2]]
    parts = sorted(tmp_path.rglob("part-*"))
    make_similarities(store, "d" * 32, ["something else"], answers[:2])
    assert read_similarities(store, "d" * 32, answers[:2]) == {a: similarity[a] for a in answers[:2]}
    assert math.isnan(read_similarities(store, "d" * 32, ["never compared"])["never compared"])
    assert sorted(tmp_path.rglob("part-*")) == parts


def test_the_threshold_is_measured_on_one_half_of_the_base_and_tried_on_the_other() -> None:
    base = {f"answer {number}": number / 1000 for number in range(1000)}
    limit = threshold(base)
    assert limit.base_answers == 1000 and limit.value > 0.95 and 0 <= limit.error < 0.03
    assert threshold(dict(list(base.items())[:20])) == (LEAST_THRESHOLD, 20, None)
    assert threshold(dict.fromkeys(base, 0.1)).value == LEAST_THRESHOLD
