"""The tables of what the statistics attain, as a reader computes them again."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from benchmarks.coverage import coverage_table, main


@pytest.mark.parametrize(
    ("table", "datasets", "rows", "column"),
    [
        ("coverage", 20, 9, "percentile_coverage"),
        ("jumping", 50, 21, "rates_by_samples"),
        ("added", 400, 5, "false"),
        ("pairing", 100, 20, "paired_false"),
        ("questions", 4, 27, "over_replicates"),
        ("left", 1, 12, "false_control"),
        pytest.param("stops", 40, 27, "naive_coverage", marks=pytest.mark.slow),
        pytest.param("bands", 1, 45, "effect_band", marks=pytest.mark.slow),
    ],
)
def test_one_command_prints_a_table(
    table: str, datasets: int, rows: int, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([table, "--datasets", str(datasets)])
    title, head, *body = capsys.readouterr().out.strip().splitlines()
    assert f"{datasets} data sets" in title and column in head.split() and len(body) == rows


def test_the_documented_line_runs_and_names_what_there_is() -> None:
    command = [sys.executable, "-m", "benchmarks.coverage"]
    completed = subprocess.run([*command, "--datasets", "20"], capture_output=True, text=True, check=True)
    assert completed.stdout.count("\n") == 11
    wrong = subprocess.run([*command, "cover"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "coverage" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_percentile_bootstrap_over_three_replicates_covers_too_rarely() -> None:
    table = coverage_table(0, 400).set_index(["rate", "replicates"])["percentile_coverage"]
    assert (table.xs(3, level="replicates") < 0.87).all() and (table.xs(3, level="replicates") > 0.6).all()


@pytest.mark.slow
def test_table_of_coverage() -> None:
    table = coverage_table(1, 8000).set_index(["rate", "replicates"])
    assert table["effect_coverage"].between(0.935, 0.985).all()
    assert table["mean_coverage"].between(0.92, 0.98).all()  # a single rate near 0 is skewed
    assert (table["false_positive"] <= 0.055).all()
    assert (table["half_width"].unstack().diff(axis=1).iloc[:, 1:] < 0).all().all()  # narrower with replicates


def test_coverage_of_a_small_table_is_the_same_twice() -> None:
    table = coverage_table(1, 300)
    assert len(table) == 9 and table["effect_coverage"].between(0.9, 1.0).all()
    pd.testing.assert_frame_equal(table, coverage_table(1, 300))
