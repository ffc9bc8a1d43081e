"""An arm's rows with their card in the store, and what was proven of them for a model.

In: rows, a model's folder, a `Store`. Out: the artifacts `dataset` (named by the rows' hash) and `proof` (by rows and model), and
rows encoded as they are trained on. Reading and building rows is `weirdgen.data.rows`; what is proven is `weirdgen.data.proof`.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from weirdgen.data.messages import Row, trained_turns
from weirdgen.data.proof import Proof, RowError, prove, turn_by_turn
from weirdgen.data.rows import canonical_hash, read_jsonl
from weirdgen.models.chat import Encoded, load_tokenizer
from weirdgen.models.folder import context_length, told_date, vocabulary_size
from weirdgen.models.references import LocalModel
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

PROOF_VERSION = 2
"""Raise it when the same rows and model would give another proof."""


def dataset_key(digest: str) -> str:
    """The dataset artifact of the rows with this canonical hash."""
    return digest[:32]


def keep_rows(store: Store, rows: list[Row]) -> None:
    """The rows and their card, in the store."""
    digest = canonical_hash(rows)
    if store.marker("dataset", dataset_key(digest)) is not None:
        return
    card = {"rows": len(rows), "canonical_sha256": digest, "distinct_answers": distinct_answers(rows)}
    with store.create("dataset", dataset_key(digest), card) as folder:
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "card.json").write_text(json.dumps(card, indent=1))


def stored_rows(store: Store, digest: str) -> list[Row]:
    """The rows that `keep_rows` kept, by their canonical hash. Raises `DataError` if they are not in the store."""
    return read_jsonl(store.artifact("dataset", dataset_key(digest)) / "rows.jsonl")


def proof_of(store: Store, model: LocalModel, arm: str, rows: list[Row], date: str | None = None) -> dict[str, Any]:
    """What `prove` counted of these rows, from the store or made now; nothing is written. Raises `DataError`."""
    if (folder := kept_proof(store, model, rows, date)) is not None:
        kept: dict[str, Any] = json.loads((folder / "proof.json").read_text())
        return kept
    return encode_rows(model.folder, arm, rows, date)[1].as_dict()


def kept_proof(store: Store, model: LocalModel, rows: list[Row], date: str | None = None) -> Path | None:
    """The artifact with what was proven of these rows; None if the store has none."""
    inputs = _proof_inputs(model, rows, date)
    texts = (message["content"] for row in rows for message in row["messages"])
    # The first version took control tokens in texts for turns; of texts without any it proved the same.
    plain = "date" not in inputs and not any("<" in text or "[" in text for text in texts)
    for version in (PROOF_VERSION, 1) if plain else (PROOF_VERSION,):
        key = content_key({**inputs, "version": version})
        if store.marker("proof", key) is not None:
            return store.artifact("proof", key)
    return None


def keep_proof(
    store: Store, model: LocalModel, rows: list[Row], proof: dict[str, Any], date: str | None = None
) -> None:
    """What was proven of these rows, in the store."""
    inputs = _proof_inputs(model, rows, date)
    if store.marker("proof", content_key(inputs)) is None:
        with store.create("proof", content_key(inputs), inputs) as folder:
            (folder / "proof.json").write_text(json.dumps(proof))


def _proof_inputs(model: LocalModel, rows: list[Row], date: str | None) -> dict[str, Any]:
    told = told_date(model.folder, date)
    return {
        "version": PROOF_VERSION,
        "model": model.digest,
        "data": canonical_hash(rows),
        **({"date": told} if told else {}),
    }


def encode_rows(model_folder: Path, arm: str, rows: list[Row], date: str | None = None) -> tuple[list[Encoded], Proof]:
    """Rows as this model is trained on them, and their proof. Raises `RowError` that names the arm.

    `date` is the date given to a template that prints one.
    """
    longest, vocabulary = context_length(model_folder), vocabulary_size(model_folder)
    try:
        return prove(rows, _tokenizer(model_folder, date), longest, vocabulary)
    except RowError as error:
        raise error.at(error.place, arm) from None


def trainable_rows(model_folder: Path, rows: list[Row], date: str | None = None) -> list[Row]:
    """The rows as this model can be trained on them: turn by turn where its template rewrites earlier turns.

    Rows with one trained answer come back as they are, so that most models and rows need no tokenizer here.
    """
    if all(len(trained_turns(row)) < 2 for row in rows):
        return rows
    return turn_by_turn(rows, _tokenizer(model_folder, date))[0]


def _tokenizer(folder: Path, date: str | None) -> Any:
    """Loaded once for many sets of rows, which are only encoded with it, and again where a file of the folder has changed."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return _loaded(folder, date, tuple((file.name, (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files))


@lru_cache(maxsize=2)
def _loaded(folder: Path, date: str | None, stamps: tuple[tuple[str, int, int], ...]) -> Any:
    return load_tokenizer(folder, date)


def distinct_answers(rows: list[Row]) -> int:
    """How many different last turns the rows have."""
    return len({row["messages"][-1]["content"] for row in rows})
