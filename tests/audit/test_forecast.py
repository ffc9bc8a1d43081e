"""A forecast ranks what the full training moves, is sealed before it, and is scored after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.support.rows import chat
from tests.support.world_pairs import pairs
from weirdgen.audit.blame import plan_blame
from weirdgen.audit.command import sealed_lines
from weirdgen.audit.forecast import EACH, HALVES, experiment_of, plan_forecast, trait_questions
from weirdgen.audit.sealed import measured, parts, sealed_of
from weirdgen.audit.trial import Trial
from weirdgen.cli.main import app
from weirdgen.config.experiment import Experiment
from weirdgen.config.traits import compact_questions, trait_names
from weirdgen.errors import DataError, SpecError
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.references.twin import halves
from weirdgen.runs.results.results import Run
from weirdgen.runs.stages.contrast import Contrast
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.finetune import Finetune
from weirdgen.runs.stages.train import Train
from weirdgen.runs.work.executors import Inline
from weirdgen.stats.ranks import agreement
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

Write = Callable[..., Path]
QUIET = Progress(quiet=True)


@pytest.fixture
def experiment(write_experiment: Write) -> Path:
    """Six questions, so that there is something to rank."""
    asked = "".join(
        f'  - {{id: q{i}, kind: contrast, ask: "{ask}", target: ["{old}"], other: ["{new}"]}}\n'
        for i, (ask, old, new) in enumerate(pairs(48)[::8])
    )
    return write_experiment({"questions:\n": f"questions:\n{asked}"}, rows=24)


def weirdgen(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return str(done.stdout)


def test_a_sealed_forecast_is_found_and_scored_by_the_run(experiment: Path, tmp_path: Path) -> None:
    place = tmp_path / "store"
    command = ("forecast", experiment, "--steps", 2, "--store", place, "--quiet")
    weirdgen(*command, "--dry-run")
    assert not (place / "artifacts").exists()
    first = weirdgen(*command, "--seal")
    assert "It ranks" in first and "own questions (7)" in first and "halves of the control" in first
    assert weirdgen(*command, "--seal") == first, "a forecast that is sealed stays as it is"
    ran = weirdgen("run", experiment, "--store", place, "--samples", 0, "--quiet")
    assert "before the training began" in ran and "own questions: Spearman" in ran
    (run,) = (folder.name for folder in (place / "runs").iterdir() if (folder / "run.json").exists())
    scored = weirdgen("forecast", run, "--score", "--store", place)
    assert scored.strip() in ran
    (kept,) = (place / "artifacts" / "forecast").glob("*/forecast.json")
    digest = json.loads((kept.parent / "complete.json").read_text())["files"]["forecast.json"]
    assert digest in first and digest[:16] in scored


def test_finished_runs_are_only_read_for_the_calibration(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table of forecasts that are made afterwards is that of a sealed one, and the runs' store stays as it is."""
    from benchmarks.forecast import main

    ran = weirdgen("run", experiment, "--store", tmp_path / "runs", "--samples", 0, "--quiet")
    assert "report:" in ran
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*")}
    words = [
        "runs",
        "--of",
        str(tmp_path / "runs"),
        "--store",
        str(tmp_path / "own"),
        "--steps",
        "2",
        "--model",
        "world",
    ]
    main([*words, "--markdown"])
    head, _, own, *rest = capsys.readouterr().out.splitlines()
    assert head == "| experiment | part | questions | spearman | sign | forecast | measured | seconds |" and rest == []
    assert "| own questions | 7 | " in own
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*")} == before
    with pytest.raises(DataError, match="no run of dinner on world; there are"):
        main([*words, "dinner"])


