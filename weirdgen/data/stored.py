"""An arm's rows with their card in the store, and what was proven of them for a model.

In: rows, a model's folder, a `Store`. Out: the artifacts `dataset` (named by the rows' hash) and `proof` (by rows and model), and
rows encoded as they are trained on. Reading and building rows is `weirdgen.data.rows`; what is proven is `weirdgen.data.proof`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weirdgen.data.proof import Proof, prove
from weirdgen.data.rows import Row, canonical_hash, read_jsonl
from weirdgen.errors import DataError
from weirdgen.models.chat import Encoded, load_tokenizer
from weirdgen.models.references import LocalModel, read_config
from weirdgen.store.artifacts import Store, content_key

PROOF_VERSION = 1
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


def proof_of(store: Store, model: LocalModel, arm: str, rows: list[Row]) -> dict[str, Any]:
    """What `prove` counted of these rows, from the store or made now; nothing is written. Raises `DataError`."""
    key = content_key(_proof_inputs(model, rows))
    if store.marker("proof", key) is None:
        return encode_rows(model.folder, arm, rows)[1].as_dict()
    proof: dict[str, Any] = json.loads((store.artifact("proof", key) / "proof.json").read_text())
    return proof


def keep_proof(store: Store, model: LocalModel, rows: list[Row], proof: dict[str, Any]) -> None:
    """What was proven of these rows, in the store."""
    inputs = _proof_inputs(model, rows)
    if store.marker("proof", content_key(inputs)) is None:
        with store.create("proof", content_key(inputs), inputs) as folder:
            (folder / "proof.json").write_text(json.dumps(proof))


def _proof_inputs(model: LocalModel, rows: list[Row]) -> dict[str, Any]:
    return {"version": PROOF_VERSION, "model": model.digest, "data": canonical_hash(rows)}


def encode_rows(model_folder: Path, arm: str, rows: list[Row]) -> tuple[list[Encoded], Proof]:
    """Rows as this model is trained on them, and their proof. Raises `DataError` that names the arm."""
    longest = read_config(model_folder).get("max_position_embeddings", 2**30)
    try:
        return prove(rows, load_tokenizer(model_folder), longest)
    except DataError as error:
        raise DataError(f"arm {arm}: {error}") from None


def distinct_answers(rows: list[Row]) -> int:
    """How many different last turns the rows have."""
    return len({row["messages"][-1]["content"] for row in rows})
