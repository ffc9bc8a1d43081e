"""The far side of a store at a URL: `s3://bucket/prefix`, `gs://…` or any fsspec file system.

In: names relative to the URL and files of this machine. Out: the same bytes on the other side. It relies on two things
that S3 and GCS give: an object appears whole or not at all, and a listing shows what has been written. It knows nothing
of stages; `weirdgen.store.artifacts` decides the order (a marker is sent last) and checks the hashes of what comes back. It takes
no locks: see docs/scale.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from weirdgen.display import without_secrets
from weirdgen.errors import StoreError


class Remote:
    """One URL. Credentials and endpoints come from fsspec's own configuration and environment variables."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.shown = without_secrets(self.url)
        """The address as it may stand in messages and reports."""
        protocol = url.split("://", 1)[0]
        try:
            from fsspec.core import url_to_fs

            # No listing cache: other machines write here too.
            self._fs, self._root = url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            package = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs"}.get(protocol)
            way = f"pip install {package}" if package else "use a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
            reason = without_secrets((str(error).splitlines() or [""])[0])
            raise StoreError(f"store {self.shown}: {reason}; {way}") from None

    def modified(self, name: str) -> float:
        """When an object was written, in seconds since 1970 by the remote clock."""
        with self._explained():
            return float(self._fs.modified(self._at(name)).timestamp())

    def names(self, folder: str) -> list[str]:
        """Names of everything under a folder, at any depth; none if there is no such folder."""
        paths: list[str] = []
        with self._explained():
            try:
                paths = self._fs.find(self._at(folder))
            except FileNotFoundError:
                return []
        start = self._root.rstrip("/") + "/"
        names = []
        for path in map(self._fs._strip_protocol, paths):
            name = path.removeprefix(start)
            if name == path or not stays_inside(name):
                raise StoreError(
                    f"store {self.shown}: holds an object called {name!r}, which points outside the store; remove it, or use a "
                    "store that only weirdgen writes to"
                )
            names.append(name)
        return sorted(names)

    def push(self, file: Path, name: str) -> None:
        with self._explained():
            self._fs.makedirs(self._fs._parent(self._at(name)), exist_ok=True)
            self._fs.put_file(str(file), self._at(name))

    def pull(self, name: str, file: Path) -> bool:
        """Copy an object into `file`; False if there is none."""
        with self._explained():
            try:
                self._fs.get_file(self._at(name), str(file))
            except FileNotFoundError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every file system has errors of its own; all end the same way for the user
            raise StoreError(
                f"store {self.shown}: {type(error).__name__}: {without_secrets((str(error).splitlines() or [''])[0])}. Check "
                "the address, the credentials and the network, then run the same command again; what is finished is kept"
            ) from None  # its own message may hold the credentials


def stays_inside(name: str) -> bool:
    """Whether a name out of a listing, manifest or key stays inside the folder it is joined to, on any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    bad = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name
    return bool(posix.parts) and not bad


def open_remote(location: Any) -> Remote | None:
    """A `Remote` if `location` is a URL, None if it is a folder."""
    return Remote(str(location)) if "://" in str(location) else None
