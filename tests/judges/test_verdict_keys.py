"""Verdicts of earlier versions are found again: the tables' names of one judge of each kind, written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from weirdgen.config.judges import Classifier, Label, Match, OfflineJudge, PromptedJudge, Rating
from weirdgen.judges.language import Item, language_table
from weirdgen.judges.offline import verdicts_table
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import text_key

MATCH = Match(kind="match", keywords=["rail"], regex=["^a"], years=[1700, 1930], ignore=["x"])
CLASSIFIER = Classifier(kind="classifier", passages="past_style")
LABEL = Label(
    kind="label", labels=["TRUE", "FALSE", "REFUSAL"], positive=["TRUE"], prompt="{question}{answer}", reads=["all"]
)
RATING = Rating(kind="rating", prompt="{question} {answer} or REFUSAL", high=20, reason_first=True)


@pytest.mark.parametrize(
    ("judge", "key"), [(MATCH, "5066be1dc23869c0cdabe8ca153c5989"), (CLASSIFIER, "7f3fce27e42c7b528f94b25e9113fa03")]
)
def test_offline_judges(judge: OfflineJudge, key: str, tmp_path: Path) -> None:
    assert verdicts_table(Store(tmp_path), judge).folder.name == key


@pytest.mark.parametrize(
    ("judge", "model", "key"),
    [
        (LABEL, "openai/gpt", "45ed0a0e9c84f3eb0e043f7af984417e"),
        (LABEL, "local:abc:fp32", "49245e3513eb9b5d35e7f69e6f88e832"),
        (RATING, "openai/gpt", "93734112275ced1ef92a1552684d28cc"),
        (RATING, "local:abc:fp32", "74bd915531e769133307306d22d6ae5c"),
    ],
)
def test_prompted_judges(judge: PromptedJudge, model: str, key: str, tmp_path: Path) -> None:
    assert language_table(Store(tmp_path), judge, model).folder.name == key


def test_an_answer_is_named_by_its_text_even_where_it_is_no_valid_text() -> None:
    assert text_key("rail") == "fdf0d7533af5b16df5f12f5b4d22f357"
    assert text_key("\ud800") != text_key("\ud801") and Item("a", "\ud800").key != Item("a", "\ud801").key
