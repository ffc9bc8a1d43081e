"""`weirdgen verify`: computes every number of a run's report again from the store's raw tables and compares.

In: a run's folder. Out: a `Verification`: what was compared, and every difference with its name and both values. Three
questions are asked in turn: is every file of the store that the run rests on unchanged (each carries its own hash); do
the raw tables give `results.json`; do they give the page, number by number. Nothing is written, repaired or judged anew.

What cannot be computed again is taken as recorded: when it was made, versions, machine, and the paper's numbers.
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
from weirdgen.runs.results.diff import equal, leaves, short
from weirdgen.runs.results.reporting import content_of, results_of
from weirdgen.runs.results.results import Run, find_run, load_run, read_run_json
from weirdgen.runs.stages.all import STAGES
from weirdgen.runs.stages.stage import Difference
from weirdgen.store.artifacts import Store

RECORDED = (("run", "created"), ("run", "stamp"), ("ran", "versions"), ("ran", "machine"), ("paper",))
"""Paths in results.json that the store cannot give again."""


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
        self.differences.append(Difference(where, short(found), short(computed)))


def verify(reference: str, store: str | Path | None = None) -> Verification:
    """Check a run by its id or folder. Raises `StoreError` if there is no such run or it has no report yet."""
    found = Verification()
    opened, folder = find_run(reference, store)
    if not (folder / "report.html").is_file() or not (folder / "results.json").is_file():
        raise StoreError(f"{folder} has no report to verify; `weirdgen report {reference}` writes it")
    _check_request(found, opened, folder)
    if found.differences:  # what the run was is no longer certain: nothing can be computed from it
        return found
    run = load_run(reference, store)
    _check_files(found, run)
    if found.differences:
        return found
    try:
        run.require_finished()
    except StoreError as error:
        found.add("store", "a report", f"an unfinished run: {error}")
        return found
    recorded = _read_results(found, folder)
    if recorded is None:
        return found
    computed = clean(results_of(run))
    if _judged_since(found, recorded, computed):
        return found
    for path in RECORDED:
        _copy(recorded, computed, path)
    _compare_results(found, recorded, computed)
    _compare_page(found, run, computed, folder)
    _compare_completions(found, run)
    return found


def _check_request(found: Verification, store: Store, folder: Path) -> None:
    """The run's own description and its datasets, which everything else is named by."""
    manifest = read_run_json(folder)["manifest"]
    if folder.name != (wanted := run_name(manifest)):
        found.add(f"{folder / 'run.json'}: name of the run", folder.name, f"{wanted}: it has been changed")
        return
    for arm, digest in manifest["data"].items():
        rows = store.artifact("dataset", dataset_key(digest)) / "rows.jsonl"
        found.files += 1
        try:
            computed = canonical_hash(read_jsonl(rows))
        except DataError as error:
            computed = f"unreadable rows: {error}"
        if computed != digest:
            found.add(f"dataset of arm {arm}, {rows}", f"the hash {computed}", digest)


def _check_files(found: Verification, run: Run) -> None:
    """Every artifact of every stage against its own hashes."""
    absent = [one for one in run.plan.replicates if not run.store.artifact("finetune", one.key).is_dir()]
    if absent:
        named = ", ".join(f"{one.arm} {one.seed}" for one in absent)
        where = f"{run.store.root / 'artifacts' / 'finetune'}: replicates {named}"
        found.add(where, "nothing", "an adapter each; deleted, or made by a version that trained otherwise")
        return
    for stage in STAGES:
        for difference in stage.verify(run.plan):
            found.files += 1
            if difference is not None:
                found.differences.append(difference)


def _read_results(found: Verification, folder: Path) -> dict[str, Any] | None:
    try:
        recorded = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        found.add(str(folder / "results.json"), f"no JSON ({error})", "an object")
        return None
    if not isinstance(recorded, dict):
        found.add(str(folder / "results.json"), recorded, "an object")
        return None
    return recorded


def _judged_since(found: Verification, recorded: Mapping[str, Any], computed: Mapping[str, Any]) -> bool:
    """Whether verdicts were added after the report: runs with the same answers share them, and each rate may have moved."""
    before = len(found.differences)
    for name, one in computed["judges"].items():
        known = recorded.get("judges", {}).get(name, {}).get("made")
        if known is not None and one.get("made", known) > known:
            found.add(
                f"judge {name}", f"a report on {known} verdicts",
                f"{one['made']}: another run has judged the same answers since; `weirdgen report` takes them in",
            )  # fmt: skip
    return len(found.differences) > before


