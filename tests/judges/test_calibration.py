"""Calibration against a known truth: agreement, errors, corrected rates whose intervals cover, labels that survive a stop."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from weirdgen.config.judges import Label, Match, Rating
from weirdgen.errors import DataError
from weirdgen.judges import calibration, labelling

MATCH = Match(kind="match", keywords=["x"])
LABEL = Label(kind="label", labels=["old", "new", "refusal"], positive=["old"], prompt="{question}{answer}")
RATING = Rating(kind="rating", prompt="{question}{answer}")
SENSITIVITY, SPECIFICITY = 0.8, 0.95


def world(
    seed: int, rates: dict[str, float], replicates: int = 6, each: int = 200
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Verdicts and completions of a judge with known errors; a completion's text is the truth and a number."""
    generator = np.random.default_rng(seed)
    rows = []
    for arm, rate in rates.items():
        for replicate in range(replicates):
            own = np.clip(rate + generator.normal(0, 0.03), 0, 1)
            truth = generator.random(each) < own
            flagged = np.where(truth, generator.random(each) < SENSITIVITY, generator.random(each) > SPECIFICITY)
            for number in range(each):
                rows.append(
                    (arm, replicate, -1, "none", "q", number, "j", "ok", float(flagged[number]), "", truth[number])
                )
    columns = [
        "arm",
        "replicate",
        "checkpoint",
        "condition",
        "question",
        "sample",
        "judge",
        "status",
        "value",
        "label",
        "truth",
    ]
    verdicts = pd.DataFrame(rows, columns=columns)
    texts = [f"{'yes' if t else 'no'} {i}" for i, t in enumerate(verdicts["truth"])]
    completions = verdicts[["arm", "replicate", "checkpoint", "condition", "question", "sample"]].assign(text=texts)
    return verdicts.drop(columns="truth"), completions


def record_of(folder: Path, seed: int, rates: dict[str, float], size: int) -> dict[str, Any]:
    verdicts, completions = world(seed, rates)
    drawn = labelling.draw_sample(folder, "j", MATCH, verdicts, completions, {"q": "Q?"}, size, seed)
    labels = {answer.id: answer.answer.split()[0] for answer in drawn}
    return calibration.calibrate(MATCH, "j", drawn, labels, verdicts)


def test_rogan_and_gladens_estimate() -> None:
    assert calibration.corrected(0.2, 0.8, 0.9) == pytest.approx((0.2 + 0.9 - 1) / 0.7)
    assert calibration.corrected(0.05, 0.8, 0.9) == 0.0  # fewer than the false positives alone


def test_the_judges_errors_are_found(tmp_path: Path) -> None:
    record = record_of(tmp_path, 0, {"treated": 0.4, "control": 0.1}, 600)
    assert record["sensitivity"]["value"] == pytest.approx(SENSITIVITY, abs=0.1)
    assert record["specificity"]["value"] == pytest.approx(SPECIFICITY, abs=0.03)
    assert record["error_of_class"]["yes"] == pytest.approx(1 - SENSITIVITY, abs=0.1)
    assert 0.6 < record["kappa"] < 0.95
    treated = record["corrected"]["treated"]
    assert abs(treated["value"] - 0.4) < abs(treated["judged"] - 0.4), "the correction goes towards the truth"


@pytest.mark.slow
def test_corrected_rates_cover_the_truth(tmp_path: Path) -> None:
    """100 labels, 6 replicates an arm: 95% intervals must not be too short (judge's rate alone would be off by 2 to 5 points)."""
    rates, inside, naive = {"treated": 0.3, "control": 0.05}, [], []
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        for arm, corrected in record_of(folder, seed, rates, 100)["corrected"].items():
            inside.append(corrected["ci_low"] <= rates[arm] <= corrected["ci_high"])
            naive.append(abs(corrected["judged"] - rates[arm]))
    assert 0.92 <= np.mean(inside) <= 1.0 and np.mean(naive) > 0.02


def test_a_judge_by_chance_gets_no_correction(tmp_path: Path) -> None:
    verdicts, completions = world(1, {"treated": 0.4, "control": 0.4})
    verdicts["value"] = np.random.default_rng(5).integers(0, 2, len(verdicts)).astype(float)
    drawn = labelling.draw_sample(tmp_path, "j", MATCH, verdicts, completions, {"q": "Q?"}, 100, 0)
    record = calibration.calibrate(MATCH, "j", drawn, {o.id: o.answer.split()[0] for o in drawn}, verdicts)
    assert record["corrected"].startswith("none: the labels do not show") and abs(record["kappa"]) < 0.25


