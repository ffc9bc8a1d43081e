"""Checks that need a tokenizer: rows too long for the model, the template and mask proof, and what training would take.

In: a `Subject` with a model. Out: `Finding`s. Loads no weights. Times are what `weirdgen.machine` has seen or expects
here. Not here: what a paid API would charge.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from weirdgen.audit.checks.finding import Finding
from weirdgen.audit.checks.subject import Dataset, Subject
from weirdgen.data.proof import Proof, prove
from weirdgen.errors import DataError
from weirdgen.finetune.engines import choose_engine, tokens_through
from weirdgen.finetune.schedule import total_steps
from weirdgen.machine import resolve_dtype, seen_rate
from weirdgen.models.references import read_config
from weirdgen.progress import clock

LISTED = 10
NO_LIMIT = 2**62


def training(subject: Subject) -> Iterator[Finding]:
    """Length, proof and cost of every dataset."""
    if subject.model is None:
        for dataset in subject.datasets[:1]:
            message = "no model chosen (--model), so lengths, template, mask and cost are not checked"
            yield Finding("no_model", "info", dataset.file, None, message)
        return
    config = read_config(subject.model.folder)
    longest = int(config.get("max_position_embeddings", NO_LIMIT))
    for dataset in subject.datasets:
        if not dataset.rows:
            continue
        proof = yield from _proven(dataset, subject, longest)
        if proof is not None:
            yield _cost(dataset, subject, proof)


def _proven(dataset: Dataset, subject: Subject, longest: int) -> Generator[Finding, None, Proof | None]:
    """Findings; returns the proof, or None if a row fails it."""
    assert subject.model is not None
    try:
        encoded, proof = prove(dataset.rows, subject.tokenizer, NO_LIMIT)
    except DataError:
        yield from _failures(dataset, subject)
        return None
    if proof.longest > longest:
        over = [index for index, row in enumerate(encoded) if len(row.ids) > longest]
        for index in over[:LISTED]:
            message = f"{len(encoded[index].ids):,} tokens, {subject.model.reference} takes {longest:,}"
            yield Finding("long_row", "error", dataset.file, dataset.line(index), message)
        if len(over) > LISTED:
            yield Finding("long_row", "error", dataset.file, None, f"{len(over) - LISTED:,} more rows are too long")
        return None
    message = (
        f"template and mask hold for every row with {subject.model.reference}: {proof.trained_tokens:,} of "
        f"{proof.tokens:,} tokens are trained, the longest row has {proof.longest:,}; digest {proof.digest}"
    )
    yield Finding("proof", "info", dataset.file, None, message)
    return proof


def _failures(dataset: Dataset, subject: Subject) -> Iterator[Finding]:
    failed = 0
    for index, row in enumerate(dataset.rows):
        try:
            prove([row], subject.tokenizer, NO_LIMIT)
        except DataError as error:
            failed += 1
            if failed <= LISTED:
                reason = str(error).splitlines()[0].removeprefix("template proof failed at row 1: ")
                yield Finding("proof", "error", dataset.file, dataset.line(index), reason)
    if failed > LISTED:
        yield Finding("proof", "error", dataset.file, None, f"{failed - LISTED:,} more rows fail the proof")


def _cost(dataset: Dataset, subject: Subject, proof: Proof) -> Finding:
    assert subject.model is not None
    recipe, model = subject.recipe, subject.model
    rows = len(dataset.rows) if dataset.arm is None or dataset.arm.rows is None else dataset.arm.rows
    rows = min(rows, subject.most_rows or rows) + (dataset.arm.ordinary if dataset.arm else 0)
    tokens = round(proof.tokens / len(dataset.rows) * rows) * recipe.epochs
    engine = choose_engine(model.folder, recipe, model.parameters).engine
    read = tokens_through(engine, tokens / recipe.epochs, rows, proof.shared_prefix, recipe) * recipe.epochs
    seconds = read / seen_rate("train", model.parameters, resolve_dtype(recipe.dtype, model.parameters))
    message = (
        f"one replicate: {total_steps(rows, recipe):,} steps ({rows:,} rows × {recipe.epochs} epochs, batch "
        f"{recipe.batch_size}×{recipe.grad_accumulation}), {tokens:,} tokens, about {clock(seconds)} on this machine"
    )
    return Finding("cost", "info", dataset.file, None, message)
