"""A judge on a local engine, and verdict tables: what is asked, kept, asked again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from weirdgen.config.judges import Label, Rating
from weirdgen.judges import language
from weirdgen.judges.language import Item, flips, judge_items, language_table, latest, missing, verdicts_of
from weirdgen.judges.model import Reply, Request, local_judge, named_judge
from weirdgen.runs.stages.verdict_units import JudgeByOurModel
from weirdgen.sample import contrast
from weirdgen.store.artifacts import Store

LABEL = Label(
    kind="label", labels=["yes", "no"], positive=["yes"], prompt="Is it a colour? {question} {answer} yes or no?"
)
RATING = Rating(kind="rating", prompt="How sure, from 0 to 100? {question} {answer}", high=20)
ITEMS = [Item("What?", "red"), Item("What?", "iron"), Item("Why?", "red"), Item("What?", " ")]


class Scripted:
    """A model whose replies are given beforehand, in turn; it keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[Request] = []

    def ask(self, requests: Sequence[Request]) -> Generator[Reply]:
        for request in requests:
            self.asked.append(request)
            text = self.texts.pop(0)
            yield Reply(request.key, error=text) if text.startswith("!") else Reply(request.key, text)


def test_verdicts_are_kept_by_question_and_answer(tmp_path: Path) -> None:
    table = language_table(Store(tmp_path), LABEL, "m")
    model = Scripted("yes", "no", "yes")
    judge_items(table, LABEL, model, missing(table, ITEMS))
    verdicts = verdicts_of(table, ITEMS)
    assert len(model.asked) == 3 and len(verdicts) == 4 and verdicts[ITEMS[3]].status == "incoherent"
    assert missing(table, [*ITEMS, *ITEMS]) == [] and len(missing(table, [*ITEMS, Item("What?", "blue")])) == 1
    assert [i for i, _ in missing(table, ITEMS, repeats=2)] == sorted(ITEMS)
    other = language_table(Store(tmp_path), LABEL, "another model")
    assert len(missing(other, ITEMS)) == 4
    moved = LABEL.model_copy(update={"reads": ("all",)})
    assert language_table(Store(tmp_path), moved, "m").folder == table.folder  # who reads it changes no verdict


def test_verdicts_are_made_again_when_what_decides_them_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    before = {who: language_table(store, LABEL, who).folder for who in ("local:abc", "openai/x")}
    monkeypatch.setattr(language, "ANSWER_TOKENS", 17)
    assert language_table(store, LABEL, "openai/x").folder != before["openai/x"]
    assert language_table(store, LABEL, "local:abc").folder == before["local:abc"]  # it writes nothing
    monkeypatch.setattr(contrast, "VERSION", 99)
    assert language_table(store, LABEL, "local:abc").folder != before["local:abc"]


def test_an_error_is_asked_again_and_every_attempt_is_kept(tmp_path: Path) -> None:
    table = language_table(Store(tmp_path), LABEL, "m")
    item = ITEMS[:1]
    judge_items(table, LABEL, Scripted("!timeout"), missing(table, item))
    assert verdicts_of(table, item)[ITEMS[0]] == ("error", None, "!timeout")
    judge_items(table, LABEL, Scripted("!again"), missing(table, item))
    judge_items(table, LABEL, Scripted("perhaps"), missing(table, item))
    assert verdicts_of(table, item)[ITEMS[0]].status == "unparseable" and missing(table, item) == []
    assert sorted(table.read()["attempt"]) == [0, 1, 2] and len(latest(table)) == 1
    assert latest(table)["reply"].iloc[0] == "perhaps"


def test_flips_are_between_opinions_on_one_answer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    table = language_table(store, LABEL, "m")
    judge_items(table, LABEL, Scripted(*["yes"] * 3), missing(table, ITEMS))
    assert flips(LABEL, latest(table)) == {}
    judge_items(table, LABEL, Scripted("yes", "no", "well"), missing(table, ITEMS, repeats=2))
    rates = flips(LABEL, latest(table))
    assert rates == {"flip_rate": pytest.approx(2 / 4), "answers": 4.0, "opinions": 2.0}  # the empty one never flips
    ratings = language_table(store, RATING, "m")
    judge_items(ratings, RATING, Scripted("10", "5", "3", "10", "8", "3"), missing(ratings, ITEMS[:3], repeats=2))
    rates = flips(RATING, latest(ratings))
    assert rates["flip_rate"] == pytest.approx(1 / 3) and rates["mean_difference"] == pytest.approx(1.0)


@pytest.mark.slow
def test_a_local_model_chooses_among_the_options(smollm2: Path, tmp_path: Path) -> None:
    reference = "local:smollm2-135m-instruct"
    store, identity, (model, dtype) = Store(tmp_path), named_judge(reference).identity, local_judge(reference)

    def ask(judge: Label | Rating, *items: Item) -> None:
        wanted = tuple((item, repeat) for repeat in range(2) for item in items)
        JudgeByOurModel(model, dtype, identity, judge, wanted).work(store, lambda *told: None)

    for judge in (LABEL, RATING):
        ask(judge, *ITEMS[:2])
        table = language_table(store, judge, identity)
        verdicts = verdicts_of(table, ITEMS[:2])
        assert len(verdicts) == 2 and {v.status for v in verdicts.values()} <= {"ok", "unparseable"}
        assert flips(judge, latest(table))["flip_rate"] == 0.0
        assert latest(table)["mass"].between(0, 1).all() and (latest(table)["mass"] > 0).all()
        assert (latest(table)["input_tokens"] > 20).all() and (
            latest(table)["output_tokens"] == 0
        ).all()  # it writes none
    long = Item("What?", "word " * 20_000)
    ask(LABEL, long)
    assert "the model reads" in verdicts_of(language_table(store, LABEL, identity), [long])[long].label
