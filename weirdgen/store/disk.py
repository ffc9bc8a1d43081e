"""Writing to a disk that may be full, shared or disconnected: whole files or none, and one sentence for what went wrong.

In: paths and bytes. Out: files. It knows nothing of artifacts (`weirdgen.store.artifacts`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from weirdgen.errors import StoreError


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn an operating-system error while writing into one sentence with the way out."""
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error) from error


def disk_error(folder: Path, error: OSError) -> StoreError:
    """What is in the way, or else that nothing finished is lost."""
    if told := _in_the_way(folder, error):
        return StoreError(f"cannot write {folder}: {told}")
    reason = (error.strerror or str(error)).lower()
    return StoreError(
        f"cannot write {folder}: {reason}. Nothing finished is lost: free some space or permissions (or copy the "
        "store elsewhere and pass --store DIR), then run the same command again"
    )


def _in_the_way(folder: Path, error: OSError) -> str | None:
    """What of the path itself is wrong; None if the trouble is another."""
    place = next((Path(name) for name in (error.filename2, error.filename) if isinstance(name, str)), folder)
    if isinstance(error, FileExistsError | NotADirectoryError):
        file = next((one for one in (place, *place.parents) if os.path.isfile(one)), None)
        return (
            f"{file} is a file, and a folder is wanted there; name another folder, or move the file" if file else None
        )
    if isinstance(error, IsADirectoryError):
        return f"{place} is a folder, and a file is wanted there; name another file"
    if isinstance(error, FileNotFoundError) and not os.path.isdir(place.parent):
        return f"there is no folder {place.parent}; make it, or name another"
    return None


def made_folder(folder: Path) -> Path:
    """The folder, made if needed: for what a person names as output, before work is done for it.

    Raises `StoreError` if it cannot be made.
    """
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_synced(file: Path, content: bytes) -> None:
    """Write a file and sync it to disk."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, sync it and rename it into place, so that `path` is never partial."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    # Not tempfile: its files are the owner's alone, and a mode given afterwards would overrule the umask.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def share_files(source: Path, target: Path) -> None:
    """Every file below `source` also below the folder `target`, made if needed: as the same file under two names where the disk
    can do that, else as a copy. Neither folder may then write into a file in place; `unshare_files` makes them its own again."""
    target.mkdir(parents=True, exist_ok=True)
    for place in sorted(source.rglob("*")):
        there = target / place.relative_to(source)
        if place.is_dir():
            there.mkdir(exist_ok=True)
            continue
        try:
            os.link(place, there)
        except OSError:  # another disk, or one without links
            shutil.copy2(place, there)


def unshare_files(folder: Path) -> None:
    """Files below this folder that have another name elsewhere become copies, which may be written to."""
    for file in folder.rglob("*"):
        if file.is_file() and file.stat().st_nlink > 1:
            copy = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.tmp")
            shutil.copy2(file, copy)
            os.replace(copy, file)


def own_folder(folder: Path) -> Path:
    """The folder, if it is none yet or a real one. Raises `StoreError` for a link: what is behind it is somebody else's."""
    if folder.is_symlink():
        raise StoreError(
            f"{folder}: a link to {os.readlink(folder)}; weirdgen writes only into folders of its own. Remove the link"
        )
    return folder