def _copy(recorded: Mapping[str, Any], computed: dict[str, Any], path: tuple[str, ...]) -> None:
    """Take over what was recorded at `path`; where it is missing, the comparison will say so."""
    for step in path[:-1]:
        inner = recorded.get(step)
        if not isinstance(inner, Mapping) or not isinstance(computed.get(step), dict):
            return
        recorded, computed = inner, computed[step]
    if path[-1] in recorded:
        computed[path[-1]] = recorded[path[-1]]


def _compare_results(found: Verification, recorded: dict[str, Any], computed: dict[str, Any]) -> None:
    there, wanted = dict(leaves(recorded)), dict(leaves(computed))
    absent = object()
    for name in dict.fromkeys([*wanted, *there]):
        one, other = there.get(name, absent), wanted.get(name, absent)
        found.results += isinstance(other, int | float) and not isinstance(other, bool)
        if one is absent or other is absent:
            found.add(f"results.json {name}", *("nothing" if v is absent else v for v in (one, other)))
        elif not equal(one, other):
            found.add(f"results.json {name}", one, other)


def _compare_page(found: Verification, run: Run, computed: dict[str, Any], folder: Path) -> None:
    content = content_of(run, computed)
    there = (folder / "report.html").read_text(encoding="utf-8")
    wanted = page_html(content, sections(content))
    wanted_texts = _without_card(shown_texts(wanted))
    found.answers = sum(_is_answer(one) for one in wanted_texts)
    found.shown = numbers_in([one for one in wanted_texts if not _is_answer(one)])
    if there == wanted:
        return
    there_texts = _without_card(shown_texts(there))
    before = len(found.differences)
    for one, other in zip(there_texts, wanted_texts, strict=False):
        if one != other:
            found.add(f"report.html {other.place}", one.text, other.text)
            if one.place != other.place:  # the pages part here; what follows is only shifted
                break
    if len(there_texts) != len(wanted_texts) and len(found.differences) == before:
        found.add("report.html", f"{len(there_texts)} pieces of text", f"{len(wanted_texts)}")
    if len(found.differences) > before:
        return
    if computed["ran"].get("versions") != machine.versions():
        found.notes.append("other versions wrote the page: its text was compared, its drawings were not")
    elif _drawn(there) != _drawn(wanted):
        found.add("report.html", "figures or markup", "others: a mark, a line or a style has been changed")
    else:
        found.notes.append("the experiment's card has changed since; it holds no result of this run")


def _compare_completions(found: Verification, run: Run) -> None:
    file = run.folder / "completions.parquet"
    wanted = run.completions()
    try:
        there = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        found.add(str(file), f"nothing readable ({type(error).__name__})", f"{len(wanted)} answers")
        return
    if not there.equals(wanted):
        found.add(str(file), f"{len(there)} answers", f"{len(wanted)}, not the same")


def _is_answer(text: Shown) -> bool:
    return text.place.startswith(ANSWER)


def _without_card(texts: list[Shown]) -> list[Shown]:
    return [one for one in texts if not one.place.startswith("card") and one.text != "Card"]


def _drawn(page: str) -> str:
    """The page without the experiment's card, which is free to change."""
    without = re.sub(r'<section id="card">.*?</section>', "", page, flags=re.DOTALL)
    return re.sub(r'\s*<li><a href="#card">.*?</li>', "", without)


def require_verified(found: Verification) -> str:
    """One sentence on what agrees; raises `WeirdgenError` naming every difference (the first twenty)."""
    if found.differences:
        count = len(found.differences)
        lines = [f"{count} difference{'s' if count > 1 else ''} between the report and the store:"]
        lines += [f"  {difference}" for difference in found.differences[:20]]
        if count > 20:
            lines.append(f"  … and {count - 20} more")
        lines.append("If the store is right, `weirdgen report RUN` writes the report again.")
        raise WeirdgenError("\n".join([*lines, *found.notes]))
    return "\n".join(
        [
            f"verified: {found.results} numbers of results.json, {found.shown} on the page and its {found.answers} answers "
            f"are what the store gives; {found.files} files of the store are as they were written",
            *found.notes,
        ]
    )
