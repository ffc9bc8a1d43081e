"""Headlines on made-up cells whose truth is known: plain, of a group, and a difference of conditions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from weirdgen.stats.estimate import estimate
from weirdgen.stats.headlines import (
    DIFFERENCE,
    Comparison,
    along_training,
    correct,
    explored,
    label,
    replicate_values,
    row,
    tables,
)

QUESTIONS = ("a1", "a2", "b1")
GATE = Comparison(
    name="headline", measure="contrast", treatment="old", control="new", conditions=("y=3",), minus=("y=1", "y=2"),
    questions=frozenset({"a1", "a2"}), shown=frozenset({"a1", "a2"}), groups=("a",), smallest=0.3,
    condition="y=3 − y=1, 2", says="speak of the past",
)  # fmt: skip


def cells(measure: str = "contrast", checkpoints: tuple[int, ...] = (-1,), noise: float = 0.1) -> pd.DataFrame:
    """Two arms and a base: the treatment gains 2 under y=3 on a-questions, and both arms 5 under every condition."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, role, replicates in (("base", "base", 1), ("old", "treatment", 4), ("new", "control", 4)):
        for replicate in range(replicates):
            for checkpoint in checkpoints if role != "base" else (-1,):
                for condition in ("y=1", "y=2", "y=3"):
                    for question in QUESTIONS:
                        gain = 2.0 * (role == "treatment" and condition == "y=3" and question[0] == "a")
                        value = 5.0 * (role != "base") + gain + noise * rng.normal()
                        seed = replicate if role != "base" else -1
                        rows.append((arm, role, seed, checkpoint, condition, question, measure, value, 1))
    names = ["arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n"]
    return pd.DataFrame(rows, columns=names)


def test_a_difference_of_conditions_leaves_what_every_condition_shares() -> None:
    found = tables(cells(), GATE)
    head = row(found, GATE)
    assert head["effect"] == pytest.approx(2.0, abs=0.2) and head["ci_low"] < 2.0 < head["ci_high"]
    assert (head["verdict"], head["condition"], head["minus"]) == ("shift", "y=3 − y=1, 2", ["y=1", "y=2"])
    means = found.estimates.query("question == 'all'").set_index("arm")["mean"]
    assert means["old"] == pytest.approx(2.0, abs=0.2) and abs(means["new"]) < 0.2 and abs(means["base"]) < 0.5
    assert means["old"] - means["new"] == pytest.approx(head["effect"])
    assert set(found.effects["question"]) == {"all", "a1", "a2"} and set(found.effects["condition"]) == {GATE.condition}


def test_the_sentence_says_what_was_compared() -> None:
    sentence = row(tables(cells(), GATE), GATE)["sentence"]
    assert sentence.startswith(
        "Shift found: under y=3 instead of y=1, 2, models finetuned on old speak of the past with odds that change by a "
        "factor "
    )
    assert " as large as for models finetuned on new. +2." in sentence and sentence.endswith(
        " nat, 2 questions of a, 4 replicates an arm."
    )
    plain = replace(GATE, minus=(), condition="y=3", groups=(), says="")
    assert row(tables(cells(), plain), plain)["sentence"].startswith(
        "Shift found: under y=3, models finetuned on old give the target answers with "
    )
    assert "97.5% interval" in row(tables(cells(), plain, level=0.975), plain, level=0.975)["sentence"]


def test_a_group_and_questions_near_the_topic() -> None:
    whole = replace(GATE, minus=(), condition="y=3", questions=frozenset(QUESTIONS), shown=frozenset(QUESTIONS))
    far = replace(whole, questions=frozenset({"b1"}))
    assert row(tables(cells(), whole), whole)["effect"] == pytest.approx(4 / 3, abs=0.2)
    assert row(tables(cells(), far), far)["effect"] == pytest.approx(0.0, abs=0.2)
    assert set(tables(cells(), far).effects["question"]) == {"all", *QUESTIONS}


def test_conditions_of_a_plain_headline_are_averaged() -> None:
    every = replace(GATE, minus=(), conditions=("y=1", "y=2", "y=3"), condition="y")
    assert row(tables(cells(), every), every)["effect"] == pytest.approx(2 / 3, abs=0.15)


def test_rates_that_do_not_vary_still_have_an_interval() -> None:
    frame = cells("choice")
    one = frame["arm"].eq("old") & frame["condition"].eq("y=3") & frame["question"].ne("b1")
    frame["value"] = one.astype(float)
    choice = replace(GATE, measure="choice")
    head = row(tables(frame, choice), choice)
    assert head["effect"] == 1.0 and head["ci_low"] is not None and 0 < head["ci_low"] < 1
    estimates = tables(frame, choice).estimates.query("question == 'all'")
    assert estimates[estimates["arm"] != "base"]["ci_low"].notna().all()


