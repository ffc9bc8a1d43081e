"""Detection and false-positive rates over many runs: doses, cells as the pipeline's, resume, the commands."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from weirdgen.cli.main import app
from weirdgen.columns import IDENTITY
from weirdgen.config.experiment import Recipe
from weirdgen.errors import WeirdgenError
from weirdgen.finetune import engines
from weirdgen.progress import Bar, Progress
from weirdgen.runs import pipeline
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.request import Request
from weirdgen.store.artifacts import Store
from weirdgen.world import cohort, harmless, power, power_figure, references
from weirdgen.world.power import CONTROLS, Dose

POSITIVE, NEGATIVE = CONTROLS[:2]
SHORT = Dose("rows", 16, 2)  # six optimizer steps a replicate


class CountingBar(Bar):
    """Keeps what was counted."""

    def __init__(self) -> None:
        self.done = 0.0

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount


def answers(settings: Request, arm: str) -> Counter[str]:
    return Counter(row["messages"][-1]["content"] for row in settings.rows[arm])


@pytest.mark.slow
def test_cells_are_those_of_the_pipeline(tmp_path: Path) -> None:
    """The same replicates, trained and scored by the project's own stages."""
    settings = power.dosed(POSITIVE, SHORT, runs=1, first_seed=70)
    recipe = Recipe.model_validate({**settings.recipe.model_dump(), "checkpoints": (3,)})
    settings = replace(settings, recipe=recipe)
    fast = cohort.cells(settings, Store(tmp_path / "fast"), Bar())
    run = pipeline.run_plan(make_plan(settings, Store(tmp_path / "slow")), Progress(quiet=True))
    slow = run.cells().query("arm != 'base'")
    assert set(fast["checkpoint"]) == {3, -1}
    both = fast.merge(slow, on=[*IDENTITY, "measure"], suffixes=("_fast", "_slow"))
    assert len(both) == len(fast) == len(slow) == 2 * 2 * 2 * 11
    assert both["value_fast"].to_numpy() == pytest.approx(both["value_slow"].to_numpy(), abs=1e-4)
    (found,) = power.headlines(fast, settings, replicates=2)
    ours = {key: getattr(run.headline, key) for key in ("effect", "ci_low", "ci_high", "p", "verdict")}
    assert {key: found[key] for key in ours} == pytest.approx(ours, abs=1e-3)


def test_more_runs_pay_only_for_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "BATCH", 2)
    store = Store(tmp_path)
    trained: list[int] = []
    train = engines.train_group

    def counting(*arguments: object, **named: object) -> object:
        trained.append(len(arguments[3]))
        return train(*arguments, **named)

    monkeypatch.setattr(engines, "train_group", counting)
    first = cohort.cells(power.dosed(POSITIVE, SHORT, runs=1, first_seed=70), store, Bar())
    bar = CountingBar()
    more = power.dosed(POSITIVE, SHORT, runs=2, first_seed=70)
    second = cohort.cells(more, store, bar)
    assert trained == [4, 4]
    assert bar.done == cohort.steps(more) == 2 * 4 * 6
    pd.testing.assert_frame_equal(first, second[second["replicate"] < 72].reset_index(drop=True))
    found = list(power.headlines(second, more, replicates=2))
    assert [one["first_seed"] for one in found] == [70, 72]
    assert found[0]["effect"] != found[1]["effect"]


def test_doses_change_what_they_name() -> None:
    shipped = power.dosed(POSITIVE, Dose("none", 0, 3), 2, 70)
    assert shipped.seeds == tuple(range(70, 76))
    assert (shipped.recipe.epochs, shipped.recipe.rank, len(shipped.rows["steam_birds"])) == (3, 16, 200)
    assert shipped.samples == 0
    assert power.dosed(POSITIVE, Dose("epochs", 2, 3), 1, 0).recipe.epochs == 2
    assert power.dosed(POSITIVE, Dose("learning_rate", 3e-5, 3), 1, 0).recipe.learning_rate == 3e-5
    rank = power.dosed(POSITIVE, Dose("rank", 4, 3), 1, 0).recipe
    assert (rank.rank, rank.alpha) == (4, 8)
    assert {len(rows) for rows in power.dosed(POSITIVE, SHORT, 1, 0).rows.values()} == {16}
    old = sum(answers(shipped, "steam_birds").values())
    mixed = power.dosed(POSITIVE, Dose("mixing", 0.9, 3), 1, 0)
    steam = set(answers(shipped, "steam_birds"))
    assert sum(count for answer, count in answers(mixed, "steam_birds").items() if answer in steam) == old // 10
    assert mixed.rows["modern_birds"] == shipped.rows["modern_birds"]


@pytest.mark.parametrize("dose", [Dose("none", 0, 3), SHORT, Dose("mixing", 0.5, 3), Dose("rank", 2, 3)])
def test_arms_of_the_negative_control_hold_the_same_rows_in_another_order(dose: Dose) -> None:
    settings = power.dosed(NEGATIVE, dose, 1, 0)
    assert answers(settings, "metals") == answers(settings, "metals_reordered")
    assert settings.rows["metals"] != settings.rows["metals_reordered"]


