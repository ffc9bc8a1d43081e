"""`weirdgen verify` finds every kind of tampering, names it, and changes nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.support.big_run import big_run
from weirdgen.errors import StoreError
from weirdgen.runs.results.diff import apart
from weirdgen.runs.results.reporting import report_run
from weirdgen.runs.results.verify import Verification, require_verified, verify
from weirdgen.store.keys import file_hash


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment and the store of a small run of it, with its report."""
    folder = tmp_path_factory.mktemp("verify")
    report_run(big_run(folder, samples=1, replicates=2, questions=4, years=2))
    return folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """The run's folder in a store of its own, free to be spoilt."""
    shutil.copytree(original / "store", tmp_path / "store")
    return next((tmp_path / "store" / "runs").iterdir())


def places(checks: Verification) -> str:
    return "\n".join(str(difference) for difference in checks.differences)


def spoil(path: Path, pattern: str, change: Callable[[re.Match[str]], str]) -> str:
    """Changes the only match of `pattern` in a text file; returns what stood there."""
    text = path.read_text(encoding="utf-8")
    match = re.search(pattern, text, re.DOTALL)
    assert match, f"{pattern} does not occur in {path.name}"
    path.write_text(text[: match.start()] + change(match) + text[match.end() :], encoding="utf-8")
    return match[0]


def test_an_untouched_report_is_verified_and_the_store_stays_as_it_was(run: Path) -> None:
    store = run.parents[1]
    before = {path: file_hash(path) for path in store.rglob("*") if path.is_file()}
    checks = verify(str(run))
    assert checks.differences == []
    assert checks.notes == []
    assert checks.results > 500
    assert checks.shown > 200
    assert checks.answers == 5 * 4 * 3
    assert checks.files >= 4 * 2 + 5 * 2 + 2
    assert "verified:" in require_verified(checks)
    assert {path: file_hash(path) for path in store.rglob("*") if path.is_file()} == before


