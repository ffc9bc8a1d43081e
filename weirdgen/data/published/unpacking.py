"""A source of published data (folder, archive or repository) → a plain folder, unpacked with care.

In: a path or a git URL, an empty folder to work in. Out: the folder that holds the files. Archives are untrusted: paths
that leave the target, links, devices and more than `MOST_BYTES` unpacked are refused, and nothing of them is kept.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from weirdgen.display import without_secrets
from weirdgen.errors import DataError
from weirdgen.parsing import user_path

MOST_BYTES = 200_000_000
MOST_FILES = 20_000
CHUNK = 1 << 20
GIT_URL = ("https://", "http://", "ssh://", "git://", "git@", "file://")
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


def open_source(source: str, work: Path) -> Path:
    """The folder with the files of `source`; archives and clones are put into `work`. Raises `DataError`."""
    path = user_path(source)
    if path.is_dir():
        return path
    if path.is_file():
        target = work / "unpacked"
        target.mkdir()
        unpack(path, target)
        return target
    if source.startswith(GIT_URL):
        return clone(source, work / "clone")
    raise DataError(
        f"{without_secrets(source)}: expected a folder, a .zip or .tar(.gz/.bz2/.xz) file, or a git URL ({', '.join(GIT_URL)})"
    )


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar into the empty folder `target`. On refusal, `target` is emptied again."""
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, target)
        else:
            _unpack_tar(archive, target)
    # NotImplementedError: a compression that zipfile does not know; ValueError: sizes and dates that no file has.
    except (
        tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, lzma.LZMAError, zlib.error, RuntimeError, ValueError,
        NotImplementedError, OverflowError, struct.error,
    ) as error:  # fmt: skip
        _empty(target)
        raise DataError(f"{archive}: cannot be read as a zip or tar archive ({error})") from None
    except DataError:
        _empty(target)
        raise


def clone(url: str, target: Path) -> Path:
    """The newest commit of a repository, without links, hooks, submodules, large-file downloads or questions asked.

    Raises `DataError` if git fails, if what is sent is larger than `MOST_BYTES`, or if the files would be more than an archive
    may hold: their sizes are looked at before any is written. No message holds the URL's credentials.
    """
    shown = without_secrets(url)
    options = ["-c", "core.symlinks=false", "-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null"]
    command = ["git", *options, "clone", "--quiet", "--depth", "1", "--no-checkout"]
    command += ["--no-tags", "--single-branch", "--template=", "--", url, str(target)]
    _git(command, shown)
    listed = _git(["git", *options, "-C", str(target), "ls-tree", "-r", "-l", "-z", "HEAD"], shown)
    sizes = [entry.split(maxsplit=4)[3] for entry in listed.split("\0") if entry]
    total = sum(int(size) for size in sizes if size.isdecimal())
    if len(sizes) > MOST_FILES or total > MOST_BYTES:
        shutil.rmtree(target, ignore_errors=True)
        raise DataError(
            f"{shown}: {len(sizes):,} files of {total:,} bytes; more than {MOST_FILES:,} or {MOST_BYTES:,} bytes are not taken"
        )
    _git(["git", *options, "-C", str(target), "checkout", "--quiet", "HEAD"], shown)
    return target


def _git(command: list[str], shown: str) -> str:
    """What git prints. It asks nothing, takes ten minutes at most, and writes no file beyond `MOST_BYTES`."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            env=environment,
            timeout=600,
            stdin=subprocess.DEVNULL,
            preexec_fn=_limit_files,
        )
    except FileNotFoundError:
        raise DataError("git is not installed; download the repository as a .zip and import that") from None
    except subprocess.TimeoutExpired:
        raise DataError(f"{shown}: not cloned within ten minutes") from None
    if done.returncode != 0:
        said = without_secrets(done.stderr.decode(errors="replace")).strip().splitlines()
        raise DataError(f"{shown}: git could not clone it: {(said or ['no output'])[-1]}")
    return done.stdout.decode(errors="replace")


def _limit_files() -> None:
    """In git's process: a file that grows beyond `MOST_BYTES` ends it."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))


def commit_of(folder: Path) -> str:
    """The commit of a clone, or empty."""
    if not (folder / ".git").exists():
        return ""
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def safe_path(name: str, archive: Path, target: Path) -> Path:
    """Where a member goes. Raises `DataError` if that is outside `target`, on any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    bad = (
        posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name or not posix.parts
    )
    place = target.joinpath(*posix.parts)
    if bad or not place.resolve().is_relative_to(target.resolve()):
        raise DataError(f"{archive}: member {name!r} would be written outside the target; nothing was imported")
    return place


class _Budget:
    """Counts bytes and files, and refuses more than there may be."""

    def __init__(self, archive: Path) -> None:
        self._archive, self._bytes, self._files = archive, 0, 0

    def file(self) -> None:
        self._files += 1
        if self._files > MOST_FILES:
            raise DataError(f"{self._archive}: more than {MOST_FILES:,} members; nothing was imported")

    def bytes(self, count: int) -> None:
        self._bytes += count
        if self._bytes > MOST_BYTES:
            raise DataError(f"{self._archive}: more than {MOST_BYTES:,} bytes unpacked; nothing was imported")


class _Counted:
    """The decompressed bytes of a tar, counted as they are read: headers can be bombs too."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._budget.bytes(len(chunk))
        return chunk


def _unpack_zip(archive: Path, target: Path) -> None:
    budget, declared = _Budget(archive), 0
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            budget.file()
            declared += info.file_size
            if declared > MOST_BYTES:
                raise DataError(f"{archive}: at most {MOST_BYTES:,} bytes are unpacked; nothing was imported")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{archive}: member {info.filename!r} is a link or device; nothing was imported")
            place = safe_path(info.filename, archive, target)
            if not info.is_dir():
                with opened.open(info) as stream:
                    _write(place, stream, budget)


def _unpack_tar(archive: Path, target: Path) -> None:
    with archive.open("rb") as start:
        head = start.read(6)
    opener = next((opens for magic, opens in _OPENERS.items() if head.startswith(magic)), open)
    budget = _Budget(archive)
    with opener(archive, "rb") as stream, tarfile.open(fileobj=_Counted(stream, budget), mode="r|") as opened:  # type: ignore[call-overload]
        for member in opened:
            budget.file()
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise DataError(f"{archive}: member {member.name!r} is a link or device; nothing was imported")
            if member.name in (".", "./"):
                continue
            place = safe_path(member.name, archive, target)
            if member.isreg():
                content = opened.extractfile(member)
                assert content is not None, member.name
                _write(place, content, None)


def _write(place: Path, stream: IO[bytes], budget: _Budget | None) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as file:
        for chunk in _chunks(stream):
            if budget:
                budget.bytes(len(chunk))
            file.write(chunk)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _empty(target: Path) -> None:
    shutil.rmtree(target)
    target.mkdir()