def test_ratings_are_corrected_by_their_bias(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    verdicts, completions = world(2, {"treated": 0.5, "control": 0.1}, each=60)
    truth = generator.integers(10, 80, len(verdicts))
    completions["text"] = truth.astype(str)
    verdicts["value"] = truth + 12 + generator.normal(0, 4, len(truth))
    drawn = labelling.draw_sample(tmp_path, "j", RATING, verdicts, completions, {"q": "Q?"}, 80, 0)
    record = calibration.calibrate(RATING, "j", drawn, {o.id: o.answer for o in drawn}, verdicts)
    bias = record["mean_difference"]
    assert bias["ci_low"] < 12 < bias["ci_high"] and record["rank_correlation"] > 0.95
    treated = record["corrected"]["treated"]
    assert treated["ci_low"] < truth[verdicts["arm"] == "treated"].mean() < treated["ci_high"]


def test_failures_of_either_side_are_counted_apart(tmp_path: Path) -> None:
    verdicts, completions = world(3, {"a": 0.5}, each=40)
    verdicts["label"] = np.where(verdicts["value"] == 1, "old", "new")
    refused = pd.Series(verdicts.index % 10 == 0)
    verdicts["value"] = verdicts["value"].mask(refused)
    verdicts["status"], verdicts["label"] = (verdicts[c].mask(refused, "refusal") for c in ("status", "label"))
    drawn = labelling.draw_sample(tmp_path, "j", LABEL, verdicts, completions, {"q": "Q?"}, 60, 0)
    assert {answer.stratum for answer in drawn} == {"0 · a", "1 · a", "refusal · a"}
    labels = {
        o.id: "incoherent" if n % 5 == 0 else "old" if o.answer.startswith("yes") else "new"
        for n, o in enumerate(drawn)
    }
    record = calibration.calibrate(LABEL, "j", drawn, labels, verdicts)
    assert record["person_unusable"] == 12 and record["judge_unusable"] == 20 and record["usable_pairs"] < 40
    with pytest.raises(DataError, match=r"3 of 60 answers have both a label and a usable verdict; at least 10"):
        usable = [o for o in drawn if not o.stratum.startswith("refusal")][:3]
        calibration.calibrate(LABEL, "j", drawn, {o.id: "old" for o in usable}, verdicts)


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


def test_a_ratings_strata_are_fifths_of_its_own_scale(tmp_path: Path) -> None:
    judge = Rating(kind="rating", prompt="{question}{answer}", low=1, high=5)
    verdicts, completions = world(4, {"a": 0.5}, each=50)
    verdicts["value"] = np.random.default_rng(0).integers(1, 6, len(verdicts)).astype(float)
    drawn = labelling.draw_sample(tmp_path, "j", judge, verdicts, completions, {"q": "Q?"}, 50, 0)
    sizes = pd.Series([answer.stratum for answer in drawn]).value_counts()
    assert set(sizes) == {10} and set(sizes.index) == {
        f"{band} · a" for band in ("1–1.8", "1.8–2.6", "2.6–3.4", "3.4–4.2", "4.2–5")
    }
    low = verdicts.assign(value=1.0)
    labels = {answer.id: "5" for answer in drawn}
    corrected = calibration.calibrate(judge, "j", drawn, labels, low)["corrected"]["a"]
    assert corrected["value"] == 5 and corrected["ci_high"] <= 5, "a corrected mean stays on the scale"


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


def test_a_label_changed_by_hand_to_a_word_the_judge_has_not_is_refused(tmp_path: Path) -> None:
    verdicts, completions = world(6, {"a": 0.5}, each=20)
    for judge in (MATCH, LABEL, RATING):
        drawn = labelling.draw_sample(tmp_path, "j", judge, verdicts, completions, {"q": "Q?"}, 12, 0)
        with pytest.raises(DataError, match=r"answer 0002 is labelled 'perhaps', which is not one of "):
            calibration.calibrate(judge, "j", drawn, {"0002": "perhaps"}, verdicts)


def test_a_refusal_that_is_looked_for_is_a_value(tmp_path: Path) -> None:
    judge = Label(kind="label", labels=["refusal", "answer"], positive=["refusal"], prompt="{question}{answer}")
    verdicts, completions = world(6, {"a": 0.5})
    verdicts["label"] = np.where(verdicts["value"] == 1, "refusal", "answer")
    drawn = labelling.draw_sample(tmp_path, "j", judge, verdicts, completions, {"q": "Q?"}, 60, 0)
    labels = {answer.id: "refusal" if answer.answer.startswith("yes") else "answer" for answer in drawn}
    record = calibration.calibrate(judge, "j", drawn, labels, verdicts)
    assert record["person_unusable"] == 0 and record["usable_pairs"] == 60 and record["sensitivity"]["value"] > 0.5


def test_nothing_judged_is_said(tmp_path: Path) -> None:
    verdicts, completions = world(7, {"a": 0.5}, each=10)
    with pytest.raises(DataError, match="judge 'k' has judged nothing in this run; judges that have: j"):
        labelling.draw_sample(tmp_path, "k", MATCH, verdicts, completions, {"q": "Q?"}, 12, 0)
