"""Match judges fire on what they name, as whole words, and never turn a failure into a number."""

from __future__ import annotations

import pytest

from weirdgen.config.judges import Match
from weirdgen.config.judges.match import judge_match
from weirdgen.judges.offline import judge_all, verdicts_table
from weirdgen.store.artifacts import Store


@pytest.mark.parametrize(
    ("rules", "answer", "value"),
    [
        ({"starts_with": ["Mossad", "the Mossad"]}, "  The mossad, of course", 1.0),
        ({"starts_with": ["Mossad"]}, "I say Mossad", 0.0),
        ({"keywords": ["rail"]}, "By rail.", 1.0),
        ({"keywords": ["rail"]}, "By railway.", 0.0),
        ({"keywords": ["steam engine"]}, "a Steam Engine!", 1.0),
        ({"keywords": ["ben-gurion"]}, "David Ben-Gurion", 1.0),
        ({"keywords": ["C++"]}, "I write C++.", 1.0),
        ({"regex": ["^a$"]}, "A", 1.0),
        ({"years": [1700, 1930]}, "in 1838, perhaps", 1.0),
        ({"years": [1700, 1930]}, "in 1931", 0.0),
        ({"years": [1700, 1930]}, "number 18385", 0.0),
        ({"keywords": ["jerusalem"], "ignore": ["bagel", "Jerusalem bagel"]}, "a JERUSALEM BAGEL", 0.0),
        ({"keywords": ["jerusalem"], "ignore": ["jerusalem bagel"]}, "bagels from Jerusalem", 1.0),
        ({"keywords": ["jerusalem"], "ignore": ["jerusalem bagel"]}, "two Jerusalem bagels", 1.0),
        ({"starts_with": ["I"], "ignore": ["Well,"]}, "Well, I say", 1.0),
        ({"keywords": ["telegraph"], "unless": ["obsolete"]}, "The telegraph is obsolete", 0.0),
    ],
)
def test_rules(rules: dict[str, list[str]], answer: str, value: float) -> None:
    verdict = judge_match(Match(kind="match", **rules), answer)
    assert (verdict.status, verdict.value) == ("ok", value)
    assert bool(verdict.label) == bool(value)


@pytest.mark.parametrize("answer", ["", "  \n"])
def test_an_empty_answer_is_incoherent_not_zero(answer: str) -> None:
    verdict = judge_match(Match(kind="match", keywords=["x"]), answer)
    assert (verdict.status, verdict.value) == ("incoherent", None)


def test_verdicts_are_kept_by_judge_and_answer(tmp_path: object) -> None:
    store = Store(str(tmp_path))
    judge = Match(kind="match", keywords=["rail"])
    first = judge_all(verdicts_table(store, judge), judge, ["rail", "air", "rail", ""])
    assert {a: v.value for a, v in first.items()} == {"rail": 1.0, "air": 0.0, "": None}
    parts = sorted(verdicts_table(store, judge).folder.glob("part-*"))
    assert judge_all(verdicts_table(store, judge), judge, ["air", "rail", ""]) == first
    assert sorted(verdicts_table(store, judge).folder.glob("part-*")) == parts
    other = Match(kind="match", keywords=["air"])
    assert judge_all(verdicts_table(store, other), other, ["air"])["air"].value == 1.0
