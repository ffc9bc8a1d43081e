"""Which files of a report's folder are ours and may be replaced or removed.

In: a folder and the files to be written. Out: the files, and `.weirdgen.json` with the hash of each. A folder that a person
names (`report --to`) may hold anything; a name that is taken by something of theirs is refused before anything is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from weirdgen.errors import WeirdgenError
from weirdgen.store.disk import explain_disk_errors, write_whole
from weirdgen.store.keys import file_hash
from weirdgen.store.remote import stays_inside

LISTING = ".weirdgen.json"


def listed_files(folder: Path) -> dict[str, str]:
    """Name in the folder → SHA-256, of what earlier reports wrote; empty without a sound listing."""
    try:
        files = json.loads((folder / LISTING).read_text(encoding="utf-8"))["files"]
        return {name: digest for name, digest in files.items() if stays_inside(name) and isinstance(digest, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def require_free(folder: Path, names: Iterable[str]) -> None:
    """Raises `WeirdgenError` if one of these files is there and no report of ours is known to have written it."""
    ours = listed_files(folder)
    for name in names:
        if name not in ours and (folder / name).exists():
            raise WeirdgenError(
                f"{folder / name}: this file exists and no report wrote it; name another folder, or move the file"
            )


def require_no_links(folder: Path) -> None:
    """Raises `WeirdgenError` if the figures would go through a link into a folder that is not ours."""
    if (folder / "figures").is_symlink():
        raise WeirdgenError(
            f"{folder / 'figures'}: a link; figures are written into a folder of their own. Remove the link"
        )


def write_listed(folder: Path, files: dict[str, bytes]) -> None:
    """Write these files, each whole or not at all, list them, and remove what the listing has from before and they have not.

    A listed file that was changed since is left where it is. Raises `StoreError` if the folder cannot be written.
    """
    before = listed_files(folder)
    now = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    with explain_disk_errors(folder):
        # The listing first: a kill in between leaves names in it that are not there, never a file of ours that is not in it.
        folder.mkdir(parents=True, exist_ok=True)
        _list(folder, {**before, **now})
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, content)
        for name, digest in before.items():
            old = folder / name
            if name not in now and old.is_file() and not old.is_symlink() and file_hash(old) == digest:
                old.unlink()
        _list(folder, now)


def _list(folder: Path, files: dict[str, str]) -> None:
    write_whole(folder / LISTING, (json.dumps({"files": files}, indent=1, sort_keys=True) + "\n").encode())
