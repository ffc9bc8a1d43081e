"""What filters know of rows, made once a row and kept: sentence vectors, and numbers that a pass of the base or a judge gives.

In: rows, a store. Out: arrays with one entry a row. Kept in two kinds of table of the store (`row_vector`, `row_number`),
keyed by what made them and by the row's content, so that another mixture of the same rows costs nothing and a killed command
goes on. What is made of them is left to the filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weirdgen.audit.filters.rows import Keyed
from weirdgen.audit.filters.text import topics
from weirdgen.judges.embedding import embed
from weirdgen.models.references import MINILM, find_model
from weirdgen.progress import Progress
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key
from weirdgen.store.table import Table, open_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

VERSION = 1
"""Raise it when the same row would get another vector or number."""
PORTION = 256
"""Rows between two writes."""
Numbers = Mapping[str, float]


class Vectors:
    """Rows and texts as vectors of the sentence embedder: mean over the last layer's tokens, scaled to length 1."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._known: dict[str, NDArray[np.float64]] = {}
        self._table: Table | None = None

    def of(self, rows: Sequence[Keyed]) -> NDArray[np.float64]:
        """[rows, width]. Raises `ModelError` if the embedder can neither be found nor fetched."""
        return self._of({row.key: row.text for row in rows}, [row.key for row in rows])

    def of_topics(self) -> NDArray[np.float64]:
        """[topics, width] of the topics' sentences."""
        abouts = [topic.about for topic in topics()]
        keys = [content_key(["topic", about]) for about in abouts]
        return self._of(dict(zip(keys, abouts, strict=True)), keys)

    def _of(self, texts: Mapping[str, str], order: Sequence[str]) -> NDArray[np.float64]:
        if any(key not in self._known for key in texts):
            self._read()
        lacking = {key: text for key, text in texts.items() if key not in self._known}
        if lacking:
            self._make(lacking)
        return np.stack([self._known[key] for key in order])

    def _open(self) -> Table:
        if self._table is None:
            inputs = {"version": VERSION, "embedder": find_model(MINILM).digest}
            self._table = open_table(self._store, "row_vector", content_key(inputs), inputs, unique=("row",))
        return self._table

    def _read(self) -> None:
        frame = self._open().read()
        if len(frame):
            self._known |= {
                key: np.asarray(v, dtype=np.float64)
                for key, v in zip(frame["row"], frame["vector"], strict=True)
                if key not in self._known
            }

    def _make(self, lacking: Mapping[str, str]) -> None:
        import pandas as pd

        table, keys = self._open(), list(lacking)
        with self._progress.stage("embed", len(keys), "rows") as bar:
            for start in range(0, len(keys), PORTION):
                portion = keys[start : start + PORTION]
                layers_RF = embed(MINILM, [lacking[key] for key in portion])
                width = layers_RF.shape[1] // embedder_layers()
                last_RD = layers_RF[:, -width:]  # each layer has length 1 already
                vectors = last_RD.astype(np.float32)
                table.extend(pd.DataFrame({"row": portion, "vector": list(vectors)}))
                self._known |= {k: v.astype(np.float64) for k, v in zip(portion, vectors, strict=True)}
                bar.advance(len(portion))


class RowNumbers:
    """Numbers of rows by name, for one maker (a model and how it is asked)."""

    def __init__(self, store: Store, maker: Mapping[str, Any]) -> None:
        inputs = {"version": VERSION, **maker}
        self._table = open_table(store, "row_number", content_key(inputs), inputs, unique=("row", "name"))
        self._known: dict[tuple[str, str], float] = {}

    def complete(
        self,
        rows: Sequence[Keyed],
        names: Sequence[str],
        make: Callable[[dict[str, Keyed]], Iterator[tuple[str, Numbers]]],
    ) -> None:
        """Make what is missing: `make` gets the rows that lack a number, and yields each one's key with all its numbers."""
        self._read()
        lacking = {
            key: row
            for key, row in {row.key: row for row in rows}.items()
            if any((key, name) not in self._known for name in names)
        }
        if not lacking:
            return
        with self._table:
            for key, numbers in make(lacking):
                for name, value in numbers.items():
                    if (key, name) not in self._known:
                        self._table.append({"row": key, "name": name, "value": float(value)})
                        self._known[key, name] = float(value)

    def of(self, rows: Sequence[Keyed], name: str) -> NDArray[np.float64]:
        """[rows]: the number of this name, which must have been made."""
        return np.array([self._known[row.key, name] for row in rows], dtype=np.float64)

    def _read(self) -> None:
        frame: pd.DataFrame = self._table.read()
        if len(frame):
            self._known |= dict(zip(zip(frame["row"], frame["name"], strict=True), frame["value"], strict=True))


def embedder_layers() -> int:
    """Layers of states that `judges.embedding` puts side by side: one of the token embeddings and one a layer."""
    from weirdgen.models.references import read_config

    return int(read_config(find_model(MINILM).folder)["num_hidden_layers"]) + 1
