"""The store: content-addressed artifacts, so equal inputs mean no work and a kill loses little.

Two kinds of artifact, both under `<root>/artifacts/<stage>/<key>/`, where the key is a hash of the resolved inputs:
- a *folder* (an adapter, a dataset): written under a temporary name, its marker `complete.json` last, then renamed;
- a *table* (completions, scores, verdicts): rows that are added while they are made; see `weirdgen.store.table`.
Runs (what a command asked for, its report) are under `<root>/runs/`. The store knows nothing of engines or statistics.

A store at a URL (`s3://…`, see `weirdgen.store.remote`) has a copy of what this machine needs in the cache, laid out in the
same way. Reading fetches what is missing here, and writing sends what is finished, an artifact's marker last: nobody outside
this package has to think of it. Opening and reading write nothing, so a store may be read-only. Locks hold between processes
of one machine only.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from weirdgen.errors import StoreError
from weirdgen.parsing import user_path
from weirdgen.store.cache import cache_folder
from weirdgen.store.disk import disk_error, explain_disk_errors, write_synced
from weirdgen.store.keys import content_key, file_hash
from weirdgen.store.remote import open_remote, stays_inside

MARKER = "complete.json"


class Store:
    """A folder of artifacts and runs, or a URL of such. Safe to use from several processes at once."""

    def __init__(self, location: Path | str) -> None:
        self.remote = open_remote(location)
        if self.remote:
            self.root = cache_folder() / "stores" / content_key(self.remote.url)
        else:
            self.root = user_path(location).resolve()
        self.location = self.remote.url if self.remote else str(self.root)
        """What another machine opens to find the same store; it may hold credentials, so it is neither shown nor kept."""
        self._prepared = False
        if os.path.isfile(self.root):  # False, too, where it cannot be looked at
            raise StoreError(
                f"store {self.root} is a file; pass --store with a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
            )

    def require_writable(self) -> None:
        """Make the store's own folders, before the first thing is written. Raises `StoreError` if that is not allowed."""
        if self._prepared:
            return
        with explain_disk_errors(self.root):
            for name in ("artifacts", "runs", "locks", "tmp"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            if not os.access(self.root / "tmp", os.W_OK):
                raise PermissionError(13, "permission denied")
        self._prepared = True
        self._drop_leftovers()

    def folder(self, stage: str, key: str) -> Path:
        """Where an artifact lies or will lie; to read it, take `artifact`.

        Raises `StoreError` for a key that is no plain name: keys also come out of manifests.
        """
        if not stays_inside(key) or len(Path(key).parts) != 1:
            raise StoreError(f"{key[:80]!r} is not an artifact key; what names it is damaged")
        return self.root / "artifacts" / stage / key

    def artifact(self, stage: str, key: str) -> Path:
        """An artifact's folder with all its files on this disk. There may be none: look at `marker` first."""
        return self.on_disk(self.folder(stage, key))

    def keys(self, stage: str) -> list[str]:
        """Names of every artifact of a stage, finished or not."""
        folder = self.on_disk(self.root / "artifacts" / stage)
        return sorted(place.name for place in folder.iterdir()) if folder.is_dir() else []

    def marker(self, stage: str, key: str) -> dict[str, Any] | None:
        """What `complete.json` says of a finished folder artifact; None if it is absent, unfinished or damaged.

        A damaged artifact is named in a warning; whoever makes it again sets it aside.
        """
        folder = self.folder(stage, key)
        self.pull(folder / MARKER)
        try:
            marker: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
            files: dict[str, str] = marker["files"]
            if not all(stays_inside(name) for name in files):
                raise ValueError("names that point outside the folder")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            _warn_of_damage(f"{folder / MARKER} is damaged")
            return None
        for name, digest in files.items():
            if self.remote and not (folder / name).exists():  # comes when it is needed
                continue
            if not (folder / name).is_file() or file_hash(folder / name) != digest:
                _warn_of_damage(f"{folder / name} is truncated, damaged or missing")
                return None
        return marker

    @contextlib.contextmanager
    def create(self, stage: str, key: str, inputs: Any) -> Iterator[Path]:
        """A temporary folder that becomes the artifact when the block ends without an error.

        The marker holds `inputs`, the time it took and every file's hash. If another process finished the same
        artifact meanwhile, that one stays: equal inputs, equal result.
        """
        started = time.monotonic()
        temporary = self.temporary()
        try:
            with explain_disk_errors(self.root):
                temporary.mkdir()
            try:
                yield temporary
            except OSError as error:  # the block does more than write: what else goes wrong in it is no full disk
                named = error.filename if isinstance(error.filename, str) else ""
                if error.errno in (errno.ENOSPC, errno.EDQUOT) or Path(named).is_relative_to(self.root):
                    raise disk_error(self.root, error) from error
                raise
            with explain_disk_errors(self.root):
                self._finish(temporary, stage, key, inputs, time.monotonic() - started)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _finish(self, temporary: Path, stage: str, key: str, inputs: Any, seconds: float) -> None:
        """Hash the files, write the marker and put the folder in its place."""
        target = self.folder(stage, key)
        files = {str(f.relative_to(temporary)): file_hash(f) for f in sorted(temporary.rglob("*")) if f.is_file()}
        marker = {
            "stage": stage,
            "key": key,
            "inputs": inputs,
            "files": files,
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        write_synced(temporary / MARKER, json.dumps(marker, indent=1, ensure_ascii=False).encode())
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.exists()  # looked at first: a folder that another process puts here has its marker
        if self.marker(stage, key) is not None:
            return
        if unfinished and target.exists():
            if not (target / MARKER).exists():
                _warn_of_damage(f"{target} has no {MARKER}")
            self._set_aside(target)
        for name in (*files, MARKER):
            self.push(temporary / name, target / name)
        try:
            os.rename(temporary, target)
        except OSError:
            if self.marker(stage, key) is None:  # else another process was faster
                raise

    def on_disk(self, path: Path) -> Path:
        """This file of the store, or every file under this folder, on this disk. Returns the path."""
        if self.remote and not path.is_file():
            for name in self.remote.names(self.name(path)):
                self.pull(self.root / name)
        return path

    def runs(self) -> list[str]:
        """Names of the runs that this machine knows."""
        folder = self.root / "runs"
        return sorted(p.name for p in folder.iterdir() if (p / "run.json").is_file()) if folder.is_dir() else []

    def run_folder(self, run: str) -> Path:
        """A run's folder with its files as they are now: remote files that are newer replace ours.

        Ours are newer if a command was killed before it sent them, so that labels a person gave are not lost.
        """
        folder = self.root / "runs" / run
        if self.remote:
            for name in self.remote.names(self.name(folder)):
                place = self.root / name
                self.pull(place, anew=place.exists() and self.remote.modified(name) > place.stat().st_mtime)
        return folder

    @contextlib.contextmanager
    def writing(self, folder: Path) -> Iterator[Path]:
        """A folder of a run, made if needed, whose files are uploaded when the block ends, however it ends.

        A folder outside the store is only made. Raises `StoreError` if something cannot be written.
        """
        with explain_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                yield folder
            finally:
                if self.remote and folder.is_relative_to(self.root):
                    for file in sorted(folder.rglob("*")):
                        if file.is_file():
                            self.push(file, file)

    def name(self, path: Path) -> str:
        """The remote name of a path inside the store."""
        return path.relative_to(self.root).as_posix()

    def push(self, file: Path, place: Path) -> None:
        """Upload a file as `place` of the store."""
        if self.remote:
            self.remote.push(file, self.name(place))

    def pull(self, place: Path, anew: bool = False) -> None:
        """Download a file of the store if it exists remotely and is missing here or wanted `anew`."""
        if self.remote and (anew or not place.exists()):
            if not place.resolve().is_relative_to(self.root.resolve()):
                raise StoreError(f"{place}: points outside the store (a link?); nothing was written there")
            temporary = self.temporary()
            try:
                if self.remote.pull(self.name(place), temporary):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(temporary, place)
            finally:
                temporary.unlink(missing_ok=True)

    def unfinished(self, stage: str, key: str) -> Path:
        """A folder for work that a later process can resume; whoever finishes it removes it. Hold the key's lock."""
        return self.root / "unfinished" / f"{stage}-{key}"

    def remove(self, place: Path) -> None:
        """Remove a file of the store if it exists, remotely first."""
        if self.remote:
            self.remote.remove(self.name(place))
        place.unlink(missing_ok=True)

    def temporary(self) -> Path:
        """A unique name under `tmp`; what killed processes leave there is removed later."""
        self.require_writable()
        return self.root / "tmp" / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def lock(self, stage: str, key: str) -> FileLock:
        """Held while an artifact is made, so that a second run waits instead of doing the work again. Freed if its holder dies.

        One lock per file and process, and reentrant: a table is compacted by its own writer.
        """
        self.require_writable()
        return FileLock(self.root / "locks" / f"{stage}-{key}.lock", is_singleton=True)

    def _set_aside(self, folder: Path) -> None:
        aside = self.root / "tmp" / f"damaged-{folder.name}-{uuid.uuid4().hex[:8]}"
        with explain_disk_errors(self.root):
            os.rename(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _drop_leftovers(self) -> None:
        """Remove what killed processes of this machine left in `tmp`."""
        for leftover in (self.root / "tmp").iterdir():
            host, _, rest = leftover.name.rpartition("-")[0].rpartition(
                "-"
            )  # as `temporary` makes them: HOST-PID-RANDOM
            if host == socket.gethostname() and rest.isdecimal() and not _alive(int(rest)):
                shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def _warn_of_damage(problem: str) -> None:
    warnings.warn(f"{problem}; it is made again", stacklevel=3)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # a number that no process of this machine can have is not ours to judge
        return True
    return True
