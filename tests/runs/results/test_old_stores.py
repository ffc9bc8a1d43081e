"""Stores that an earlier version made are taken up: nothing is left to do, and every table and number is what it was.

`tests/support/stores` holds two small ones of commit ccc8650: `world_era` (2 replicates) and `old_bird_names` (2 replicates of
rank 1 on one kind of layer), each with the tables that version exported.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from weirdgen.config.measures import measure_of
from weirdgen.errors import StoreError
from weirdgen.report.content import clean
from weirdgen.runs.results.diff import equal, leaves
from weirdgen.runs.results.export import export
from weirdgen.runs.results.reporting import report_run, results_of
from weirdgen.runs.results.results import Run, load_run
from weirdgen.runs.results.verify import verify
from weirdgen.runs.stages.all import workload

STORES = Path(__file__).parents[2] / "support" / "stores"


@pytest.fixture(params=["world", "birds"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    with tarfile.open(STORES / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (name,) = (folder.name for folder in (tmp_path / "runs").iterdir())
    return load_run(name, tmp_path)


def test_nothing_is_left_to_do(old: Run) -> None:
    lines = workload(old.plan)
    assert {line.stage for line in lines} == {"finetune", "contrast", "sample", "judge"}
    assert [line for line in lines if line.missing] == []


def test_tables_are_equal_to_the_digit(old: Run, tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    written = export(old, tmp_path / "again")
    written = [file for file in written if file.suffix == ".csv"]
    new = {file.name for file in written} - {file.name for file in exported.iterdir()}
    assert new == {"trait_shifts.csv"}, "that version asked about no traits"
    for file in (file for file in written if file.name not in new):
        before, now = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (exported / file.name, file))
        assert {*now.columns} - {*before.columns} <= {"questions", "share"}, (
            "that version did not say what a mean rests on"
        )
        if "verdict" in before:  # rates of two replicates that agree were "no shift" then
            bounded = before["measure"].map(lambda name: measure_of(name).scale.bounds is not None).astype(bool)
            agreed = before["verdict"].eq("no_shift") & bounded
            before["verdict"] = before["verdict"].mask(agreed, "inconclusive")
        assert before.equals(now[before.columns]), file.name


@pytest.mark.slow
def test_what_a_paper_quotes_is_of_an_old_run_too(old: Run, tmp_path: Path) -> None:
    old.report.touch()  # the archive has no page
    (older,) = verify(old.folder).differences
    assert older.where == "results.json schema_version" and "weirdgen report" in older.computed
    with pytest.raises(StoreError, match=r"no 'methods'.*weirdgen report"):
        _ = old.methods
    assert old.headline_table() == old.headline_table("markdown") and "@misc{" in old.bibtex
    report_run(old)
    assert old.methods.startswith("We finetuned ") and old.methods in old.report.read_text(encoding="utf-8").replace(
        "&#39;", "'"
    )
    files = {
        file.name: file.read_text(encoding="utf-8")
        for file in export(old, tmp_path / "quoted")
        if file.suffix != ".csv"
    }
    assert set(files) == {"methods.txt", "cite.bib", "headline.tex", "headline.md"}
    assert files["methods.txt"] == old.methods + "\n" and files["headline.md"] == old.headline_table() + "\n"
    assert verify(old.folder).differences == []


def test_results_are_equal_but_for_versions_times_and_sentences(old: Run) -> None:
    def comparable(results: dict[str, Any]) -> dict[str, Any]:
        without = ("sentence", "created", "stamp", "versions", "machine", "schema_version")
        return {name: value for name, value in leaves(results) if not any(part in name for part in without)}

    recorded = json.loads((old.folder / "results.json").read_text(encoding="utf-8"))
    for row in (*recorded["effects"], *recorded["headline_effects"], *recorded["trigger_effects"]):
        if row["verdict"] == "no_shift" and measure_of(row["measure"]).scale.bounds:  # of two replicates that agree
            row["verdict"] = "inconclusive"
    before, now = comparable(recorded), comparable(clean(results_of(old)))
    assert len(before) > 1000
    assert [name for name in before if name not in now or not equal(before[name], now[name])] == []
