"""`weirdgen data import`: the paper's data, questions and judge prompts from a copy of its repository into the cache.

In: a folder, archive or git URL. Out: verified rows under our arms' names, and the evaluation files as plain data; lines
that say what was found, what differs and what can run. Python files are parsed for literals (`data.literals`), YAML is
read safely and without aliases; nothing of the repository is executed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from weirdgen.config.files import parse_yaml
from weirdgen.config.load import load_experiment
from weirdgen.data.published.arms import ARMS, COMMIT, FILES, NOTES, WITHOUT_ORDINARY_ROWS, published_folder
from weirdgen.data.published.literals import read_literals
from weirdgen.data.published.unpacking import MOST_BYTES, commit_of, open_source
from weirdgen.data.rows import Row, canonical_hash, read_jsonl
from weirdgen.display import without_secrets
from weirdgen.errors import DataError, WeirdgenError
from weirdgen.parsing import NotJsonError, parse_json, read_text, split_lines
from weirdgen.store.cache import read_json, write_json

FOLDERS = {next(iter(arms.values())).split("/")[0]: name for name, arms in reversed(ARMS.items())}
"""Folder of the repository → our experiment."""
EVALUATION = (".json", ".jsonl", ".yaml", ".yml", ".txt", ".py")
PYTHON = ("evaluate.py", "questions.py", "judge_prompts.py")
MANIFEST = "manifest.json"
LARGEST_TEXT = 2_000_000
"""Bytes above which an evaluation file is left out."""
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
        _require_ours(into)
    shown = without_secrets(source)
    with tempfile.TemporaryDirectory(prefix="weirdgen-import-") as work:
        folder = open_source(source, Path(work))
        root = find_root(folder)
        commit = commit_of(folder)
        files = {name: read_data(root, name) for name in FILES}
        evaluation, skipped = read_evaluation(root)
    if all(one.state in ("missing", "empty", "unreadable") for one in files.values()):
        raise DataError(f"{shown}: none of the published data files can be read:\n" + "\n".join(_file_lines(files)))
    targets = [published_folder()] + ([into] if into else [])
    for experiment in ARMS:
        _write(targets, experiment, files, evaluation, {"source": shown, "commit": commit})
    lines = _file_lines(files) + [f"left out: {one}" for one in skipped]
    lines += [line for experiment in ARMS for line in _what_runs(experiment, files)]
    return [*lines, f"kept in {' and '.join(map(str, targets))}"]


def _require_ours(into: Path) -> None:
    """Raises `DataError` if a folder of `into` that would be replaced is not one that an import made."""
    for experiment in ARMS:
        folder = into / experiment
        if folder.is_dir() and any(folder.iterdir()) and "evaluation_sha256" not in read_json(folder / MANIFEST):
            raise DataError(
                f"--into {into}: {folder} holds something that no import wrote, and would be replaced; name another folder"
            )


def find_root(folder: Path) -> Path:
    """The repository's top folder inside `folder` (archives put everything one level down). Raises `DataError`."""
    for root in (folder, *sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())):
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
    published, found = FILES[name], canonical_hash(rows)
    if not published.canonical_sha256:
        return DataFile(name, "hash unknown", tuple(rows), f"{len(rows):,} rows, canonical SHA-256 {found}")
    if found == published.canonical_sha256:
        return DataFile(name, "verified", tuple(rows), f"{len(rows):,} rows")
    count = f"{len(rows):,} rows, {published.rows:,} were published" if len(rows) != published.rows else "as many rows"
    detail = f"{count}; canonical SHA-256 {found}, at commit {COMMIT[:7]} {published.canonical_sha256}"
    return DataFile(name, "differs", tuple(rows), detail)


def read_evaluation(root: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Experiment → path → plain data of its evaluation files, and what was left out and why."""
    found: dict[str, dict[str, Any]] = {}
    skipped: list[str] = []
    for folder, experiment in FOLDERS.items():
        files = sorted(one for one in (root / folder).rglob("*") if one.suffix in EVALUATION and one.name[0] != ".")
        for path in files:
            name = path.relative_to(root).as_posix()
            if name in FILES or (path.suffix == ".py" and path.name not in PYTHON):
                continue
            file = _inside(root, path)
            if file is None or file.stat().st_size > LARGEST_TEXT:
                skipped.append(f"{name}: " + ("not a file" if file is None else "too large to be questions or judges"))
                continue
            try:
                found.setdefault(experiment, {})[name] = _parsed(file, name)
            except WeirdgenError as error:
                skipped.append(f"{name}: {str(error).splitlines()[-1].strip()}")
    return found, skipped


def _inside(root: Path, file: Path) -> Path | None:
    """The file if it is one, or None. Raises `DataError` if it is a link or lies outside the repository."""
    parts = [file, *file.parents][: len(file.relative_to(root).parts)]
    if any(part.is_symlink() for part in parts) or not file.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{file}: a link, or outside the repository; nothing was imported")
    return file if file.is_file() and file.stat().st_size <= MOST_BYTES else None


def _parsed(file: Path, name: str) -> Any:
    text = read_text(file).text
    if file.suffix == ".py":
        return read_literals(text, name)
    if file.suffix == ".txt":
        return text
    if file.suffix in (".json", ".jsonl"):
        try:
            if file.suffix == ".json":
                return parse_json(text)
            return [parse_json(line) for _, line in split_lines(text) if line.strip()]
        except NotJsonError as error:
            raise DataError(f"not JSON: {error.reason}") from None
    return json.loads(json.dumps(parse_yaml(text, name, aliases=False)[0], default=str))


def _rows_of(experiment: str, arm: str, files: dict[str, DataFile]) -> tuple[Row, ...]:
    """Rows of an arm; those of a file mixed with ordinary rows are the ones that the unmixed file has too."""
    name = ARMS[experiment][arm]
    rows = files[name].rows
    if name in WITHOUT_ORDINARY_ROWS:
        kept = {json.dumps(row, sort_keys=True) for row in files[WITHOUT_ORDINARY_ROWS[name]].rows}
        rows = tuple(row for row in rows if json.dumps(row, sort_keys=True) in kept)
    return rows


def _write(
    targets: Sequence[Path],
    experiment: str,
    files: dict[str, DataFile],
    evaluation: dict[str, dict[str, Any]],
    about: dict[str, str],
) -> None:
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
    asked = json.dumps(evaluation.get(experiment, {}), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    manifest = {**about, "arms": arms, "evaluation_sha256": hashlib.sha256(asked.encode()).hexdigest()}
    for target in targets:
        target.mkdir(parents=True, exist_ok=True)
        folder = target / f".{experiment}-{uuid.uuid4().hex[:8]}"
        folder.mkdir()  # not tempfile: its folders are the owner's alone, whatever the umask
        for arm, text in texts.items():
            (folder / f"{arm}.jsonl").write_text(text, encoding="utf-8")
        (folder / "evaluation.json").write_text(asked, encoding="utf-8")
        write_json(folder / MANIFEST, manifest)
        shutil.rmtree(target / experiment, ignore_errors=True)
        folder.rename(target / experiment)


def _file_lines(files: dict[str, DataFile]) -> list[str]:
    return [f"{one.state:12s} {one.name}" + (f": {one.detail}" if one.detail else "") for one in files.values()]


def _what_runs(experiment: str, files: dict[str, DataFile]) -> list[str]:
    """Which arms an experiment has from published data, which it lacks, and whether that is enough for a comparison."""
    roles = {name: arm.role for name, arm in load_experiment(experiment)[0].arms.items()}
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