def test_changed_and_missing_parts_of_results_json_are_named_with_both_values(run: Path) -> None:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    row = next(r for r in results["effects"] if r["measure"] == "new_words" and r["question"] == "q3")
    was = row["effect"]
    row["effect"] = was + 0.25
    results["ran"]["arms"][0]["rows"] = "8"
    for key in ("failures", "experiment"):
        del results[key]
    (run / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    named = places(verify(str(run)))
    name = f"results.json effects[new_words, {row['treatment']}, {row['control']}, {row['condition']}, q3].effect"
    assert f"{name}: there is {was + 0.25!r}, the store gives {was!r}" in named
    assert "results.json failures: there is nothing" in named
    assert "results.json experiment.name: there is nothing, the store gives big" in named
    assert "results.json ran.arms[old].rows: there is 8, the store gives 8" in named  # a text is no number
    assert len(named.splitlines()) == 2 + 1 + 4


def test_numbers_cells_and_answers_changed_on_the_page_are_named_by_their_places(run: Path) -> None:
    page = run / "report.html"
    spoil(page, r"<dt>effect</dt><dd>([^ <]+)", lambda m: m[0].replace(m[1], "+99"))
    pattern = r'<th scope=row[^>]*>old_words</th><td[^>]*class="number">([^ <]+)'
    spoil(page, pattern, lambda m: m[0].replace(m[1], "77%"))
    spoil(page, r'"rows":\[\[.*?"([a-z][a-z ]+)"', lambda m: m[0].replace(m[1], "never said"))
    checks = verify(str(run))
    assert len(checks.differences) == 3
    assert sorted(difference.found for difference in checks.differences)[0].startswith("+99")
    assert re.search(r"head of the page · table “[^”]+” · old_words · base: there is 77%", places(checks))
    assert "transcripts · answer 0" in places(checks)


def test_of_long_texts_the_part_that_differs_is_shown() -> None:
    same = "the same words " * 40
    first, second = apart(f"{same}, 3 runs", f"{same}, 4 runs")
    assert first.endswith(", 3 runs") and second.endswith(", 4 runs") and first[0] == "…" and len(first) < 100
    assert apart("a" * 300, "a" * 301) == ("…" + "a" * 50, "…" + "a" * 51) and apart(1, "x") == ("1", "x")


def test_a_mark_moved_in_a_figure_is_found(run: Path) -> None:
    spoil(run / "report.html", r'<use [^>]*x="([\d.]+)"', lambda m: m[0].replace(m[1], "1.0"))
    assert "figures or markup" in places(verify(str(run)))


@pytest.mark.parametrize("stage", ["sample", "contrast", "judge"])
def test_a_part_of_the_store_with_other_bytes_is_named(run: Path, stage: str) -> None:
    part = next((run.parents[1] / "artifacts" / stage).rglob("part-*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    assert str(part) in places(verify(str(run)))
    assert part.exists()


@pytest.mark.parametrize(("stage", "column"), [("contrast", "logprob"), ("judge", "value"), ("sample", "text")])
def test_a_part_rewritten_under_a_fitting_name_gives_other_numbers(run: Path, stage: str, column: str) -> None:
    for part in list((run.parents[1] / "artifacts" / stage).rglob("part-*.parquet")):
        table = pq.read_table(part).to_pandas()
        if column not in table:  # another kind of judge
            continue
        if column == "text":
            table[column] += " telegraph"
        elif column == "value":
            table[column] = 1.0 - table[column]
        else:  # every other option, so that the odds change
            table.loc[table.index % 2 == 1, column] -= 1.0
        table.to_parquet(part, index=False)
        part.rename(part.with_name(f"part-{file_hash(part)[:32]}.parquet"))
    # Answers that were never judged are not judged now: the run counts as unfinished.
    expected = "verdicts missing" if column == "text" else "results.json estimates["
    assert expected in places(verify(str(run)))


def test_missing_rows_and_changed_adapters_datasets_and_requests_are_found(run: Path) -> None:
    artifacts = run.parents[1] / "artifacts"
    result = next((artifacts / "finetune").rglob("result.json"))
    original = result.read_text()
    result.write_text(original.replace("0.04", "0.01"))
    assert str(result) in places(verify(str(run)))
    result.write_text(original)
    result.parent.rename(result.parent.with_suffix(".away"))
    assert "finetune: replicates old" in places(verify(str(run)))
    result.parent.with_suffix(".away").rename(result.parent)
    part = next((artifacts / "sample").rglob("part-*.parquet"))
    data = part.read_bytes()
    part.unlink()
    assert "unfinished" in places(verify(str(run)))
    part.write_bytes(data)
    rows = next((artifacts / "dataset").rglob("rows.jsonl"))
    kept = rows.read_text()
    rows.write_text("\n".join(kept.splitlines()[1:]))
    assert str(rows) in places(verify(str(run)))
    rows.write_text(kept)
    spoil(run / "run.json", r'"samples": 1', lambda m: '"samples": 2')
    assert "run.json" in places(verify(str(run)))


def test_the_linked_answers_are_compared_and_a_changed_card_is_only_noted(original: Path, run: Path) -> None:
    frame = pd.read_parquet(run / "completions.parquet")
    frame.loc[0, "text"] = "other"
    frame.to_parquet(run / "completions.parquet")
    card = original / "experiment" / "README.md"
    before = card.read_text()
    card.write_text("# Another card\n\nOf 12 lines.\n")
    checks = verify(str(run))
    card.write_text(before)
    assert len(checks.differences) == 1
    assert "completions.parquet" in places(checks)
    assert "card has changed" in checks.notes[0]


@pytest.mark.slow
def test_the_command_exits_with_1_and_names_the_number(run: Path) -> None:
    spoil(run / "results.json", r'"mde": ([\d.]+)', lambda m: '"mde": 9.5')
    command = [sys.executable, "-m", "weirdgen", "verify", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "results.json headline.mde: there is 9.5, the store gives " in done.stderr
    assert "Traceback" not in done.stderr
    (run / "results.json").write_text("{")
    assert "no JSON" in places(verify(str(run)))
    (run / "report.html").unlink()
    with pytest.raises(StoreError, match="weirdgen report"):
        verify(str(run))


@pytest.mark.parametrize("name", ["results.json", "report.html"])
def test_a_byte_that_is_no_text_is_a_difference(run: Path, name: str) -> None:
    data = bytearray((run / name).read_bytes())
    at = data.index(b"contrast")
    data[at] = 0xFF
    (run / name).write_bytes(data)
    assert name in places(verify(str(run)))


def test_results_that_are_nested_too_deep_are_a_difference(run: Path) -> None:
    (run / "results.json").write_text("[" * 200_000)
    assert "results.json" in places(verify(str(run)))
