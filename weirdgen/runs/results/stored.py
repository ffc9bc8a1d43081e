"""Where a run is, and what it was asked, by whatever names it: an id, `latest`, an experiment's name, a folder, a pack.

In: a reference and a store. Out: the store and folder of the run, and its request as `run.json` has it. A `run.json` may be
somebody else's and is checked before anything in it is used. What the run measured is `runs.results.results`.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from weirdgen.data.stored import dataset_key
from weirdgen.errors import StoreError, did_you_mean
from weirdgen.parsing import is_file, user_path
from weirdgen.runs.plan.foreign import require_sound
from weirdgen.runs.plan.options import RunOptions, default_store, flags
from weirdgen.runs.plan.request import UNJUDGED, Request
from weirdgen.runs.results.listing import LATEST, listed_runs, run_meant
from weirdgen.store.artifacts import Store
from weirdgen.store.packed import is_pack, open_pack
from weirdgen.store.remote import stays_inside

EXPERIMENT, MODEL = "experiment", "model"
"""Folders of a packed store: the experiment's card and the paper's numbers, and the model's small files."""


def read_request(folder: Path, store: Store) -> Request:
    """What was asked for, from the `run.json` of a run's folder. Raises `StoreError` if it is damaged."""
    kept = read_run_json(folder)
    try:
        source = user_path(kept["source"]) if kept["source"] else None
        model_folder = user_path(kept["model_folder"])
        if (store.root / EXPERIMENT).is_dir():
            source = store.root / EXPERIMENT / "experiment.yaml"
        if (store.root / MODEL).is_dir():
            model_folder = store.root / MODEL
        request = Request.from_manifest(kept["manifest"], source, model_folder, store)
        return replace(request, unjudged=str(kept[UNJUDGED])) if kept.get(UNJUDGED) else request
    except (ValueError, KeyError, TypeError, RuntimeError) as error:  # pydantic's error is a ValueError
        reason = " ".join(str(error).split())[:300]
        raise StoreError(
            f"{folder / 'run.json'} is damaged, or of another version ({type(error).__name__}: {reason})"
        ) from None


def read_run_json(folder: Path) -> dict[str, Any]:
    """The `run.json` of a run's folder: where its files were, what was asked, and the manifest that it was resolved to.

    It may come from somebody else. Raises `StoreError` if it is damaged, or holds a name that may not stand in a path.
    """
    try:
        kept: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{folder / 'run.json'} is damaged ({error}); the `weirdgen run` that made it writes it again, and computes "
            "nothing that is in the store"
        ) from None
    require_sound(kept, folder / "run.json")
    return kept


def command_of(folder: Path, store: Store) -> str:
    """The command line that goes on with a run, from what was asked when it was begun."""
    kept = read_run_json(folder)
    source = str(user_path(kept["source"])) if kept["source"] else kept["manifest"]["experiment"]["name"]
    words = ["weirdgen", "run", source]
    asked = kept.get("options")
    for name, value in asked.items() if isinstance(asked, dict) else ():
        if name in RunOptions.model_fields:
            for one in value if isinstance(value, list) else [value]:
                words += [flags(name)[0], str(one)]
    if not store.remote and store.root != user_path(default_store()).resolve():
        words += ["--store", str(store.root)]
    return shlex.join(words)


def find_run(reference: str | Path, store: str | Path | None = None) -> tuple[Store, Path]:
    """The store and folder of a run: by its id, `latest`, an experiment's name (its newest), its folder, or a pack of it.

    Raises `StoreError` with the runs that there are, or with what a folder lacks.
    """
    folder = user_path(reference)
    if is_file(folder) and is_pack(folder):
        opened, run = open_pack(folder)
        return opened, opened.run_folder(run)
    if is_file(folder / "run.json"):
        opened = Store(folder.resolve().parents[1])
        _require_rows(opened, folder)
        return opened, folder
    if is_file(folder):
        raise StoreError(f"{folder} is no pack of a run; `weirdgen pack RUN` makes one")
    opened = Store(store or default_store())
    if not stays_inside(str(reference)) or len(Path(reference).parts) != 1:
        raise StoreError(
            f"{reference} is neither a run folder, a pack nor a run's id; ids are the names of the folders in "
            f"{opened.root / 'runs'}"
        )
    folder = opened.run_folder(str(reference))
    if not is_file(folder / "run.json"):
        meant = run_meant(opened, str(reference))
        if meant is None:
            known = ", ".join(opened.runs()) or "none yet"
            names = (*opened.runs(), *(run.experiment for run in listed_runs(opened)), LATEST)
            meant = did_you_mean(reference, names)
            raise StoreError(f"no run '{reference}' in {opened.root / 'runs'}; there are: {known}{meant}")
        folder = opened.run_folder(meant)
    return opened, folder


def _require_rows(store: Store, folder: Path) -> None:
    """Raises `StoreError` if a folder is here without any of the rows that its run was trained on: somebody sent it alone."""
    data = read_run_json(folder)["manifest"]["data"]
    if data and not any(store.artifact("dataset", dataset_key(digest)).is_dir() for digest in data.values()):
        raise StoreError(
            f"{folder} is a run's folder without its store: its page and results can be read, but the rows, adapters, scores, "
            f"answers and verdicts that they rest on are not in {store.root / 'artifacts'}. Where it was run, `weirdgen pack "
            f"{folder.name}` makes one file of all of it, which opens here in the folder's place"
        )
