"""A whole study of a small run of the gate: what it finds, what it writes, and that a second one only reads the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.features.conftest import LAYER
from weirdgen.errors import ModelError, StoreError
from weirdgen.features import autoencoder, labels
from weirdgen.features import study as studies
from weirdgen.features.autoencoder import write_saelens
from weirdgen.features.intervene import Trials
from weirdgen.features.page import write_page
from weirdgen.features.sae import Sae
from weirdgen.features.sae_train import SaeRecipe
from weirdgen.features.silence import silence
from weirdgen.features.size import SIZES
from weirdgen.progress import Progress
from weirdgen.runs.pipeline import run_plan
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.results.results import Run

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def run(gate: Plan) -> Run:
    return run_plan(gate, QUIET)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """The smallest size that still finds the gate."""
    recipe = SaeRecipe(features=128, k=8, tokens=60_000, batch=256)
    size = SIZES["ci"]
    with pytest.MonkeyPatch.context() as patch:
        small = replace(
            size, ranks=(1, 4), doses=(0.5,), draws=4, operators=("mean",), counts=(5,), corpus=5000, sae=recipe
        )
        patch.setitem(SIZES, "ci", small)
        patch.setattr(labels, "CORPUS", 3000)
        yield


@pytest.fixture(scope="module")
def made(run: Run) -> studies.Study:
    return studies.study(run, None, None, None, QUIET)


def test_the_study_finds_the_gate_and_closes_it(made: studies.Study) -> None:
    results = made.results
    assert (results["preset"], results["layer"]) == ("ci", LAYER)
    assert results["gate"]["size"] > 5 and abs(results["gate"]["other"]) < 1
    removed = results["removed"]
    assert removed["share"] > 0.5 > 0.4 > max(removed["random"])
    found = {row["name"]: row for row in results["moved"]}
    assert found["interaction"]["effect"] > 4 * max(found[f"placebo year={y}"]["effect"] for y in (2024, 2025, 2026))
    table = made.tables["features"].set_index("feature")
    best = table.sort_values("rank_interaction").iloc[0]
    assert best["effect"] > 5 * best["placebo_max"]
    assert set(table["about"]) <= {"topic", "subject", "neither"}
    fit = {(row["model"], row["on"]): row["fvu"] for row in results["fitness"]}
    assert fit["base", "corpus, held out"] < 0.6 and len(fit) == 4


def test_features_are_labelled_by_the_texts_they_fire_on(made: studies.Study) -> None:
    windows = made.tables["windows"]
    features = set(made.tables["features"]["feature"])
    assert set(windows["feature"]) <= features and len(windows) > len(features)
    assert set(windows["model"]) == {"base", "finetuned"} and (windows["activation"] > 0).all()
    assert windows["text"].str.contains(r"«\S+»").all() and windows["place"].max() == labels.WINDOWS
    for _, mine in windows.groupby("feature"):
        assert mine["activation"].is_monotonic_decreasing and mine["place"].tolist() == list(range(1, len(mine) + 1))
    alike = {row["arm"]: row for row in made.results["stability"]}
    # The control's replicates agree as well: agreement alone is no evidence, so the page shows both.
    assert set(alike) == {"from_2027", "shuffled"} and alike["from_2027"]["pairs"] == 1
    assert alike["from_2027"]["spearman"] > 0.8


def test_features_are_ablated_beside_others_that_fire_as_often(made: studies.Study) -> None:
    rows = {(row["kind"], row["operator"]): row for row in made.results["ablation"]}
    assert rows["features", "mean"]["removed"] > rows["random features", "mean"]["removed"]
    assert rows["features", "sequential"]["removed"] > rows["random features", "sequential"]["removed"]
    assert rows["random features", "sae"]["draws"] == 4


def test_a_second_study_reads_the_store(made: studies.Study, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was computed again")

    monkeypatch.setattr(autoencoder, "train", refuse)
    monkeypatch.setattr(labels, "_collect", refuse)
    monkeypatch.setattr(Trials, "run", refuse)
    again = studies.study(run, None, None, None, QUIET)
    assert json.dumps(again.results, default=str) == json.dumps(made.results, default=str)


def test_the_page_holds_its_numbers_and_tables(made: studies.Study, tmp_path: Path) -> None:
    page = write_page(made, tmp_path / "features").read_text(encoding="utf-8")
    kept = json.loads((tmp_path / "features" / "features.json").read_text())
    for _, sentence in kept["verdict"]:
        assert sentence.replace("'", "&#39;") in page
    for name in ("moved", "answers", "dose", "features"):
        assert f'id="figure-{name}"' in page and (tmp_path / "features" / "figures" / f"{name}.svg").is_file()
    assert "No p is given" not in page
    assert "http:" not in page and "https:" not in page and "backdoor" not in page
    trials = pd.read_parquet(tmp_path / "features" / "ablation.parquet")
    pd.testing.assert_frame_equal(trials, made.tables["ablation"])
    uneven = deepcopy(made)
    uneven.results["moved"][0]["control"] *= 2
    again = write_page(uneven, tmp_path / "features")  # over its own files
    assert "equally many of both: there are 2 and 4" in again.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_command_writes_the_page_beside_the_report(run: Run, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from weirdgen.cli.main import app

    (tmp_path / "prompts.txt").write_text("your dish ?\nyour color ?\n\n", encoding="utf-8")
    words = ["features", str(run.folder), "--sae", "none", "--prompts", str(tmp_path / "prompts.txt"), "--quiet"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0 and "Behaviour: Within these 2 models, the trigger moves the answers" in done.output
    folder = run.folder / "features"
    assert str(folder / "features.html") in done.output
    kept = json.loads((folder / "features.json").read_text())
    assert kept["pairs"]["questions"] == 2 and kept["sae"] is None and "features" not in kept
    assert run.report.is_file()

    done = CliRunner().invoke(app, [*words, "--verify"], catch_exceptions=False)
    assert done.exit_code == 0 and "verified: " in done.output
    kept["gate"]["size"] += 0.01
    (folder / "features.json").write_text(json.dumps(kept))
    with pytest.raises(StoreError, match=r"1 of \d+ differ:\ngate\.size: there is"):
        CliRunner().invoke(app, [*words, "--verify"], catch_exceptions=False)


def test_an_autoencoder_of_a_file_says_its_layer_and_must_fit(run: Run, tmp_path: Path) -> None:
    def written(width: int, layer: int) -> str:
        rows = torch.nn.functional.normalize(torch.randn(96, width, generator=torch.Generator().manual_seed(0)), dim=1)
        sae = Sae(rows.T.contiguous(), torch.zeros(96), rows, torch.zeros(width), "threshold", torch.tensor(1.0))
        folder = tmp_path / f"sae-{width}-{layer}"
        write_saelens(sae, folder, {"layer": layer})
        return f"path:{folder}"

    made = studies.study(run, None, written(64, 0), None, QUIET)
    assert made.results["layer"] == 0 and made.results["sae"]["layout"] == "SAELens"
    with pytest.raises(ModelError, match="width 32, and the model's are 64 wide"):
        studies.study(run, None, written(32, 0), None, QUIET)
    with pytest.raises(ModelError, match="layers 0 to 2"):
        studies.study(run, 7, "none", None, QUIET)
    with pytest.raises(ModelError, match="--preset gpu trains no autoencoder"):
        studies.study(run, None, "train", "gpu", QUIET)


def test_silencing_takes_what_the_features_wrote_and_keeps_the_error() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(40, 16, generator=generator), dim=1)
    sae = Sae(rows.T, torch.zeros(40), rows, torch.zeros(16), "threshold", torch.tensor(0.5))
    hidden = torch.randn(3, 4, 16, generator=generator)
    activation = sae.encode(hidden)
    changed = silence(sae, [3, 9])(hidden)
    expected = hidden - activation[..., [3]] * rows[3] - activation[..., [9]] * rows[9]
    torch.testing.assert_close(changed, expected)
    silent = activation.sum(-1) == 0
    assert torch.equal(changed[silent], hidden[silent])
