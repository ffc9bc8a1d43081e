"""The benchmark table is whole, and a row of it runs on the tiny model and says what it should."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks import growth, sampling, scoring
from benchmarks.decoding import against_products
from benchmarks.harness import Result, Setting, print_results, save
from benchmarks.registry import BENCHMARKS
from benchmarks.scoring import against_single_passes


@pytest.fixture
def setting(tiny_model: Path, tmp_path: Path) -> Setting:
    asks = ("which bird is usual ?", "name one .", "which bird is usual ? which bird is usual ?")
    return Setting(tiny_model, ("fp32",), asks, ("usual", "name one"), "old_bird_names", tmp_path, quick=True)


def test_every_row_is_registered() -> None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    assert names == list(dict.fromkeys(names))
    assert set(names) == {
        "sample-generate",
        "sample-inspect",
        "decode-step",
        "finetune-batch-8",
        "finetune-batch-1",
        "contrast",
        "score-products",
        "gpu-replicates",
        "serve-chat",
        "serve-jobs",
        "providers",
        "features-harvest",
        "features-ablation",
        "cost-samples",
        "cost-replicates",
    }
    for benchmark in BENCHMARKS:
        assert importlib.util.find_spec(benchmark.module)
        assert benchmark.function in Path(importlib.util.find_spec(benchmark.module).origin).read_text()


@pytest.mark.parametrize(
    "run",
    [sampling.against_generate, against_products, against_single_passes, scoring.against_products, growth.samples],
)
def test_rows_run_on_a_tiny_model(setting: Setting, run: object) -> None:
    results = run(setting)  # type: ignore[operator]
    assert results and all(isinstance(result, Result) and result.ours > 0 and result.peer > 0 for result in results)


def test_results_replace_those_of_the_same_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weirdgen.machine.description", lambda: {"cpu": "a test"})
    file = tmp_path / "results.json"
    first = Result("a", 10.0, 5.0, "rows/s", 2.0, 4.0)
    save(file, [first, Result("b", 1.0, None, "s", None, None)], quick=False)
    save(file, [Result("a", 30.0, 5.0, "rows/s", 6.0, 4.0)], quick=True)
    rows = {row["name"]: row for row in json.loads(file.read_text())}
    assert (rows["a"]["ratio"], rows["a"]["quick"], rows["b"]["quick"]) == (6.0, True, False)
    assert {"ours", "peer", "unit", "ratio", "target", "machine", "date"} <= set(rows["a"])
    print_results([first])
    assert "ratio 2.00  target 4 MISSED" in capsys.readouterr().out


def test_features_are_read_and_edited(setting: Setting) -> None:
    from benchmarks import features

    (read,) = features.harvest(setting)
    (edited,) = features.ablation(setting)
    assert read.ours > 0 and read.unit == "prompts/s" and edited.ratio > 0.1
