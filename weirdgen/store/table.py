"""A table of the store: rows that are only ever added, so a killed run keeps what it had.

In: an artifact's inputs, then rows. Out: all sound rows as a pandas frame. A table is a folder of Parquet parts, each named
by the hash of its own bytes, added a few rows at a time and never changed: killed or simultaneous writers cannot corrupt
it, and a damaged part is detected. Where artifacts lie and how they reach a store elsewhere is `weirdgen.store.artifacts`.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from weirdgen.store.artifacts import Store
from weirdgen.store.disk import explain_disk_errors, write_synced
from weirdgen.store.keys import file_hash

FLUSH_ROWS = 64
FLUSH_SECONDS = 5.0
COMPACT_PARTS = 32


def open_table(store: Store, stage: str, key: str, inputs: Any, unique: Sequence[str]) -> Table:
    """The table artifact of these inputs, empty if it is new. `unique` are the columns that identify a row."""
    return Table(store, stage, key, inputs, tuple(unique))


class Table:
    """Append-only rows. Use `append` in a `with table:` block; leaving it flushes, also on an error.

    Nothing is written before the first row: a table that is only read leaves no trace.
    """

    def __init__(self, store: Store, stage: str, key: str, inputs: Any, unique: tuple[str, ...]) -> None:
        self.folder = store.folder(stage, key)
        self.unique = unique
        self._store, self._stage, self._key, self._inputs = store, stage, key, inputs
        self._damaged: set[Path] = set()
        self._buffer: list[dict[str, Any]] = []
        self._journal: Path | None = None
        self._stream: IO[str] | None = None
        self._flushed = time.monotonic()

    def journaled(self, file: Path) -> Table:
        """Rows that were paid for, of which none may be lost: each goes into this file at once, and what a killed process left
        there is taken up now. Hold the table's lock."""
        if file.is_file():
            present = {tuple(row) for row in self.read()[list(self.unique)].itertuples(index=False)}
            with self:
                for line in file.read_text(encoding="utf-8").split("\n")[:-1]:  # the last one may be torn
                    row = json.loads(line)
                    if tuple(row[column] for column in self.unique) not in present:
                        self.append(row)
            file.unlink()
        self._journal = file
        return self

    def __enter__(self) -> Table:
        self._flushed = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.flush()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._journal is not None and kind is None:
            self._journal.unlink(missing_ok=True)
        if len(self._parts()) > COMPACT_PARTS:
            self.compact()

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; on disk with the 64th, with the first that comes 5 seconds after the last writing, or at the end."""
        if self._journal is not None:
            if self._stream is None:
                self._journal.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self._journal.open("a", encoding="utf-8")
            self._stream.write(json.dumps(row) + "\n")
            self._stream.flush()
        self._buffer.append(row)
        if len(self._buffer) >= FLUSH_ROWS or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def extend(self, rows: Any) -> None:
        """Add a pandas frame's rows as one part, for rows that are made in bulk."""
        if len(rows):
            import pyarrow as pa

            self._write_part(pa.Table.from_pandas(rows, preserve_index=False))

    def flush(self) -> None:
        if self._buffer:
            import pyarrow as pa

            self._write_part(pa.Table.from_pylist(self._buffer))
            self._buffer = []
        self._flushed = time.monotonic()

    def read(self) -> Any:
        """Every sound row as a pandas frame, one for each `unique` key (empty if there is none).

        A damaged part is named in a warning and passed over; its rows are missing, and so made again.
        """
        import pandas as pd
        import pyarrow.parquet as pq

        self._exchange()
        frames = []
        for part in self._parts():
            try:
                if file_hash(part)[:32] == part.stem.removeprefix("part-"):
                    frames.append(pq.read_table(part).to_pandas())
                    continue
            except FileNotFoundError:  # another process has just compacted this part away: read what it wrote instead
                return self.read()
            warnings.warn(f"{part} is truncated or damaged; its rows are made again", stacklevel=2)
            if self._store.remote:
                part.unlink(missing_ok=True)  # a copy: the next reading gets the other side's
            else:
                self._damaged.add(part)
        if not frames:
            return pd.DataFrame(columns=list(self.unique))
        return pd.concat(frames, ignore_index=True).drop_duplicates(list(self.unique), ignore_index=True)

    def compact(self) -> None:
        """Rewrite many small parts as one. The new part is written before an old one is removed."""
        with self._store.lock(self._stage, self._key):
            import pyarrow as pa

            old = self._parts()
            if len(old) > 1:
                new = self._write_part(pa.Table.from_pandas(self.read(), preserve_index=False))
                for part in old:
                    if part != new:
                        self._store.remove(part)

    def _exchange(self) -> None:
        """Download remote parts, and drop those that another machine has compacted away."""
        if self._store.remote:
            here = set(self._parts())  # listed first: every part is there before it is here
            there = self._store.remote.names(self._store.name(self.folder))
            places = {self._store.root / name for name in there if name.endswith(".parquet")}
            for part in here - places:
                part.unlink(missing_ok=True)
            for part in places:
                self._store.pull(part)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _write_part(self, rows: Any) -> Path:
        import pyarrow.parquet as pq

        self._keep_inputs()
        temporary = self._store.temporary()
        with explain_disk_errors(self.folder):
            try:
                pq.write_table(rows, temporary)
                with temporary.open("rb") as stream:
                    os.fsync(stream.fileno())
                part = self.folder / f"part-{file_hash(temporary)[:32]}.parquet"
                self._store.push(temporary, part)
                os.replace(temporary, part)
            finally:
                temporary.unlink(missing_ok=True)
        for damaged in self._damaged - {part}:
            damaged.unlink(missing_ok=True)
        self._damaged = set()
        return part

    def _keep_inputs(self) -> None:
        """What the table is of, beside its parts; written with the first of them."""
        place = self.folder / "inputs.json"
        if place.exists():
            return
        temporary = self._store.temporary()
        with explain_disk_errors(self._store.root):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_synced(temporary, json.dumps(self._inputs, indent=1, ensure_ascii=False).encode())
            self._store.push(temporary, place)
            os.replace(temporary, place)
