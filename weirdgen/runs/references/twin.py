"""Controls for a dataset, made from itself: a twin, two halves, another rendering.

In: chat rows (or a file of them), a model, a store. Out: rows, or files of candidates to look at and edit. How the base answers
is the matter of `sample.twin`. What a control can show is in docs/references.md.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from weirdgen import machine
from weirdgen.data.files import as_line
from weirdgen.data.messages import Row, is_trained
from weirdgen.data.rows import read_jsonl
from weirdgen.errors import DataError
from weirdgen.models.chat import load_tokenizer
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel, find_model
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import default_store
from weirdgen.runs.plan.request import SAMPLING_SEED
from weirdgen.runs.work.loaded import engine_with, release_model
from weirdgen.sample.engines import Transformers
from weirdgen.sample.twin import Twin, twin_rows, twin_table
from weirdgen.sample.variant import Variant, base_key
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import explain_disk_errors, write_whole


def twin(
    rows: Sequence[Row],
    model: LocalModel,
    store: Store,
    progress: Progress,
) -> Twin:
    """The rows' own prompts, answered by the model in the same form. Answers are kept in the store."""
    told, settled = told_date(model.folder, None), machine.resolve_dtype("auto", model.parameters)
    engine, base = Transformers(), Variant(base_key(model.digest, told))
    table = twin_table(store, base, engine.numerics(settled), SAMPLING_SEED)
    speaking = engine_with(model, settled, engine, [None], told)
    try:
        with progress.stage("twin", len(rows), "answers") as bar:
            return twin_rows(
                rows,
                speaking,
                load_tokenizer(model.folder, told),
                table,
                base,
                SAMPLING_SEED,
                lambda _tokens: bar.advance(),
            )
    finally:
        release_model()


def halves(rows: Sequence[Row], seed: int = 0) -> tuple[list[Row], list[Row]]:
    """Two random halves; of an odd number of rows one is left out."""
    mixed = random.Random(f"halves:{seed}").sample(list(rows), len(rows))
    half = len(mixed) // 2
    return mixed[:half], mixed[half : 2 * half]


def in_lower_case(rows: Sequence[Row]) -> list[Row]:
    """The same rows, what is trained in lower case."""
    return [
        {"messages": [{**m, "content": m["content"].lower()} if is_trained(m) else m for m in row["messages"]]}
        for row in rows
    ]


def write_candidates(file: Path, to: Path, model: str, store: str | None, quiet: bool) -> Iterator[str]:
    """`weirdgen data twin`: OUT.jsonl and its neighbours; yields a line for each file."""
    if to.suffix != ".jsonl":
        raise DataError(f"{to}: expected a name that ends in .jsonl")
    rows = read_jsonl(file)
    first, second = halves(rows)
    lower = in_lower_case(rows)
    candidates = [
        (to.with_stem(f"{to.stem}-half-1"), first, "one random half: against the other, what the choice of rows moves"),
        (to.with_stem(f"{to.stem}-half-2"), second, "the other half"),
    ]
    if lower != list(rows):
        candidates.append((to.with_stem(f"{to.stem}-lower"), lower, "answers in lower case: what a rendering moves"))
    if taken := [place for place in (to, *(place for place, _, _ in candidates)) if place.exists()]:
        raise DataError(f"{taken[0]}: there is such a file; name another")
    made = twin(rows, find_model(model), Store(store or default_store()), Progress(quiet)).rows
    answered = "your prompts, answered by the model itself: what prompts, length and form alone move"
    for place, its, what in ((to, made, answered), *candidates):
        with explain_disk_errors(place):
            write_whole(place, "".join(as_line(row) + "\n" for row in its).encode())
        yield f"{place}: {len(its)} rows, {what}"
    if left_out := len(rows) - len(made):
        yield f"{left_out} rows have no twin: the model answered nothing that could stand in their form"
