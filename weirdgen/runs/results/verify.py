"""`weirdgen verify`: recomputes every number of a report from the store's raw tables and compares.

In: a run's folder. Out: a `Verification`: what was compared, and every difference with its name and both values. Three
questions are asked in turn: is every file of the store that the run rests on unchanged (each carries its own hash); do
the raw tables give `results.json`; do they give the page, number by number. Nothing is written, repaired or judged anew.

What cannot be computed again is taken as recorded: when it was made, versions, machine, what was paid, and the paper's numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from weirdgen import machine
from weirdgen.data.rows import canonical_hash, read_jsonl
from weirdgen.data.stored import dataset_key
from weirdgen.errors import DataError, StoreError, WeirdgenError
from weirdgen.report.content import clean
from weirdgen.report.page import page_html
from weirdgen.report.sections import sections
from weirdgen.report.shown import ANSWER, Shown, numbers_in, shown_texts
from weirdgen.runs.plan.request import run_name
from weirdgen.runs.results.diff import apart, equal, leaves
from weirdgen.runs.results.pack import LEFT_OUT
from weirdgen.runs.results.reporting import SCHEMA_VERSION, content_of, methods_of, results_of
from weirdgen.runs.results.results import Run, load_run
from weirdgen.runs.results.stored import find_run, read_run_json
from weirdgen.runs.stages.all import STAGES
from weirdgen.runs.stages.stage import Difference
from weirdgen.store.artifacts import MARKER, Store
from weirdgen.store.cache import read_json

RECORDED = (
    ("run", "created"), ("run", "stamp"), ("ran", "versions"), ("ran", "machine"), ("ran", "paid"), ("paper",), ("seen_before",),
)  # fmt: skip
"""Paths in results.json that the store cannot give again, or not here: a pack holds no ledger."""


@dataclass
class Verification:
    """What was compared. `differences` is empty if the report is what the store gives."""

    files: int = 0
    results: int = 0
    shown: int = 0
    answers: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, where: str, found: Any, computed: Any) -> None:
        self.differences.append(Difference(where, *apart(found, computed)))


def verify(reference: str, store: str | Path | None = None) -> Verification:
    """Check a run by its id, folder or pack. Raises `StoreError` if there is no such run or it has no report yet."""
    checks = Verification()
    opened, folder = find_run(reference, store)
    if not (folder / "report.html").is_file() or not (folder / "results.json").is_file():
        raise StoreError(f"{folder} has no report to verify; `weirdgen report {reference}` writes it")
    _check_request(checks, opened, folder)
    if checks.differences:  # what the run was is no longer certain: nothing can be computed from it
        return checks
    run = load_run(reference, store)
    _check_files(checks, run)
    if checks.differences:
        return checks
    finetunes = (run.store.artifact("finetune", replicate.key) for replicate in run.plan.replicates)
    if any(read_json(folder / MARKER).get(LEFT_OUT) for folder in finetunes):
        checks.notes.append("adapters were left out of this pack: theirs are the only files that were not checked")
    try:
        run.require_finished()
    except StoreError as error:
        checks.add("store", "a report", f"an unfinished run: {error}")
        return checks
    recorded = _read_results(checks, folder)
    if recorded is None:
        return checks
    if (version := recorded.get("schema_version")) != SCHEMA_VERSION:
        told = f"{SCHEMA_VERSION}: another version wrote this report; `weirdgen report {folder.name}` writes it again"
        checks.add("results.json schema_version", version, told)
        return checks
    computed = clean(results_of(run))
    if _judged_since(checks, recorded, computed):
        return checks
    for path in RECORDED:
        _copy(recorded, computed, path)
    computed["methods"] = methods_of(run, computed)  # it names the versions, which were just taken as recorded
    _compare_results(checks, recorded, computed)
    _compare_page(checks, run, computed, folder)
    _compare_completions(checks, run)
    return checks


def _check_request(checks: Verification, store: Store, folder: Path) -> None:
    """The run's own description and its datasets, which everything else is named by."""
    manifest = read_run_json(folder)["manifest"]
    if folder.name != (wanted := run_name(manifest)):
        checks.add(f"{folder / 'run.json'}: name of the run", folder.name, f"{wanted}: it has been changed")
        return
    for arm, digest in manifest["data"].items():
        rows = store.artifact("dataset", dataset_key(digest)) / "rows.jsonl"
        checks.files += 1
        try:
            computed = canonical_hash(read_jsonl(rows))
        except DataError as error:
            computed = f"unreadable rows: {error}"
        if computed != digest:
            checks.add(f"dataset of arm {arm}, {rows}", f"the hash {computed}", digest)


def _check_files(checks: Verification, run: Run) -> None:
    """Every artifact of every stage against its own hashes."""
    absent = [
        replicate for replicate in run.plan.replicates if not run.store.artifact("finetune", replicate.key).is_dir()
    ]
    if absent:
        named = ", ".join(f"{replicate.arm} {replicate.seed}" for replicate in absent)
        where = f"{run.store.root / 'artifacts' / 'finetune'}: replicates {named}"
        checks.add(where, "nothing", "an adapter each; deleted, or made by a version that trained otherwise")
        return
    for stage in STAGES:
        for difference in stage.verify(run.plan):
            checks.files += 1
            if difference is not None:
                checks.differences.append(difference)


