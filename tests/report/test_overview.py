"""One page over several runs, the exported tables, and the figures for print."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from tests.support.big_run import big_run
from tests.support.browsing import at_width, script
from weirdgen.errors import StoreError, WeirdgenError
from weirdgen.report.overview import _compared, _heading, _shared
from weirdgen.runs.results.estimates import TABLES
from weirdgen.runs.results.export import export
from weirdgen.runs.results.reporting import compare_runs, report_run
from weirdgen.runs.results.results import Run
from weirdgen.runs.stages.all import stage_tables

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two runs of one experiment in one store, and one of another experiment in a store of its own."""
    folder = tmp_path_factory.mktemp("runs")
    first = big_run(folder / "a", samples=2, replicates=3, questions=2, years=1)
    shutil.copytree(folder / "a" / "store", folder / "b" / "store")
    second = big_run(folder / "b" / "again", samples=3, replicates=2, questions=2, years=1)
    other = big_run(folder / "c", samples=1, replicates=2, questions=1, years=1)
    headline = other.request.experiment.headline
    assert headline is not None
    changed = {"name": "other", "headline": headline.model_copy(update={"measure": "contrast"})}
    experiment = other.request.experiment.model_copy(update=changed)
    object.__setattr__(other.request, "experiment", experiment)
    other.folder.mkdir(parents=True, exist_ok=True)
    return [first, second, other]


