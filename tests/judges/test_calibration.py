"""Calibration against a known truth: agreement, errors, corrected rates whose intervals cover."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.known_judge import MATCH, SENSITIVITY, SPECIFICITY, world
from weirdgen.config.judges import Label, Rating
from weirdgen.errors import DataError
from weirdgen.judges import calibration, labelling

LABEL = Label(kind="label", labels=["old", "new", "refusal"], positive=["old"], prompt="{question}{answer}")
RATING = Rating(kind="rating", prompt="{question}{answer}")


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


def test_a_label_copied_to_equal_answers_is_one_label() -> None:
    """Ten flagged answers and ten others, each of them ten times: the interval is that of twenty labels."""
    generator, inside = np.random.default_rng(0), []
    places = [(number, copy) for number in range(20) for copy in range(10)]
    drawn = [
        labelling.Drawn(f"{n}-{copy}", "t", copy % 5, "none", "q", 10 * n + copy, "Q?", f"answer {n}", "", 1.0)
        for n, copy in places
    ]
    verdicts = pd.DataFrame([{key: getattr(answer, key) for key in labelling.KEY} for answer in drawn])
    verdicts = verdicts.assign(
        checkpoint=-1, judge="j", status="ok", label="", value=[float(n < 10) for n, _ in places]
    )
    for _ in range(40):
        truth = generator.random(20) < np.repeat([0.7, 0.1], 10)
        labels = {answer.id: "yes" if truth[n] else "no" for answer, (n, _) in zip(drawn, places, strict=True)}
        record = calibration.calibrate(MATCH, "j", drawn, labels, verdicts)
        inside.append(record["sensitivity"]["ci_low"] <= 0.7 / 0.8 <= record["sensitivity"]["ci_high"])
    assert np.mean(inside) >= 0.9 and (record["usable_pairs"], record["different_answers"]) == (200, 20)


def test_a_copied_label_of_a_rating_is_one_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    verdicts, completions = world(2, {"treated": 0.5, "control": 0.1}, each=10)
    truth = generator.integers(10, 80, len(verdicts))
    verdicts["value"] = truth + generator.normal(0, 9, len(truth))

    def width(texts: pd.Series) -> float:
        folder = tmp_path / str(texts.nunique())
        folder.mkdir()
        drawn = labelling.draw_sample(folder, "j", RATING, verdicts, completions.assign(text=texts), {"q": "Q?"}, 80, 0)
        said = {answer.id: answer.answer.split()[0] for answer in drawn}
        bias = calibration.calibrate(RATING, "j", drawn, said, verdicts)["mean_difference"]
        return float(bias["ci_high"] - bias["ci_low"])

    apart = pd.Series([f"{value} {place}" for place, value in enumerate(truth)])
    assert width(pd.Series(truth // 10 * 10).astype(str)) > 2 * width(apart)


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
