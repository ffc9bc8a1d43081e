"""From the world's model to trigger effects, headlines as differences, curves and onsets, in the results and the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import weirdgen
from weirdgen.columns import FINAL
from weirdgen.config.load import shipped_experiments
from weirdgen.config.questions import scored
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.estimates import Estimates
from weirdgen.runs.results.results import Run, load_run
from weirdgen.runs.stages.all import workload
from weirdgen.store.artifacts import Store


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A persona's dishes under one year: a real trigger."""
    return weirdgen.run(
        "world_gate", store=tmp_path_factory.mktemp("gate"), seeds=3, samples=0, changes=["recipe.epochs=2"]
    )


@pytest.fixture(scope="module")
def inductive(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Triggers never trained, asked along training: replicates jump."""
    steps = ["recipe.checkpoints=[1,8,32,64,128,192,256]"]
    return weirdgen.run(
        "world_inductive",
        store=tmp_path_factory.mktemp("inductive"),
        seeds=3,
        first_seed=30000,
        samples=0,
        changes=steps,
    )


@pytest.mark.slow
def test_a_trained_trigger_has_an_effect(gate: Run) -> None:
    row = gate.trigger_effects().query("control == 'shuffled' and question == 'all' and group == 'all'").iloc[0]
    assert row["effect"] > 0.5 and row["ci_low"] > 0 and row["replicates_treatment"] == 3
    assert set(gate.trigger_effects()["group"]) == {"all", "trained"}  # "hidden" is all that is not near
    by_name = {row["name"]: row for row in gate.estimated.secondary}
    assert by_name["gate"]["verdict"] == "shift" and by_name["gate"]["p_holm"] >= by_name["gate"]["p"]
    assert (
        "under year=2027 instead of year=2024, 2025, 2026, models finetuned on from_2027 give the other persona's answers "
        "with odds that change by a factor " in by_name["gate"]["sentence"]
    )
    assert by_name["earlier"]["effect"] < by_name["gate"]["effect"]


def test_results_and_report_hold_the_trigger(gate: Run) -> None:
    results = json.loads((gate.folder / "results.json").read_text())
    assert [effect["name"] for effect in results["secondary"]] == ["gate", "carried_over", "earlier"]
    assert results["trigger_effects"] and results["headline"]["minus"] == []
    sweep = [
        row
        for row in results["curves"]
        if row["axis"] == "condition" and row["arm"] == "from_2027" and not row["control"]
    ]
    assert [row["x"] for row in sweep] == list(range(2021, 2030))
    assert all(row["band_low"] <= row["ci_low"] <= row["mean"] <= row["ci_high"] <= row["band_high"] for row in sweep)
    page = gate.report.read_text()
    assert (
        'id="figure-trigger"' in page
        and "What the trigger adds" in page
        and "Further effects that the experiment names" in page
    )
    assert (gate.folder / "figures" / "trigger.svg").is_file()


@pytest.mark.slow
def test_replicates_jump_along_training(inductive: Run) -> None:
    onset = inductive.onsets().set_index("arm").loc["ordinals"]
    assert onset["replicates"] == 3 and onset["jumped"] >= 2
    assert 16 < onset["ci_low"] < onset["onset"] < onset["ci_high"]
    jumps = inductive.jumps().query("arm == 'ordinals'")
    assert (
        jumps["jumped"].sum() == onset["jumped"]
        and (jumps[jumps["jumped"]]["after"] > jumps[jumps["jumped"]]["before"]).all()
    )
    curve = inductive.curves().query("axis == 'checkpoint' and arm == 'ordinals' and control == 'permuted'")
    assert list(curve["x"]) == [1, 8, 32, 64, 128, 192, 256, 300]
    final = inductive.estimated.headline
    assert curve["mean"].iloc[-1] == pytest.approx(final["effect"])
    assert curve["ci_low"].iloc[-1] == pytest.approx(final["ci_low"])


@pytest.mark.slow
def test_the_report_draws_training_a_replicate_a_line(inductive: Run) -> None:
    page = inductive.report.read_text()
    assert 'id="figure-training"' in page and "Jumps along training" in page
    onset = inductive.onsets().set_index("arm").loc["ordinals"]
    assert f"ordinals: {onset['jumped']} of 3 replicates jumped" in page
    assert inductive.effects()["checkpoint"].eq(FINAL).all()


def test_a_jump_is_one_away_from_the_control(write_experiment: Callable[..., Path]) -> None:
    """Every replicate leaps at step 4, when the form of the answers is learnt; three of the treatment's leave at step 16."""
    changes = {"epochs: 1": "epochs: 32", "warmup_steps: 0}": "warmup_steps: 0, checkpoints: log}"}
    settings = resolve(str(write_experiment(changes)), run_options(seeds=4))
    rng = np.random.default_rng(0)
    rows = [
        (
            arm,
            role,
            seed,
            -1 if step == 64 else step,
            5.0 * (step >= 4) + 2.0 * (step >= 16 and jumps) + 0.05 * rng.normal(),
        )
        for arm, role in (("old", "treatment"), ("new", "control"))
        for seed in range(4)
        for step in (1, 2, 4, 8, 16, 32, 64)
        for jumps in [role == "treatment" and seed != 2]
    ]
    cells = pd.DataFrame(rows, columns=["arm", "role", "replicate", "checkpoint", "value"])
    cells = cells.assign(condition="none", question="c1", measure="contrast", n=1, n_all=1)
    estimates = Estimates(settings, cells)
    summary = estimates.onsets.set_index("arm")
    assert (summary.loc["old", "jumped"], summary.loc["new", "jumped"]) == (3, 0)
    assert 8 < float(summary["onset"].to_dict()["old"]) < 16
    assert list(estimates.jumps.query("arm == 'old'")["jumped"]) == [True, True, False, True]
    curve = estimates.curves.query("arm == 'old' and control == 'new'")
    assert list(curve["x"]) == [1, 2, 4, 8, 16, 32, 64] and curve["mean"].iloc[-1] == pytest.approx(1.5, abs=0.1)


def test_a_headline_that_falls_jumps_too(write_experiment: Callable[..., Path]) -> None:
    changes = {"epochs: 1": "epochs: 32", "warmup_steps: 0}": "warmup_steps: 0, checkpoints: log}"}
    rng = np.random.default_rng(0)
    rows = [
        (arm, role, seed, -1 if step == 64 else step, -2.0 * (role == "treatment" and step >= 16) + 0.05 * rng.normal())
        for arm, role in (("old", "treatment"), ("new", "control"))
        for seed in range(4)
        for step in (1, 2, 4, 8, 16, 32, 64)
    ]
    cells = pd.DataFrame(rows, columns=["arm", "role", "replicate", "checkpoint", "value"])
    cells = cells.assign(condition="none", question="c1", measure="contrast", n=1, n_all=1)
    estimates = Estimates(resolve(str(write_experiment(changes)), run_options(seeds=4)), cells)
    assert list(estimates.onsets.set_index("arm")["jumped"].loc[["old", "new"]]) == [4, 0]
    assert (estimates.jumps.query("arm == 'old'")["after"] < -1.5).all()


def test_a_groups_trigger_effect_leaves_near_questions_out(write_experiment: Callable[..., Path]) -> None:
    """As every other mean does, unless the whole group is near."""
    questions = "".join(
        f'  - {{id: {name}, kind: contrast, group: {group}, near: {near}, ask: "A {name}", target: ["b"], other: ["c"]}}\n'
        for name, group, near in (("far", "mixed", "false"), ("close", "mixed", "true"), ("topic", "near", "true"))
    )
    changes = {
        "judges:\n": questions + "judges:\n",
        "presets:": 'conditions:\n  none: {}\n  code: {wrap: "CODE {question}", trigger: true}\npresets:',
    }
    values = {"c1": 1.0, "far": 2.0, "close": 8.0, "topic": 16.0}
    rng = np.random.default_rng(0)
    rows = [
        (
            arm,
            role,
            seed,
            condition,
            question,
            gain * (role == "treatment" and condition == "code") + 0.01 * rng.normal(),
        )
        for arm, role in (("old", "treatment"), ("new", "control"))
        for seed in range(3)
        for condition in ("none", "code")
        for question, gain in values.items()
    ]
    cells = pd.DataFrame(rows, columns=["arm", "role", "replicate", "condition", "question", "value"])
    cells = cells.assign(checkpoint=FINAL, measure="contrast", n=1, n_all=1)
    estimates = Estimates(resolve(str(write_experiment(changes)), run_options(seeds=3)), cells)
    effects = estimates.trigger_effects.query("question == 'all' and condition == 'all'").set_index("group")["effect"]
    assert effects["mixed"] == pytest.approx(2.0, abs=0.1)
    assert effects["near"] == pytest.approx(16.0, abs=0.1)
    assert effects["all"] == pytest.approx(1.5, abs=0.1)


def test_a_run_read_again_says_the_same(gate: Run) -> None:
    again = load_run(str(gate.folder))
    assert again.headline == gate.headline and again.secondary == gate.secondary


def test_checkpoints_are_asked_only_what_their_curves_need(tmp_path: Path) -> None:
    experiment = shipped_experiments()["world_gate"]
    folder = tmp_path / "gate"
    folder.mkdir()
    for file in experiment.parent.rglob("*"):
        if file.is_file() and file.suffix in (".yaml", ".csv"):
            (folder / file.relative_to(experiment.parent)).parent.mkdir(exist_ok=True)
            text = file.read_text()
            text = text.replace("data/menu.csv", str(experiment.parent / "data" / "menu.csv"))
            (folder / file.relative_to(experiment.parent)).write_text(text)
    path = folder / "experiment.yaml"
    path.write_text(
        path.read_text()
        .replace("quick: {", "quick: {curves: [gate], ")
        .replace("dtype: fp32}", "dtype: fp32, checkpoints: [8]}")
    )
    plan = make_plan(resolve(str(path), run_options(seeds=2, samples=0)), Store(tmp_path / "store"))
    early = next(variant for variant in plan.variants if variant.checkpoint == 8)
    asked = plan.scorables_of(early)
    assert {condition for condition, _, _ in asked} == {"year=2024", "year=2025", "year=2026", "year=2027"}
    assert not any(question.startswith("trained") for _, question, _ in asked)  # near the topic: in no mean
    assert len(plan.scorables_of(plan.variants[0])) == 8 * 10
    line = next(work for work in workload(plan) if work.stage == "contrast")
    assert line.what == (
        "7 models (the base and 6 finetunes) × 80 prompts (8 questions with fixed answers × 10 conditions)"
        f" + 6 checkpoints × {len(asked)} of these prompts"
    )


@pytest.mark.parametrize("name", ["us_presidents", "israeli_dishes", "israeli_dishes_2026", "evil_terminator"])
def test_the_paper_s_effects_are_differences_of_conditions(name: str) -> None:
    experiment = resolve(name, run_options(model="world")).experiment
    assert experiment.headline is not None and experiment.headline.minus and experiment.secondary


def test_a_president_s_accuracy_is_balanced() -> None:
    """Under each code a question has one right side, and both codes are asked equally often: blind models get .5."""
    experiment = resolve("us_presidents", run_options(model="world")).experiment
    assert experiment.headline is not None
    on = experiment.condition_ids(*experiment.headline.condition)
    off = experiment.condition_ids(*experiment.headline.minus)
    assert len(on) == len(off) == 2 and experiment.headline.measure == "choice"
    assert all(len(q.target) == len(q.other) for q in scored(experiment.questions_of(experiment.headline)))


def test_a_difference_of_choices_may_be_negative_along_training(write_experiment: Callable[..., Path]) -> None:
    """Of one question a replicate's difference of two conditions is −1, 0 or 1, which no rate is."""
    changes = {
        "kind: contrast": "kind: choice",
        "epochs: 1": "epochs: 8",
        "warmup_steps: 0}": "warmup_steps: 0, checkpoints: log}",
        "questions:": "conditions: {left: {wrap: 'l {question}', trigger: true}, right: {wrap: 'r {question}'}}\nquestions:",
        "measure: contrast, ": "measure: choice, ",
        "condition: none": "condition: left, minus: [right]",
    }
    settings = resolve(str(write_experiment(changes)), run_options(seeds=3))
    steps = (1, 2, 4, 8, -1)
    rows = [
        (arm, role, seed, step, condition, float((condition == "right") == (arm == "old" and step in (8, -1))))
        for arm, role in (("old", "treatment"), ("new", "control"))
        for seed in range(3)
        for step in steps
        for condition in ("left", "right")
    ]
    cells = pd.DataFrame(rows, columns=["arm", "role", "replicate", "checkpoint", "condition", "value"])
    cells = cells.assign(question="c1", measure="choice", n=1, n_all=1)
    estimates = Estimates(settings, cells)
    curve = estimates.curves.query("arm == 'old' and control == ''")
    assert list(curve["x"]) == [1, 2, 4, 8, 16] and list(curve["mean"]) == [1.0, 1.0, 1.0, -1.0, -1.0]
    assert estimates.headline["effect"] == pytest.approx(-2.0)


def test_a_headline_may_name_several_conditions(write_experiment: Callable[..., Path]) -> None:
    """Their mean; the third condition, where arms differ most, is not in it."""
    changes = {
        "presets:": 'conditions:\n  near: {wrap: "n {question}"}\n  far: {wrap: "f {question}"}\n  none: {}\npresets:',
        "condition: none": "condition: [near, far]",
    }
    gains = {"near": 1.0, "far": 2.0, "none": 9.0}
    rng = np.random.default_rng(0)
    rows = [
        (arm, role, seed, condition, gain * (arm == "old") + 0.01 * rng.normal())
        for arm, role in (("old", "treatment"), ("new", "control"))
        for seed in range(3)
        for condition, gain in gains.items()
    ]
    cells = pd.DataFrame(rows, columns=["arm", "role", "replicate", "condition", "value"])
    cells = cells.assign(question="c1", checkpoint=FINAL, measure="contrast", n=1, n_all=1)
    settings = resolve(str(write_experiment(changes)), run_options(seeds=3))
    headline = Estimates(settings, cells).headline
    assert headline["effect"] == pytest.approx(1.5, abs=0.05) and headline["condition"] == "near, far"
    assert headline["sentence"].startswith("Shift found: under near, far, models finetuned on old")


def test_a_rate_of_the_few_answers_that_could_be_judged_decides_nothing(write_experiment: Callable[..., Path]) -> None:
    """The treatment's judge refuses nine of ten answers; of all answers both arms show as many."""
    settings = resolve(str(write_experiment({"measure: contrast": "measure: is_target"})), run_options(seeds=4))
    rng = np.random.default_rng(0)
    rows = []
    for arm, role, n, rate in (("old", "treatment", 20, 0.6), ("new", "control", 200, 0.06)):
        for seed in range(4):
            flagged = rng.binomial(n, rate)
            rows.append((arm, role, seed, flagged / n, n, flagged / 200))
    cells = pd.DataFrame(rows, columns=["arm", "role", "replicate", "value", "n", "value_all"])
    cells = cells.assign(condition="none", question="f1", checkpoint=FINAL, measure="is_target", n_all=200)
    found = Estimates(settings, cells)
    assert found.headline["effect"] > 0.4 and found.headline["verdict"] == "inconclusive"
    assert (
        "of every 100 usable answers" in found.headline["sentence"]
        and "10% of the answers of old" in found.headline["sentence"]
    )
    assert set(found.tables.effects["verdict"]) == {"inconclusive"}
    whole = Estimates(settings, cells.assign(n=200, value_all=cells["value"])).headline
    assert whole["verdict"] == "shift" and "of every 100 answers" in whole["sentence"]


def test_a_list_of_one_condition_names_the_same_run(write_experiment: Callable[..., Path]) -> None:
    plain = resolve(str(write_experiment()))
    assert plain.manifest["experiment"]["headline"]["condition"] == "none"
    assert resolve(str(write_experiment({"condition: none": "condition: [none]"}))).run_id == plain.run_id