@pytest.mark.slow
def test_a_row_a_run_with_its_verdict_effect_size_time_and_link(runs: list[Run], tmp_path: Path) -> None:
    page = compare_runs(runs, tmp_path / "over view", ("pdf",))
    assert page == tmp_path / "over view" / "index.html"
    text = page.read_text(encoding="utf-8")
    body = re.findall(r"<tr[^>]*>(.*?)</tr>", text.split("Headlines;")[-1].split("</table>")[0], re.DOTALL)[1:]
    assert len(body) == 3
    for row, run in zip(body, runs, strict=True):
        results = json.loads((run.folder / "results.json").read_text(encoding="utf-8"))
        cells = [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        assert cells[0].split()[-1] in results["headline"]["verdict"].replace("_", " ")
        assert cells[6:8] == ["8", str(results["ran"]["arms"][0]["distinct_answers"])]
        assert cells[8] == ("9.0\N{NO-BREAK SPACE}s" if run is runs[0] else "6.0\N{NO-BREAK SPACE}s")
        address = re.search(r'href="([^"]+)"', row)
        assert address is not None
        target = os.path.normpath(page.parent / address[1].replace("%20", " "))
        assert Path(target) == run.report
        assert Path(target).is_file()
    record = json.loads((page.parent / "overview.json").read_text(encoding="utf-8"))
    assert [row["headline"]["effect"] for row in record] == [run.headline.effect for run in runs]
    for ending, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        assert (page.parent / "figures" / f"overview.{ending}").read_bytes().startswith(start)


@pytest.mark.slow
def test_units_have_panels_of_their_own_and_runs_of_one_experiment_a_table(runs: list[Run], tmp_path: Path) -> None:
    text = compare_runs(runs, tmp_path).read_text(encoding="utf-8")
    for unit in ("nats", "percentage points"):
        assert text.count(f"In {unit}</text>") == 2  # the wide and the narrow drawing
    assert "big: effects over all questions" in text
    assert "other: effects" not in text
    names = re.findall(r">(big · [^<]+)</a>", text)
    assert len(set(names)) == 2
    alone = compare_runs(runs[2:], tmp_path / "alone").read_text(encoding="utf-8")
    assert "percentage points</text>" not in alone
    assert "effects over all questions" not in alone
    with pytest.raises(WeirdgenError, match="at least one run"):
        compare_runs([], tmp_path)


@pytest.mark.slow
def test_the_overview_fits_a_desk_and_a_phone(browser: WebDriver, runs: list[Run], tmp_path: Path) -> None:
    browser.get(compare_runs(runs, tmp_path).as_uri())
    for width in (390, 1280):
        at_width(browser, width)
        assert script(browser, "return document.documentElement.scrollWidth <= innerWidth")
    table = "const t = document.querySelector('.scroll'); return t.scrollWidth <= t.clientWidth"
    assert script(browser, table), "the table of verdicts is cut on a desk"


QUOTED = ("methods.txt", "cite.bib", "headline.tex", "headline.md")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_exported_tables_hold_what_the_run_holds(runs: list[Run], tmp_path: Path, kind: str) -> None:
    files = export(runs[0], tmp_path / "out", kind)  # type: ignore[arg-type]
    tables = [f"{name}.{kind}" for name in (*stage_tables(), "cells", *TABLES)]
    assert [file.name for file in files] == [*tables, *QUOTED]
    for file in files[: len(tables)]:
        wanted = runs[0].table(file.stem)
        text = dict.fromkeys(wanted.select_dtypes(["object", "string"]).columns, str)
        exported = (
            pd.read_parquet(file)
            if kind == "parquet"
            else pd.read_csv(
                file, dtype=text, keep_default_na=False, na_values={c: [""] for c in wanted.columns if c not in text}
            )
        )
        assert len(wanted) > 0 or file.stem in (
            "trigger_effects",
            "curves",
            "onsets",
            "jumps",
            "trait_shifts",
        )  # nothing of the sort ran
        pd.testing.assert_frame_equal(exported, wanted, check_dtype=False, rtol=1e-12)


@pytest.mark.slow
def test_figures_for_print_are_asked_for_and_the_same_each_time(runs: list[Run]) -> None:
    folder = runs[2].folder / "figures"
    report_run(runs[2], ("pdf",))
    pdfs = sorted(folder.glob("*.pdf"))
    assert {pdf.stem for pdf in pdfs} == {svg.stem for svg in folder.glob("*.svg")}
    first = [pdf.read_bytes() for pdf in pdfs]
    assert all(b"/FontFile2" in data and b"CreationDate" not in data for data in first)
    report_run(runs[2], ("pdf",))
    assert [pdf.read_bytes() for pdf in pdfs] == first
    report_run(runs[2])
    assert not list(folder.glob("*.pdf"))


@pytest.mark.slow
def test_the_commands(runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process: starting Python again for each would cost more than what they do."""
    from typer.main import get_command

    from weirdgen.cli.main import app

    first, second = str(runs[0].folder), str(runs[1].folder)
    command = get_command(app)
    command(["report", first, second, "--to", str(tmp_path / "two")], standalone_mode=False)
    assert capsys.readouterr().out == f"report: {tmp_path / 'two' / 'index.html'}\n"
    command(["export", first, "--to", str(tmp_path / "tables"), "--format", "parquet"], standalone_mode=False)
    assert len(capsys.readouterr().out.splitlines()) == len(TABLES) + len(stage_tables()) + 1 + len(QUOTED)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=str(tmp_path / "file")):
        command(["export", first, "--to", str(tmp_path / "file")], standalone_mode=False)


@pytest.mark.slow
def test_a_comparison_leaves_what_a_person_keeps_in_its_folder(runs: list[Run], tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "holiday.png").write_bytes(b"mine")
    (tmp_path / "index.html").write_text("my page")
    with pytest.raises(WeirdgenError, match=r"index\.html: this file exists and no report wrote it"):
        compare_runs(runs[:2], tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["figures", "holiday.png", "index.html"]
    (tmp_path / "index.html").unlink()
    for _ in range(2):  # a second time over what the first wrote
        compare_runs(runs[:2], tmp_path)
    assert (tmp_path / "figures" / "holiday.png").read_bytes() == b"mine"
    (tmp_path / ".weirdgen.json").unlink()  # as of a version that kept no listing
    compare_runs(runs[:2], tmp_path)
    (tmp_path / "figures").rename(tmp_path / "elsewhere")
    (tmp_path / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WeirdgenError, match="a link"):
        compare_runs(runs[:2], tmp_path)


def test_runs_that_share_replicates_say_so_and_headlines_name_their_condition() -> None:
    def ran(*adapters: str) -> dict[str, Any]:
        return {"replicates": [{"arm": "old", "adapter": key} for key in adapters]}

    assert _shared([ran("a", "b"), ran("c", "c")]) == "", "arms with equal rows share their replicates within a run"
    assert _shared([ran("a", "b"), ran("b", "c"), ran("d")]).startswith(
        " 1 of their 4 replicates stand in more than one"
    )
    arms = {"treatment": "old", "control": "new"}
    assert _compared({**arms, "condition": "none"}) == "old − new"
    assert _compared({**arms, "condition": "year=2027 − year=2024"}) == "old − new, year=2027 − year=2024"


def test_the_heading_says_how_many_shifts_are_more_than_harmless_data_do() -> None:
    def entry(verdict: str, beyond: str | None, named: str = "era") -> Any:
        row = {"trait": "era", "yardstick": "references", "specific": beyond == "specific", "z": 3.0}
        placed = {"verdict": beyond, "sentence": "", "rows": [row], "named": [named]}
        content = SimpleNamespace(specificity=placed if beyond else None, headline={"effect": 0.5})
        return SimpleNamespace(headline={"verdict": verdict}, content=content)

    entries = [
        entry("shift", "specific"),
        entry("shift", "not_specific"),
        entry("shift", "specific", named="politics"),  # of another trait than its headline's
        entry("shift", None),
        entry("no_shift", "specific"),
    ]
    assert _heading({"shift": 4, "no_shift": 1, "inconclusive": 0}, entries) == (
        "Of 5 runs, 4 found a shift (1 of 3 more than harmless data do) and 1 found none above its bound."
    )
    assert "harmless" not in _heading({"shift": 1, "no_shift": 0, "inconclusive": 0}, [entry("shift", "unknown")])