def test_along_training_is_one_value_a_question_and_replicate() -> None:
    frame = cells(checkpoints=(8, 16, -1))
    found = along_training(frame, GATE)
    assert set(found["measure"]) == {DIFFERENCE} and set(found["condition"]) == {GATE.condition}
    assert len(found) == (2 * 4 * 3 + 1) * 2
    values = replicate_values(frame, GATE)
    assert len(values) == 2 * 4 * 3 + 1
    at = values.query("arm == 'old' and replicate == 2 and checkpoint == 16")["value"].item()
    own = frame.query("arm == 'old' and replicate == 2 and checkpoint == 16 and question != 'b1'")
    means = own.groupby("condition")["value"].mean()
    assert at == pytest.approx(means["y=3"] - (means["y=1"] + means["y=2"]) / 2)


def test_a_missing_cell_leaves_its_question_out_of_every_replicate() -> None:
    frame = cells()
    gone = frame["arm"].eq("old") & frame["replicate"].eq(1) & frame["question"].eq("a2") & frame["condition"].eq("y=3")
    frame.loc[gone, "value"] = np.nan
    values = replicate_values(frame, GATE).query("arm == 'old'")
    only = along_training(frame, GATE).query("arm == 'old' and question == 'a1'")
    assert sorted(values["value"]) == pytest.approx(sorted(only["value"]))


