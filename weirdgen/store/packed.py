"""One file that holds a part of a store, and the store that it is when it is opened elsewhere.

In: files and their names in the store. Out: a plain tar file; or, from such a file, a store in the cache, unpacked once and named
by the file's hash. A pack may come from anybody: nothing in it may lie outside its folder, be a link, or be no plain file. Which
files a run needs is `weirdgen.runs.results.pack`.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from weirdgen.errors import StoreError
from weirdgen.store.artifacts import Store
from weirdgen.store.cache import cache_folder
from weirdgen.store.disk import explain_disk_errors
from weirdgen.store.keys import file_hash
from weirdgen.store.remote import stays_inside

ENDING = ".weirdgen.tar"
FIRST = "weirdgen-pack"
"""The first member of a pack: its content is the name of the run."""


def write_pack(target: Path, run: str, contents: Mapping[str, Path | bytes]) -> int:
    """Write a pack of these names in the store; its size in bytes. Replaces `target` only when it is whole."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    with explain_disk_errors(target.parent):
        try:
            with tarfile.open(temporary, "w") as archive:
                _add(archive, FIRST, run.encode())
                for name, content in sorted(contents.items()):
                    _add(archive, name, content)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        return target.stat().st_size


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    """Without owner or mode: a pack says nothing of the machine that it was made on. Times stay, for what is newest."""
    member = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        return
    facts = content.stat()
    member.size, member.mtime = facts.st_size, int(facts.st_mtime)
    with content.open("rb") as stream:
        archive.addfile(member, stream)


def is_pack(file: Path) -> bool:
    """Whether a file is a pack, by its first bytes."""
    try:
        with file.open("rb") as stream:
            return stream.read(100).rstrip(b"\0") == FIRST.encode()
    except OSError:
        return False


def open_pack(file: Path) -> tuple[Store, str]:
    """The store that a pack holds, and the name of its run. Raises `StoreError` if it is damaged or holds what no pack does."""
    folder = cache_folder() / "packs" / file_hash(file)[:32]
    if not folder.is_dir():
        temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            with explain_disk_errors(folder):
                temporary.mkdir(parents=True)
            _unpack(file, temporary)
            with explain_disk_errors(folder):
                os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    run = (folder / FIRST).read_text(encoding="utf-8", errors="replace")
    if not stays_inside(run) or len(Path(run).parts) != 1 or not (folder / "runs" / run / "run.json").is_file():
        raise StoreError(f"{file}: a pack without its run; ask for it again")
    return Store(folder), run


def _unpack(file: Path, folder: Path) -> None:
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                if not member.isreg() or member.issparse() or not stays_inside(member.name):
                    raise StoreError(f"{file}: {member.name[:80]!r} has no place in a pack; nothing of it was taken")
                place = folder / member.name
                with explain_disk_errors(folder):
                    content = archive.extractfile(member)
                    assert content is not None, member.name
                    try:
                        place.parent.mkdir(parents=True, exist_ok=True)
                        written = place.open("xb")
                    except (FileExistsError, NotADirectoryError):
                        raise StoreError(
                            f"{file}: {member.name[:80]!r} is given twice; nothing of it was taken"
                        ) from None
                    with written:
                        shutil.copyfileobj(content, written)
                    os.utime(place, (member.mtime, member.mtime))
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise StoreError(f"{file}: damaged, or cut off on its way ({error}); ask for it again") from None
