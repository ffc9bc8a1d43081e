"""`weirdgen runs`: the runs of a store, newest first, and which of them a name such as `latest` means.

In: a store. Out: what each was asked and found, from its `run.json` and `results.json` alone: nothing is computed, and what
cannot be read is left out. Audits, of which some runs are parts, are listed by `audit.listing`. Reading a run whole is
`runs.results.results`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen.report.tables import VERDICT_WORDS
from weirdgen.runs.plan.options import flags
from weirdgen.store.artifacts import Store

LATEST = "latest"
AUDIT = "audit"
"""What an audit calls its experiments: this, or this and a kind of trigger."""
NOT_FINISHED = "not finished: no report yet"


class Listed(NamedTuple):
    """One run, or one audit."""

    made: str
    """When its report was written, else when it was begun: YYYY-MM-DD HH:MM."""
    changed: int
    """When its newest file was written (nanoseconds), for runs of the same minute."""
    id: str
    experiment: str
    preset: str
    model: str
    seeds: str
    verdict: str
    asked: str
    """Options other than the defaults, as they are typed."""


def listed_runs(store: Store, experiment: str | None = None) -> list[Listed]:
    """The runs of a store, or of one experiment, newest first."""
    return sorted((run for run in _runs(store) if experiment in (None, run.experiment)), reverse=True)


def run_lines(runs: list[Listed]) -> list[str]:
    """A table: a line of names, then a line per run."""
    shown = [("when", "run", "model", "seeds", "verdict", "asked")]
    shown += [(run.made, run.id, run.model, run.seeds, run.verdict, run.asked) for run in runs]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(f"{cell:{width}s}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def run_meant(store: Store, reference: str) -> str | None:
    """The run that `latest`, NAME:latest or an experiment's NAME means: the newest one; None if there is none."""
    name, colon, last = reference.rpartition(":")
    if colon and last != LATEST:
        return None
    wanted = None if reference == LATEST else name if colon else reference
    runs = [run for run in listed_runs(store, wanted) if not of_audit(run)]
    return runs[0].id if runs else None


def of_audit(run: Listed) -> bool:
    """Whether this run is a part of an audit, and has no report of its own."""
    return run.verdict == NOT_FINISHED and (run.experiment == AUDIT or run.experiment.startswith(f"{AUDIT}_"))


def _runs(store: Store) -> Iterator[Listed]:
    for name in store.runs():
        folder = store.root / "runs" / name
        try:
            kept = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            manifest, asked = kept["manifest"], kept.get("options") or {}
            seeds = [int(seed) for seed in manifest["seeds"]]
            facts = str(manifest["experiment"]["name"]), str(manifest["preset"]), str(manifest["model"]["reference"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # damaged, or another version's; whoever names it is told
        made, verdict = _found(folder / "results.json")
        changed = max(file.stat().st_mtime_ns for file in folder.iterdir() if file.suffix == ".json")
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(changed / 1e9))
        judge = manifest.get("judge")
        words = _typed(asked)
        if isinstance(judge, dict) and "judge" not in asked:
            words = f"{words} judged later: --judge {judge.get('reference')}".strip()
        yield Listed(made or begun, changed, name, *facts, seeds_range(seeds), verdict, words)


def _found(file: Path) -> tuple[str, str]:
    """When the report was made, and the headline's verdict with its effect in the measure's own unit."""
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        headline = results["headline"]
        effect = "" if headline["effect"] is None else f" {headline['effect']:+.2f}"
        return str(results["run"]["created"]), f"{VERDICT_WORDS[headline['verdict']]}: {headline['measure']}{effect}"
    except FileNotFoundError:
        return "", NOT_FINISHED
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", "report not readable"


def seeds_range(seeds: list[int]) -> str:
    """`0–3`, or each by itself where some are missing between."""
    if not seeds:
        return ""
    first, last = min(seeds), max(seeds)
    return f"{first}–{last}" if len(seeds) == last - first + 1 > 1 else ", ".join(map(str, seeds))


def _typed(asked: dict[str, Any]) -> str:
    """Options as words of the command line, but for those that have columns of their own."""
    words: list[str] = []
    for name, value in asked.items():
        if name in ("model", "preset"):
            continue
        for one in value if isinstance(value, list) else [value]:
            words.append(f"{_flag(name)} {one}")
    return " ".join(words)


def _flag(name: str) -> str:
    try:
        return flags(name)[0]
    except KeyError:  # an option of another version
        return f"--{name.replace('_', '-')}"