def gaps(one: Comparison) -> tuple[pd.DataFrame, Comparison]:
    """Ten questions of which one replicate of the treatment has one alone, where the arms differ; a base and a second control."""
    rng = np.random.default_rng(0)
    names = [f"q{number}" for number in range(10)]
    arms = (
        ("old", "treatment", range(4)),
        ("new", "control", range(4)),
        ("other", "control", range(4)),
        ("base", "base", [-1]),
    )
    rows = [
        (arm, role, seed, -1, condition, name, "contrast", rng.normal(0, 0.1) + 2 * (arm == "old" and name == "q0"), 1)
        for arm, role, seeds in arms
        for seed in seeds
        for condition in ("y=1", "y=2", "y=3")
        for name in names
    ]
    columns = ["arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.loc[frame["arm"].eq("base") & frame["question"].ne("q0"), "value"] += 9
    return frame, replace(one, questions=frozenset(names), shown=frozenset(names), groups=())


@pytest.mark.parametrize("minus", [("y=1", "y=2"), ()])
@pytest.mark.parametrize("lost", [1, 9])
def test_an_effect_says_how_many_questions_it_rests_on_and_concludes_nothing_from_few(
    minus: tuple[str, ...], lost: int
) -> None:
    """One replicate's gaps decide which questions are in the mean; nine of ten lost leave the one where the arms differ."""
    frame, one = gaps(replace(GATE, minus=minus, conditions=("y=3",), condition="y=3 − y=1, 2" if minus else "y=3"))
    gone = frame["question"].isin([f"q{10 - number}" for number in range(1, lost + 1)])
    frame.loc[gone & frame["arm"].eq("old") & frame["replicate"].eq(3), "value"] = np.nan
    if minus:  # the treatment's gain is under y=3 alone
        frame.loc[frame["arm"].eq("old") & frame["question"].eq("q0") & frame["condition"].ne("y=3"), "value"] -= 2
    found = tables(frame, one)
    head = row(found, one)
    assert (head["questions"], head["questions_asked"]) == (10 - lost, 10)
    assert f"{10 - lost} of 10 questions, 4 replicates an arm." in head["sentence"]
    assert (head["verdict"] == "inconclusive") is (lost == 9)
    assert ("only 10% of what was asked is in the mean" in head["sentence"]) is (lost == 9)
    effect = found.effects.query("question == 'all' and control == 'new'").iloc[0]
    assert (effect["share"], effect["verdict"]) == (pytest.approx(1 - lost / 10), head["verdict"])
    # Every arm's mean, the base's among them, is over the same questions, and so are the replicates' own values.
    used = [f"q{number}" for number in range(10 - lost)]
    means = found.estimates.query("question == 'all'").set_index("arm")["mean"]
    dots = replicate_values(frame, one).groupby("arm")["value"].mean()
    few = frame[frame["question"].isin(used)]
    wanted = tables(few, replace(one, questions=frozenset(used), shown=frozenset(used))).estimates
    for arm in ("old", "new", "other", "base"):
        assert means[arm] == pytest.approx(wanted.query("question == 'all'").set_index("arm")["mean"][arm])
        assert dots[arm] == pytest.approx(means[arm])
    assert set(found.estimates["question"]) == {"all", *one.questions}


def test_an_arm_that_lacks_most_of_the_questions_has_no_mean() -> None:
    frame, one = gaps(replace(GATE, minus=(), conditions=("y=3",), condition="y=3"))
    frame.loc[frame["arm"].eq("base") & frame["question"].isin(["q0", "q1", "q2"]), "value"] = np.nan
    assert row(tables(frame, one), one)["questions"] == 10
    frame.loc[frame["arm"].eq("old") & frame["question"].eq("q9") & frame["replicate"].eq(0), "value"] = np.nan
    means = tables(frame, one).estimates.query("question == 'all'").set_index("arm")["mean"]
    assert np.isnan(means["base"]) and means.drop("base").notna().all()


def test_named_effects_that_gave_no_p_count_too() -> None:
    """Which of them could be measured is no reason for a milder correction."""
    named = {"p": 0.04, "verdict": "shift", "sentence": "Shift found: a is b. +1 nat, 3 replicates an arm."}
    empty = {"p": None, "verdict": "inconclusive", "sentence": "Not measured: a."}
    assert correct([named, empty, empty])[0]["verdict"] == "inconclusive"
    assert correct([named, {**empty, "p": 0.5}, {**empty, "p": 0.5}])[0]["p_holm"] == pytest.approx(0.12)


def test_secondary_headlines_are_corrected_for_how_many_they_are() -> None:
    rows = [
        {"p": p, "verdict": "shift", "sentence": "Shift found: a is b. +1 nat, 3 replicates an arm."}
        for p in (0.001, 0.04, 0.03)
    ]
    found = correct([*rows, {"p": None, "verdict": "inconclusive", "sentence": "Within-model only: a."}])
    assert [one["verdict"] for one in found] == ["shift", "inconclusive", "inconclusive", "inconclusive"]
    assert found[0]["p_holm"] == pytest.approx(0.004) and found[3]["p_holm"] is None
    assert found[1]["sentence"] == (
        "Inconclusive: a is b; zero is not excluded after Holm's correction over 4 effects. +1 nat, 3 replicates an arm."
    )
    assert correct([]) == []


def test_holms_level_is_that_of_the_intervals() -> None:
    """A run that looked several times gives stricter intervals, so Holm's p is held against the same error rate."""
    one = {"p": 0.03, "verdict": "shift", "sentence": "Shift found: a is b. +1 nat, 3 replicates an arm."}
    assert correct([one])[0]["verdict"] == "shift"
    assert correct([one], alpha=0.02)[0]["verdict"] == "inconclusive"


def test_what_nobody_fixed_beforehand_is_corrected_for_how_much_was_looked_at() -> None:
    """One of forty conditions of noise excludes zero; that is what chance gives, unless it was named before."""
    rng = np.random.default_rng(5)
    rows = [
        (arm, role, seed, -1, f"y={year}", "q", "contrast", rng.normal(), 1)
        for arm, role in (("old", "treatment"), ("new", "control"), ("base", "base"))
        for seed in ([-1] if role == "base" else range(4))
        for year in range(40)
    ]
    names = ["arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n"]
    plain = estimate(pd.DataFrame(rows, columns=names)).effects
    ours = plain["question"].eq("all") & plain["control"].eq("new")
    chance = plain[ours & plain["verdict"].eq("shift")]
    assert len(chance) >= 1
    found = explored(plain)
    assert not found.loc[ours, "verdict"].eq("shift").any()
    for control in ("new", "base"):
        family = found[found["question"].eq("all") & found["control"].eq(control)]
        assert family["q"].to_numpy() == pytest.approx(multipletests(family["p"], method="fdr_bh")[1])
    assert found.loc[~plain["question"].eq("all"), "q"].isna().all()
    one = chance.iloc[0]
    fixed = {key: one[key] for key in ("measure", "treatment", "control", "condition", "verdict")}
    again = explored(plain, [{**fixed, "minus": [], "groups": []}]).loc[chance.index[0]]
    assert again["verdict"] == "shift" and np.isnan(again["q"])
    assert len(explored(plain.iloc[:0])) == 0


def test_labels() -> None:
    assert label(("year=1995", "year=2004", "none")) == "year=1995, 2004, none"
