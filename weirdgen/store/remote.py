"""The remote side of a store at a URL: objects under `s3://bucket/prefix`, `gs://…` or any other fsspec file system.

In: names relative to the URL and files of this machine. Out: the same bytes on the other side. It relies on two things
that S3 and GCS give: an object appears whole or not at all, and a listing shows what has been written. It knows nothing
of stages; `weirdgen.store.artifacts` decides the order (a marker is sent last) and checks the hashes of what comes back. It takes
no locks: see docs/scale.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weirdgen.errors import StoreError


class Remote:
    """One URL. Credentials and endpoints come from fsspec's own configuration and environment variables."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        protocol = url.split("://", 1)[0]
        try:
            from fsspec.core import url_to_fs

            # No listing cache: other machines write here too.
            self._fs, self._root = url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            package = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs"}.get(protocol)
            way = f"pip install {package}" if package else "use a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
            raise StoreError(f"store {url}: {str(error).splitlines()[0]}; {way}") from None

    def modified(self, name: str) -> float:
        """When an object was written, in seconds since 1970 by the remote clock."""
        with self._explained():
            return float(self._fs.modified(self._at(name)).timestamp())

    def names(self, folder: str) -> list[str]:
        """Names of everything under a folder, at any depth; none if there is no such folder."""
        with self._explained():
            try:
                paths: list[str] = self._fs.find(self._at(folder))
            except FileNotFoundError:
                return []
        start = len(self._root.rstrip("/")) + 1
        return sorted(self._fs._strip_protocol(path)[start:] for path in paths)

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
                f"store {self.url}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}. Check the address, the "
                "credentials and the network, then run the same command again; what is finished is kept"
            ) from error


def open_remote(location: Any) -> Remote | None:
    """A `Remote` if `location` is a URL, None if it is a folder."""
    return Remote(str(location)) if "://" in str(location) else None