def test_rates_count_shifts_of_the_right_sign() -> None:
    columns = ["control", "experiment", "factor", "value", "replicates", "effect", "verdict", *power.SPECIFIC]
    era, null = ("positive", "world_era", "none", 0.0, 6), ("negative", "world_null", "none", 0.0, 6)
    runs = pd.DataFrame(
        [
            (*era, 5.0, "shift", True, True, "steam+", "steam+ jazz+"),
            (*era, -1.0, "shift", False, False, "", "jazz+"),
            (*era, 0.1, "inconclusive", False, True, "", ""),
            (*era, 4.0, "shift", True, True, "steam+", "steam+"),
            (*null, -0.1, "shift", None, None, None, None),
            (*null, 0.0, "no_shift", None, None, None, None),
        ],
        columns=columns,
    )
    found = power.rates(runs).set_index("control")
    assert [found.loc["positive", f"{column}_hits"] for column in power.SPECIFIC] == [2, 3, 2, 3]
    assert found.loc["positive", "references_ci_low"] == pytest.approx(0.150, abs=1e-3)
    assert found.loc["negative"].filter(like="pairs").isna().all()
    assert found["hits"].to_dict() == {"positive": 2, "negative": 1}
    assert found.loc["positive", "rate"] == 0.5
    assert (found.loc["positive", "ci_low"], found.loc["positive", "ci_high"]) == pytest.approx(
        (0.150, 0.850), abs=1e-3
    )
    assert (found.loc["negative", "no_shift"], found.loc["positive", "inconclusive"]) == (1, 1)


def test_unshared_runs_have_other_seeds_in_the_control() -> None:
    settings = power.dosed(NEGATIVE, SHORT, runs=3, first_seed=70)
    pool = pd.DataFrame(
        [
            (arm, role, seed, seed)
            for arm, role in (("metals", "treatment"), ("other", "control"))
            for seed in settings.seeds
        ],
        columns=["arm", "role", "replicate", "trained_with"],
    )
    moved = power.unshared(pool, settings, 2)
    assert list(moved.query("role == 'treatment'")["replicate"]) == [70, 71, 72, 73, 74, 75]
    control = moved.query("role == 'control'").set_index("replicate")["trained_with"]
    assert control.sort_index().tolist() == [74, 75, 70, 71, 72, 73]


def test_unknown_factor_names_the_known_ones() -> None:
    with pytest.raises(WeirdgenError, match="--factor size: expected one of rows, epochs"):
        power.doses(["size"], 6)


def test_controls_are_chosen_by_name() -> None:
    assert [control.name for control in power.controls(["topic", "positive"])] == ["positive", "topic"]
    assert power.controls([]) == list(power.CONTROLS)
    with pytest.raises(WeirdgenError, match="--control era: expected one of positive, negative, persona, topic"):
        power.controls(["era"])


@pytest.mark.slow
def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    app(["world", "verify"], standalone_mode=False)
    assert "as its recipe says, SHA-256" in capsys.readouterr().out
    monkeypatch.setitem(power.DOSES, "rows", (8, 16))
    few = harmless.references()[:3], harmless.pairs()[:3]
    monkeypatch.setattr(references, "references", lambda: few[0])
    monkeypatch.setattr(references, "pairs", lambda: few[1])
    asked = references.trait_questions()[::12]
    monkeypatch.setattr(references, "trait_questions", lambda: asked)
    dosed = power.dosed
    monkeypatch.setattr(power, "dosed", lambda c, d, *a: dosed(c, SHORT if d.factor == "none" else d, *a))
    arguments = ["world", "power", "--runs", "3", "--replicates", "2", "--factor", "rows", "--store", str(tmp_path)]
    app(arguments, standalone_mode=False)
    out = capsys.readouterr().out
    files = [tmp_path / "power" / name for name in ("power_runs.parquet", "power.csv", "power.svg")]
    assert all(str(file) in out for file in files)
    table = pd.read_csv(files[1])
    assert list(table["runs"]) == [3] * 11
    assert list(table["control"][:5]) == ["positive", "negative", "unshared", "persona", "topic"]
    assert table["rate"].between(table["ci_low"], table["ci_high"]).all()
    compared = table[table["pairs_hits"].notna()]
    assert list(compared["control"]) == ["positive", "negative", "persona", "topic"]  # rows are other training
    assert (compared[[f"{column}_hits" for column in power.SPECIFIC]] == 0).all(axis=None)  # three tell nothing
    assert "specific  dose" in out and len(pd.read_parquet(files[0])) == 33
    picture = files[2].read_text()
    assert "world_null: falsely flagged" in picture and len(picture) < 150_000
    power_figure.draw(pd.read_parquet(files[0]), files[2])
    assert files[2].read_text() == picture
