"""Uploaded files: kept whole or not at all, under names of the server's own making.

In: a stream of bytes with a purpose and the name that the client gave. Out: file objects as OpenAI's API shows them, and the
bytes again. The client's name is a label: it is shown and never opened.
"""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from weirdgen.display import printable
from weirdgen.serve.disk import Records
from weirdgen.serve.limits import Limits
from weirdgen.serve.problems import TOO_LARGE, TOO_MANY, ApiError, bad, missing
from weirdgen.store.disk import explain_disk_errors

UPLOADED, RESULTS = "fine-tune", "fine-tune-results"
"""Purposes: what clients may upload, and what the server writes."""
CONTENT = "content.jsonl"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float

    def shown(self) -> dict[str, Any]:
        """OpenAI's file object."""
        created = {"created_at": int(self.created_at)}
        return {
            **asdict(self),
            **created,
            "object": "file",
            "status": "processed",
            "status_details": None,
            "expires_at": None,
        }


class Files:
    """All files of a server. Safe to use from several threads."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._records, self._limits = Records(folder, "file-"), limits
        self._lock = threading.Lock()
        self._files = {name: StoredFile(**record) for name, record in self._records.read_all()}

    def add(self, source: IO[bytes], filename: str | None, purpose: str) -> StoredFile:
        """Keep an upload. Raises `ApiError` on a wrong purpose, too many files or bytes, `StoreError` on a full disk."""
        if purpose != UPLOADED:
            raise bad(f"purpose {purpose[:40]!r} is not supported: expected {UPLOADED!r}", "purpose", "invalid_value")
        if (kept := sum(file.purpose == UPLOADED for file in self.all())) >= self._limits.files:
            raise ApiError(TOO_MANY, f"There are {kept:,} files already; delete some.", "file_limit")
        return self._keep(source, filename, UPLOADED)

    def add_results(self, content: bytes, filename: str) -> StoredFile:
        """Keep what a finished job has to tell, whatever the number of files. Raises `StoreError` on a full disk."""
        return self._keep(BytesIO(content), filename, RESULTS)

    def _keep(self, source: IO[bytes], filename: str | None, purpose: str) -> StoredFile:
        name = self._records.new_name()
        place = self._records.place(name)
        try:
            with explain_disk_errors(place):
                place.mkdir()
                size = self._copy(source, place / CONTENT)
            label = printable((filename or "file").replace("\n", " "))[:200]
            made = StoredFile(name, label, purpose, size, time.time())
            self._records.write(name, asdict(made))
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        with self._lock:
            self._files[name] = made
        return made

    def get(self, name: str) -> StoredFile:
        """Raises `ApiError` 404."""
        with self._lock:
            if name not in self._files:
                raise missing("file", name)
            return self._files[name]

    def path(self, name: str) -> Path:
        """Where the content lies. Raises `ApiError` 404."""
        return self._records.place(self.get(name).id) / CONTENT

    def all(self) -> list[StoredFile]:
        """The newest first."""
        with self._lock:
            return sorted(self._files.values(), key=lambda file: (file.created_at, file.id), reverse=True)

    def delete(self, name: str) -> None:
        """Raises `ApiError` 404. Jobs that have begun keep their rows in the store."""
        found = self.get(name)
        self._records.remove(found.id)
        with self._lock:
            self._files.pop(found.id, None)

    def _copy(self, source: IO[bytes], target: Path) -> int:
        size = 0
        with target.open("wb") as out:
            while part := source.read(_CHUNK):
                size += len(part)
                if size > self._limits.upload_bytes:
                    raise ApiError(TOO_LARGE, f"A file may have {self._limits.upload_bytes:,} bytes.", "file_too_large")
                out.write(part)
        if not size:
            raise bad("The file is empty.", "file", "invalid_file")
        return size