def _read_results(checks: Verification, folder: Path) -> dict[str, Any] | None:
    try:
        recorded = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested too deep
        checks.add(str(folder / "results.json"), f"no JSON ({error})", "an object")
        return None
    if not isinstance(recorded, dict):
        checks.add(str(folder / "results.json"), recorded, "an object")
        return None
    return recorded


def _judged_since(checks: Verification, recorded: Mapping[str, Any], computed: Mapping[str, Any]) -> bool:
    """Whether verdicts were added after the report: runs with the same answers share them, and each rate may have moved."""
    before = len(checks.differences)
    for name, record in computed["judges"].items():
        known = recorded.get("judges", {}).get(name, {}).get("made")
        if known is not None and record.get("made", known) > known:
            checks.add(
                f"judge {name}", f"a report on {known} verdicts",
                f"{record['made']}: another run has judged the same answers since; `weirdgen report` takes them in",
            )  # fmt: skip
    return len(checks.differences) > before


def _copy(recorded: Mapping[str, Any], computed: dict[str, Any], path: tuple[str, ...]) -> None:
    """Take over what was recorded at `path`; where it is missing, the comparison will say so."""
    for step in path[:-1]:
        inner = recorded.get(step)
        if not isinstance(inner, Mapping) or not isinstance(computed.get(step), dict):
            return
        recorded, computed = inner, computed[step]
    if path[-1] in recorded:
        computed[path[-1]] = recorded[path[-1]]


def _compare_results(checks: Verification, recorded: dict[str, Any], computed: dict[str, Any]) -> None:
    there, wanted = dict(leaves(recorded)), dict(leaves(computed))
    absent = object()
    for name in dict.fromkeys([*wanted, *there]):
        stored, other = there.get(name, absent), wanted.get(name, absent)
        checks.results += isinstance(other, int | float) and not isinstance(other, bool)
        if stored is absent or other is absent:
            checks.add(f"results.json {name}", *("nothing" if v is absent else v for v in (stored, other)))
        elif not equal(stored, other):
            checks.add(f"results.json {name}", stored, other)


def _compare_page(checks: Verification, run: Run, computed: dict[str, Any], folder: Path) -> None:
    content = content_of(run, computed)
    there = (folder / "report.html").read_bytes().decode(errors="replace")  # a byte that is no UTF-8 is a difference
    wanted = page_html(content, sections(content))
    wanted_texts = _without_card(shown_texts(wanted))
    checks.answers = sum(_is_answer(text) for text in wanted_texts)
    checks.shown = numbers_in([text for text in wanted_texts if not _is_answer(text)])
    if there == wanted:
        return
    there_texts = _without_card(shown_texts(there))
    before = len(checks.differences)
    for text, other in zip(there_texts, wanted_texts, strict=False):
        if text != other:
            checks.add(f"report.html {other.place}", text.text, other.text)
            if text.place != other.place:  # the pages part here; what follows is only shifted
                break
    if len(there_texts) != len(wanted_texts) and len(checks.differences) == before:
        checks.add("report.html", f"{len(there_texts)} pieces of text", f"{len(wanted_texts)}")
    if len(checks.differences) > before:
        return
    if computed["ran"].get("versions") != machine.versions():
        checks.notes.append("other versions wrote the page: its text was compared, its drawings were not")
    elif _drawn(there) != _drawn(wanted):
        checks.add("report.html", "figures or markup", "others: a mark, a line or a style has been changed")
    else:
        checks.notes.append("the experiment's card has changed since; it holds no result of this run")


def _compare_completions(checks: Verification, run: Run) -> None:
    file = run.folder / "completions.parquet"
    wanted = run.table("completions")
    try:
        there = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        checks.add(str(file), f"nothing readable ({type(error).__name__})", f"{len(wanted)} answers")
        return
    if not there.equals(wanted):
        checks.add(str(file), f"{len(there)} answers", f"{len(wanted)}, not the same")


def _is_answer(text: Shown) -> bool:
    return text.place.startswith(ANSWER)


def _without_card(texts: list[Shown]) -> list[Shown]:
    return [text for text in texts if not text.place.startswith("card") and text.text != "Card"]


def _drawn(page: str) -> str:
    """The page without the experiment's card, which is free to change."""
    without = re.sub(r'<section id="card">.*?</section>', "", page, flags=re.DOTALL)
    return re.sub(r'\s*<li><a href="#card">.*?</li>', "", without)


def require_verified(checks: Verification) -> str:
    """One sentence on what agrees; raises `WeirdgenError` naming every difference (the first twenty)."""
    if checks.differences:
        count = len(checks.differences)
        lines = [f"{count} difference{'s' if count > 1 else ''} between the report and the store:"]
        lines += [f"  {difference}" for difference in checks.differences[:20]]
        if count > 20:
            lines.append(f"  … and {count - 20} more")
        lines.append("If the store is right, `weirdgen report RUN` writes the report again.")
        raise WeirdgenError("\n".join([*lines, *checks.notes]))
    return "\n".join(
        [
            f"verified: {checks.results} numbers of results.json, {checks.shown} on the page and its {checks.answers} answers "
            f"are what the store gives; {checks.files} files of the store are as they were written",
            *checks.notes,
        ]
    )
