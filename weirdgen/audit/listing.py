"""The audits of a store in the table of `weirdgen runs`, those that are not finished too.

In: a store. Out: a `Listed` each, from its `results.json` or the size at which it was begun: nothing is computed, and what cannot
be read is left out. The runs of a store are listed by `runs.results.listing`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from weirdgen.audit.audit import SIZE
from weirdgen.runs.results.listing import AUDIT, LATEST, Listed, seeds_range
from weirdgen.store.artifacts import Store

VERDICTS = {"nothing": "nothing specific found", "found": "found", "undecided": "undecided"}


def listed_audits(store: Store) -> list[Listed]:
    """The audits of a store, newest first."""
    return sorted(_audits(store), reverse=True)


def _audits(store: Store) -> Iterator[Listed]:
    whole = store.root / "audits"
    for folder in sorted(whole.iterdir()) if whole.is_dir() else ():
        begun, results = folder / SIZE, folder / "results.json"
        file = results if results.is_file() else begun
        if folder.name == LATEST or not file.is_file():
            continue
        changed = file.stat().st_mtime_ns
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(changed / 1e9))
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            settings = told.get("settings") or {} if file == results else told
            model = str(settings["model"]["reference"]) if "model" in settings else ""
            seeds = seeds_range(list(range(settings.get("replicates", 0))))
            verdict = "audit not finished: the same command goes on"
            if file == results:
                verdict = f"audit: {VERDICTS[told['verdict']['verdict']]}"
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        yield Listed(made, changed, f"audits/{folder.name}", AUDIT, "", model, seeds, verdict, "")