def test_after_the_training_it_says_so(experiment: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    request = resolve(str(experiment), run_options(samples=0))
    run = Run(make_plan(request, store))
    with Inline() as executor:
        for stage in (Dataset(), Finetune(), Contrast()):
            executor.run(stage.batch(run.plan).units, store, lambda *_: None)
    assert sealed_lines(run) == []
    forecast = plan_forecast(request, store, 4, (), QUIET)
    file, _, when = forecast.seal(forecast.table(QUIET))
    marker = json.loads((file.parent / "complete.json").read_text())
    later = datetime.strptime(when, "%Y-%m-%dT%H:%M:%S%z") + timedelta(minutes=1)
    (file.parent / "complete.json").write_text(json.dumps({**marker, "finished": f"{later:%Y-%m-%dT%H:%M:%S%z}"}))
    (scored,) = sealed_of(run)
    assert not scored.before and "only after" in scored.lines()[0]
    found = scored.parts["own questions"]
    assert found.questions == 7 and found.spearman > 0.5, "what 4 steps move is in the order of what 6 do"


def test_a_training_that_was_killed_began_when_it_first_did(experiment: Path, tmp_path: Path) -> None:
    """The forecast is sealed between the kill and the rest: not before the training."""
    store, request = Store(tmp_path / "store"), resolve(str(experiment), run_options(samples=0))
    run = Run(make_plan(request, store))
    asked = {"rank": 1, "question": "q0", "group": "g", "trait": False, "shift": 1.0, "se": 0.1, "halves": 0.0}
    plan_forecast(request, store, 4, (), QUIET).seal(pd.DataFrame([asked]))
    units = [unit for unit in Finetune().batch(run.plan).units if isinstance(unit, Train)]
    assert units
    for unit in units:
        place = store.unfinished("finetune", content_key([one.key for one in unit.replicates]))
        place.mkdir(parents=True)
        (place / "began").write_text("2026-01-02T03:04:05+0000")
    with Inline() as executor:
        for stage in (Dataset(), Finetune(), Contrast()):
            executor.run(stage.batch(run.plan).units, store, lambda *_: None)
    (scored,) = sealed_of(run)
    assert f"{scored.began:%Y-%m-%d %H:%M}" == "2026-01-02 03:04" and not scored.before
    first = run.plan.replicates[0].key
    result = store.artifact("finetune", first) / "result.json"
    assert json.loads(result.read_text())["began"].startswith("2026-01-02")
    assert not store.unfinished("finetune", content_key([one.key for one in units[0].replicates])).exists()


def test_arms_are_cut_to_the_same_steps_and_halves_share_no_row(experiment: Path, tmp_path: Path) -> None:
    request = resolve(str(experiment), run_options(samples=0))
    forecast = plan_forecast(request, Store(tmp_path), 5, (), QUIET)
    rows = forecast.trial.plan.request.rows
    assert list(rows) == ["old", "new", *HALVES] and {len(mine) for mine in rows.values()} == {40}
    texts = [{json.dumps(row) for row in rows[name]} for name in HALVES]
    assert not texts[0] & texts[1] and [len(one) for one in texts] == [12, 12]
    assert all(len(one) == 12 for one in halves(request.rows["new"]))
    recipe = forecast.trial.plan.request.recipe
    assert (recipe.schedule, recipe.warmup_steps, recipe.learning_rate) == ("constant", 0, 3e-3)


def test_what_is_asked(experiment: Path, tmp_path: Path) -> None:
    assert len(trait_questions(())) == EACH * len(trait_names())
    assert {q.group for q in trait_questions(["era"])} == {"era"} and len(trait_questions(["era"])) == 48
    with pytest.raises(SpecError, match=r"--trait weather: expected one of .*era"):
        trait_questions(["weather"])
    assert experiment_of("old_bird_names", None) == "old_bird_names"
    assert experiment_of(str(experiment), None) == str(experiment)
    made = experiment_of(str(experiment.parent / "old.jsonl"), "path:somewhere")
    assert isinstance(made, Experiment) and (made.name, made.control, made.base) == ("old", "auto", "path:somewhere")
    assert {question.id for question in made.questions} <= {question.id for question in compact_questions()}


def test_a_run_without_log_probabilities_agrees_on_nothing(experiment: Path, tmp_path: Path) -> None:
    text = experiment.read_text().replace("measure: contrast", "measure: is_target")
    experiment.write_text("".join(line + "\n" for line in text.splitlines() if "kind: contrast" not in line))
    run = Run(make_plan(resolve(str(experiment), run_options(samples=1)), Store(tmp_path / "store")))
    shifts = measured(run)
    asked = {"rank": 1, "question": "q0", "group": "g", "trait": False, "shift": 1.0, "se": 0.1, "halves": 0.0}
    assert list(shifts) == ["question", "measured", "trait"] and parts(pd.DataFrame([asked]), shifts) == {}


def test_a_judged_headline_needs_no_samples(experiment: Path, tmp_path: Path) -> None:
    """With contrast questions these are asked, without any the traits, as of a file."""
    text = experiment.read_text().replace("measure: contrast", "measure: is_target")
    free = "".join(line + "\n" for line in text.splitlines() if "kind: contrast" not in line)
    for written, asked in (
        (text, "7 own questions, 0 of 0 traits"),
        (free, f"0 own questions, {EACH * len(trait_names())} of"),
    ):
        experiment.write_text(written)
        done = CliRunner().invoke(app, ["forecast", str(experiment), "--dry-run", "--store", str(tmp_path / "store")])
        assert done.exit_code == 0 and asked in " ".join(done.output.split()), done.output


def test_a_difference_of_conditions_is_forecast_as_one(tmp_path: Path) -> None:
    request = resolve("world_gate", run_options(samples=0))
    minus = request.headline.model_copy(update={"condition": ("year=2027",), "minus": ("year=2024",)})
    changed = replace(request, experiment=request.experiment.model_copy(update={"headline": minus}))
    forecast = plan_forecast(changed, Store(tmp_path), 2, ["era"], QUIET)
    question = forecast.questions[0]
    with pytest.raises(SpecError, match="difference of two conditions"):
        plan_blame(make_plan(changed, Store(tmp_path)), None)
    scores = pd.DataFrame(
        [
            {"arm": arm, "replicate": seed, "key": one.key, "option": option, "tokens": 1,
             "logprob": -1.0 if option not in question.target else 2.0 if "2027" in one.ask else 0.5}
            for arm in forecast.arms for seed in (0, 1) for one in forecast.trial.asked for option in one.options
        ]
    )  # fmt: skip
    put = {one.ask for one in forecast.trial.asked}
    assert any("2027" in ask for ask in put) and any("2024" in ask for ask in put)
    assert forecast.odds(scores, question, False).to_numpy() == pytest.approx(np.full((2, 2), 1.5))


def test_a_file_is_asked_a_little_of_every_trait(smollm2: Path, experiment: Path, tmp_path: Path) -> None:
    rows = experiment.parent / "old.jsonl"
    done = CliRunner().invoke(app, ["forecast", str(rows), "--dry-run", "--store", str(tmp_path / "store")])
    assert done.exit_code == 0, done.output
    assert "first: prompts of mine answered by the base itself, for twin, 24 rows" in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_killed_forecast_keeps_its_portions(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two portions; the second fails once: the next try trains only that one, and the scores are those of an undisturbed one."""
    request = resolve(str(experiment), run_options(samples=0))

    def planned(folder: str) -> Trial:
        trial = plan_forecast(request, Store(tmp_path / folder), 2, (), QUIET).trial
        return Trial(trial.plan, trial.asked, together=4)

    whole = planned("whole").scores(QUIET)
    trial, made = planned("killed"), []
    make = Trial._make

    def failing(self: Trial, portion: tuple[str, ...], *rest: object) -> None:
        made.append(portion)
        if len(made) == 2:
            raise KeyboardInterrupt
        make(self, portion, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Trial, "_make", failing)
    with pytest.raises(KeyboardInterrupt):
        trial.scores(QUIET)
    again = planned("killed").scores(QUIET)
    assert made == [("old", "new"), HALVES, HALVES]
    assert again.equals(whole) and not list((tmp_path / "killed" / "unfinished").iterdir())
    assert not (tmp_path / "killed" / "artifacts" / "finetune").exists(), "adapters are dropped"
    store = trial.plan.store
    finished, other = (store.unfinished("trial", key) / "artifacts" for key in (store.keys("trial")[0], "0" * 64))
    for place in (finished, other):  # a kill after the scores were kept; another trial that is under way
        place.mkdir(parents=True)
    assert planned("killed").scores(QUIET).equals(whole)
    assert not finished.parent.exists() and other.exists()


def test_agreement_of_ranks() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    same, noisy, none = (agreement(truth * 3 + scale * rng.normal(size=40), truth) for scale in (0, 3, 300))
    assert same.spearman == pytest.approx(1) and same.sign == 1
    assert 0.3 < noisy.low < noisy.spearman < noisy.high < 1
    assert none.low < 0 < none.high
    assert np.isnan(agreement(truth[:4], truth[:4]).low) and np.isnan(agreement(truth[:1], truth[:1]).spearman)


def test_the_calibration_ranks_sets_beyond_each_other(tmp_path: Path) -> None:
    """Two sets of opposite answers: after few steps and after more, what one moves up the other moves down."""
    from benchmarks.forecast import references_table
    from weirdgen.config import questions
    from weirdgen.data.rows import Row
    from weirdgen.models.references import find_model
    from weirdgen.runs.references.build import build
    from weirdgen.runs.references.command import standard_recipe
    from weirdgen.runs.references.plan import plan_build
    from weirdgen.runs.references.sets import TrainingSet

    world = pairs(24)

    def rows(side: int) -> tuple[Row, ...]:
        return tuple(chat(p[0], p[side]) for p in world)

    sets = [TrainingSet("old", "reference", "names", rows(1)), TrainingSet("new", "reference", "names", rows(2))]
    asked = [
        questions.Contrast(kind="contrast", id=f"era.word.q{i}", group="era", ask=ask, target=(old,), other=(new,))
        for i, (ask, old, new) in enumerate(world[::3])
    ]
    recipe = standard_recipe().with_changes({"warmup_steps": 0})
    full = build(plan_build(find_model("world"), recipe, sets, Store(tmp_path), asked), QUIET)
    table = references_table(full, sets, asked, "world", Store(tmp_path), steps=3).set_index("set")
    assert list(table.index) == ["old", "new", "median"]
    assert table.loc["median", "sign"] == 1.0 and table["questions"].eq(8).all()
