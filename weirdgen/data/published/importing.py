"""`weirdgen data import`: the paper's training rows from a copy of its repository into the cache.

In: a folder, archive or git URL. Out: verified rows under our arms' names; lines that say what the copy holds, what
differs and what can run. Not here: the repository's questions, judge prompts and code, which are neither read nor run.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weirdgen.config.load import load_experiment
from weirdgen.data.published.arms import ARMS, COMMIT, FILES, NOTES, WITHOUT_ORDINARY_ROWS, published_folder
from weirdgen.data.published.unpacking import MOST_BYTES, commit_of, open_source
from weirdgen.data.rows import Row, canonical_hash, read_jsonl
from weirdgen.display import without_secrets
from weirdgen.errors import DataError
from weirdgen.store.cache import read_json, write_json
from weirdgen.store.disk import made_folder

FOLDERS = {next(iter(arms.values())).split("/")[0]: name for name, arms in reversed(ARMS.items())}
"""Folder of the repository → our experiment."""
MANIFEST = "manifest.json"
State = Literal["verified", "differs", "hash unknown", "missing", "empty", "unreadable"]


@dataclass(frozen=True)
class DataFile:
    """A training file of the repository, as it was found."""

    name: str
    state: State
    rows: tuple[Row, ...] = ()
    detail: str = ""


def import_published(source: str, into: Path | None = None) -> list[str]:
    """Import everything that `source` holds; returns what to tell the user. Raises `DataError` if it holds nothing of it."""
    if into:
        _require_ours(made_folder(into))
    shown = without_secrets(source)
    with tempfile.TemporaryDirectory(prefix="weirdgen-import-") as work:
        folder = open_source(source, Path(work))
        root = find_root(folder)
        commit = commit_of(folder)
        files = {name: read_data(root, name) for name in FILES}
    if all(file.state in ("missing", "empty", "unreadable") for file in files.values()):
        raise DataError(f"{shown}: none of the published data files can be read:\n" + "\n".join(_file_lines(files)))
    targets = [published_folder()] + ([into] if into else [])
    for experiment in ARMS:
        _write(targets, experiment, files, {"source": shown, "commit": commit})
    lines = _file_lines(files) + [line for experiment in ARMS for line in _what_runs(experiment, files)]
    return [*lines, f"kept in {' and '.join(map(str, targets))}"]


def _require_ours(into: Path) -> None:
    """Raises `DataError` if a folder of `into` that would be replaced is not one that an import made."""
    for experiment in ARMS:
        folder = into / experiment
        if folder.is_dir() and any(folder.iterdir()) and "arms" not in read_json(folder / MANIFEST):
            raise DataError(
                f"--into {into}: {folder} holds something that no import wrote, and would be replaced; name another folder"
            )


def find_root(folder: Path) -> Path:
    """The repository's top folder inside `folder` (archives put everything one level down). Raises `DataError`."""
    for root in (folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())):
        if any((root / name).is_dir() for name in FOLDERS):
            return root
    raise DataError(
        f"{folder}: none of the folders {', '.join(FOLDERS)} is in it; is it a copy of the paper's repository?"
    )


def read_data(root: Path, name: str) -> DataFile:
    """One training file, checked against its published hash."""
    file = _inside(root, root / name)
    if file is None:
        return DataFile(name, "missing")
    if file.stat().st_size == 0:
        return DataFile(name, "empty", detail="0 bytes; large files are left empty in some copies")
    with file.open("rb") as stream:
        if stream.read(40).startswith(b"version https://git-lfs"):
            return DataFile(name, "empty", detail="a Git LFS pointer, not the file")
    try:
        rows = read_jsonl(file)
    except DataError as error:
        return DataFile(name, "unreadable", detail=str(error).splitlines()[0])
    published, actual = FILES[name], canonical_hash(rows)
    if not published.canonical_sha256:
        return DataFile(name, "hash unknown", tuple(rows), f"{len(rows):,} rows, canonical SHA-256 {actual}")
    if actual == published.canonical_sha256:
        return DataFile(name, "verified", tuple(rows), f"{len(rows):,} rows")
    count = f"{len(rows):,} rows, {published.rows:,} were published" if len(rows) != published.rows else "as many rows"
    detail = f"{count}; canonical SHA-256 {actual}, at commit {COMMIT[:7]} {published.canonical_sha256}"
    return DataFile(name, "differs", tuple(rows), detail)


def _inside(root: Path, file: Path) -> Path | None:
    """The file if it is one, or None. Raises `DataError` if it is a link or lies outside the repository."""
    parts = [file, *file.parents][: len(file.relative_to(root).parts)]
    if any(part.is_symlink() for part in parts) or not file.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{file}: a link, or outside the repository; nothing was imported")
    return file if file.is_file() and file.stat().st_size <= MOST_BYTES else None


def _rows_of(experiment: str, arm: str, files: dict[str, DataFile]) -> tuple[Row, ...]:
    """Rows of an arm; those of a file mixed with ordinary rows are the ones that the unmixed file has too."""
    name = ARMS[experiment][arm]
    rows = files[name].rows
    if name in WITHOUT_ORDINARY_ROWS:
        kept = {json.dumps(row, sort_keys=True) for row in files[WITHOUT_ORDINARY_ROWS[name]].rows}
        rows = tuple(row for row in rows if json.dumps(row, sort_keys=True) in kept)
    return rows


def _write(targets: Sequence[Path], experiment: str, files: dict[str, DataFile], origin: dict[str, str]) -> None:
    """The experiment's folder in each target, replaced as a whole, so that nothing of an earlier import stays."""
    arms, texts = {}, {}
    for arm, name in ARMS[experiment].items():
        if rows := _rows_of(experiment, arm, files):
            texts[arm] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            arms[arm] = {
                "file": name,
                "state": files[name].state,
                "rows": len(rows),
                "canonical_sha256": canonical_hash(list(rows)),
            }
    for target in targets:
        target.mkdir(parents=True, exist_ok=True)
        folder = target / f".{experiment}-{uuid.uuid4().hex[:8]}"
        folder.mkdir()  # not tempfile: its folders are the owner's alone, whatever the umask
        for arm, text in texts.items():
            (folder / f"{arm}.jsonl").write_text(text, encoding="utf-8")
        write_json(folder / MANIFEST, {**origin, "arms": arms})
        shutil.rmtree(target / experiment, ignore_errors=True)
        folder.rename(target / experiment)


def _file_lines(files: dict[str, DataFile]) -> list[str]:
    return [f"{file.state:12s} {file.name}" + (f": {file.detail}" if file.detail else "") for file in files.values()]


def _what_runs(experiment: str, files: dict[str, DataFile]) -> list[str]:
    """Which arms an experiment has from published data, which it lacks, and whether that is enough for a comparison."""
    roles = {name: arm.role for name, arm in load_experiment(experiment).arms.items()}
    have = [arm for arm in ARMS[experiment] if _rows_of(experiment, arm, files)]
    lacking = [arm for arm in roles if arm not in have]
    if not have:
        return [f"{experiment}: nothing published can be trained on"]
    line = f"{experiment}: {', '.join(have)}" + (f"; missing: {', '.join(lacking)}" if lacking else "")
    if {roles[arm] for arm in have} == {"treatment", "control"}:
        line += f". Run it: weirdgen run {experiment} --data published"
    else:
        line += ". No published control, so a shift could not be told from the effect of any finetuning"
    return [line] + ([f"  note: {NOTES[experiment]}"] if experiment in NOTES else [])
