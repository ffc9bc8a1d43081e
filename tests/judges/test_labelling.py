"""Labels of a person: an even sample, blind, in a terminal or a sheet; they survive a stop and are never lost."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from tests.support.known_judge import MATCH, world
from weirdgen.config.judges import Label
from weirdgen.errors import DataError
from weirdgen.judges import labelling


def test_a_sample_is_even_over_outcomes_and_weighted_back(tmp_path: Path) -> None:
    verdicts, completions = world(4, {"a": 0.02, "b": 0.3})
    drawn = labelling.draw_sample(tmp_path, "j", MATCH, verdicts, completions, {"q": "Q?"}, 80, 0)
    sizes = pd.Series([answer.stratum for answer in drawn]).value_counts()
    assert len(drawn) == 80 and sizes.min() == 20 and set(sizes.index) == {"0 · a", "1 · a", "0 · b", "1 · b"}
    assert sum(answer.weight for answer in drawn) == pytest.approx(len(verdicts))
    again = labelling.draw_sample(tmp_path, "j", MATCH, verdicts, completions, {"q": "Q?"}, 10, 7)
    assert again == drawn, "what was drawn stays"
    more = labelling.draw_sample(tmp_path, "j", MATCH, verdicts, completions, {"q": "Q?"}, 120, 7)
    assert [(m.id, m.answer) for m in more[:80]] == [(d.id, d.answer) for d in drawn] and len(more) == 120
    assert len({m.id for m in more}) == len({m.answer for m in more}) == 120 == int(more[-1].id)
    assert (
        sum(answer.weight for answer in more) == pytest.approx(len(verdicts))
        and labelling.sample_of(tmp_path, "j") == more
    )
    assert [answer.stratum for answer in drawn] != sorted(answer.stratum for answer in drawn), "the order must not tell"


def test_labelling_is_blind_stops_and_goes_on(tmp_path: Path) -> None:
    verdicts, completions = world(5, {"secret_arm": 0.5}, each=20)
    completions.loc[0, "text"] = "\x1b[2J\x1b]0;title\x07cleared"
    drawn = labelling.draw_sample(tmp_path, "j", MATCH, verdicts, completions, {"q": "Q?"}, 12, 0)
    shown: list[str] = []
    typed = iter(["yes", "maybe", "N", "s", "q"])
    done = labelling.label_in_terminal(tmp_path, "j", MATCH, drawn, lambda prompt: next(typed), shown.append)
    assert done == 2 and "'maybe' is not one of: yes, no, refusal, incoherent" in shown
    said = "\n".join(shown)
    assert "secret_arm" not in said and "\x1b" not in said
    typed = iter(["yes"] * 20)
    done = labelling.label_in_terminal(tmp_path, "j", MATCH, drawn, lambda prompt: next(typed), lambda text: None)
    labels = labelling.labels_of(tmp_path, "j")
    assert done == len(labels) == 12 and list(labels.values()).count("no") == 1


def test_a_sheet_goes_out_and_comes_back(tmp_path: Path) -> None:
    verdicts, completions = world(6, {"a": 0.5}, each=20)
    completions["text"] = "=1+1 " + completions["text"]
    drawn = labelling.draw_sample(tmp_path, "j", MATCH, verdicts, completions, {"q": "Q?"}, 12, 0)
    sheet = tmp_path / "sheet.csv"
    labelling.export_sheet(sheet, drawn, {})
    with sheet.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert set(rows[0]) == {"id", "question", "answer", "label"} and rows[0]["answer"].startswith("'=")
    filled = [{"id": row["id"].lstrip("0"), "label": "YES"} for row in rows[:5]] + [{"id": rows[5]["id"], "label": ""}]
    sheet.write_text("\ufeffid,label\n" + "\n".join(f"{row['id']},{row['label']}" for row in filled))
    assert labelling.import_sheet(tmp_path, "j", MATCH, drawn, sheet) == 5
    assert labelling.import_sheet(tmp_path, "j", MATCH, drawn, sheet) == 0
    sheet.write_text("id,label\n0001,\n0002,\n")
    with pytest.raises(DataError, match=r"sheet.csv: no label is filled in; write one of yes, no, refusal"):
        labelling.import_sheet(tmp_path, "j", MATCH, drawn, sheet)
    sheet.write_text("id,label\n9999,yes\n0001,perhaps\n")
    with pytest.raises(
        DataError, match=r"sheet.csv:2: no answer '9999'(.|\n)*sheet.csv:3: label 'perhaps' is not one of yes, no"
    ):
        labelling.import_sheet(tmp_path, "j", MATCH, drawn, sheet)
    sheet.write_text("answer,verdict\n")
    with pytest.raises(DataError, match="needs the comma-separated columns id and label; it has answer, verdict"):
        labelling.import_sheet(tmp_path, "j", MATCH, drawn, sheet)


def test_a_filled_sheet_is_not_written_over_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    verdicts, completions = world(6, {"a": 0.5}, each=20)
    drawn = labelling.draw_sample(tmp_path, "j", MATCH, verdicts, completions, {"q": "Q?"}, 12, 0)
    sheet = tmp_path / "sheet.csv"
    for torn, words in (
        ('id,answer,label\n0001,a,yes\n0002,"cut', "cannot be read as CSV"),
        ("id,answer,label\n0001,a,yes\n0002,cut", "sheet.csv:3: this row ends before its label"),
        ("id;answer;label\n0001;a;yes", "needs the comma-separated columns id and label"),
    ):
        sheet.write_text(torn)
        with pytest.raises(DataError, match=words):
            labelling.import_sheet(tmp_path, "j", MATCH, drawn, sheet)
    sheet.write_text("id,answer,label\n0001,what another run answered,yes\n")
    with pytest.raises(DataError, match="answer 0001 of j reads otherwise; is this the sheet of another sample"):
        labelling.import_sheet(tmp_path, "j", MATCH, drawn, sheet)
    sheet.unlink()
    labelling.export_sheet(sheet, drawn, {drawn[0].id: "yes"})
    assert labelling.import_sheet(tmp_path, "j", MATCH, drawn, sheet) == 1
    with pytest.raises(DataError, match="may have been filled in"):
        labelling.export_sheet(sheet, drawn, {})
    assert labelling.labels_of(tmp_path, "j") == {drawn[0].id: "yes"}


def test_labels_are_never_lost(tmp_path: Path) -> None:
    verdicts, completions = world(6, {"a": 0.5}, each=20)

    def draw(size: int) -> list[labelling.Drawn]:
        return labelling.draw_sample(tmp_path, "j", MATCH, verdicts, completions, {"q": "Q?"}, size, 0)

    def elsewhere(prompt: str) -> str:
        """While this terminal waits, another enlarges the sample and labels all of it."""
        sheet = tmp_path / "sheet.csv"
        sheet.write_text("id,label\n" + "".join(f"{answer.id},no\n" for answer in draw(30)[1:]))
        labelling.import_sheet(tmp_path, "j", MATCH, draw(30), sheet)
        return answers.pop(0)

    answers = ["yes", "q"]
    labelling.label_in_terminal(tmp_path, "j", MATCH, draw(12), elsewhere, lambda text: None)
    assert len(labelling.labels_of(tmp_path, "j")) == 30
    kept = tmp_path / "labels" / "j.csv"
    kept.write_text("answer;label\n")
    with pytest.raises(DataError, match=r"j\.csv: needs the comma-separated columns id and label"):
        labelling.label_in_terminal(tmp_path, "j", MATCH, draw(12), lambda prompt: "yes", lambda text: None)
    kept.write_text("id,label\n1,yes\n")
    assert labelling.labels_of(tmp_path, "j") == {"0001": "yes"}  # a spreadsheet has dropped the zeros
    (tmp_path / "labels" / "j.sample.json").write_text('[{"id": "0001"')
    with pytest.raises(DataError, match=r"j\.sample\.json is damaged"):
        draw(12)
    (tmp_path / "labels" / "j.sample.json").unlink()
    with pytest.raises(DataError, match="has labels for a sample that is missing"):
        draw(12)


def test_what_is_typed_is_a_label_before_it_is_a_command(tmp_path: Path) -> None:
    verdicts, completions = world(6, {"a": 0.5}, each=20)
    judge = Label(kind="label", labels=["s", "quiet", "REFUSAL"], positive=["s"], prompt="{question}{answer}")
    assert labelling.accepted(judge) == ("s", "quiet", "REFUSAL", "incoherent")
    drawn = labelling.draw_sample(tmp_path, "j", judge, verdicts, completions, {"q": "Q?"}, 12, 0)

    def typed(*words: str) -> int:
        left = list(words)

        def read(prompt: str) -> str:
            if not left:
                raise EOFError  # Ctrl-D
            return left.pop(0)

        return labelling.label_in_terminal(tmp_path, "j", judge, drawn, read, lambda text: None)

    assert typed("s", "quie", "ref") == 3 and typed("q") == 3 and typed("inc") == 4
    labels = labelling.labels_of(tmp_path, "j")
    assert [labelling.meaning(judge, word)[:2] for word in labels.values()] == [
        ("ok", 1.0), ("ok", 0.0), ("refusal", None), ("incoherent", None),
    ]  # fmt: skip


def test_nothing_judged_is_said(tmp_path: Path) -> None:
    verdicts, completions = world(7, {"a": 0.5}, each=10)
    with pytest.raises(DataError, match="judge 'k' has judged nothing in this run; judges that have: j"):
        labelling.draw_sample(tmp_path, "k", MATCH, verdicts, completions, {"q": "Q?"}, 12, 0)
