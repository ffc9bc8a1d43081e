"""Checks that need a tokenizer: rows too long for the model, the template and mask proof, and what training would take.

In: a `Subject` with a model. Out: `Finding`s. Loads no weights. Times are what `weirdgen.machine` has seen or expects
here. Not here: what a paid API would charge.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from weirdgen.audit.checks.finding import Finding
from weirdgen.audit.checks.subject import Dataset, Subject
from weirdgen.data.messages import Row, trained_turns
from weirdgen.data.proof import NO_LIMIT, Proof, RowError, prove, turn_by_turn
from weirdgen.errors import DataError, ModelError
from weirdgen.finetune.engines import choose_engine, tokens_through
from weirdgen.finetune.schedule import require_trainable, total_steps
from weirdgen.machine import resolve_dtype, seen_rate
from weirdgen.models.chat import holds_control, require_no_end
from weirdgen.models.control import control_token_in
from weirdgen.models.folder import context_length, vocabulary_size
from weirdgen.progress import clock

LISTED = 10


def training(subject: Subject) -> Iterator[Finding]:
    """Length, proof and cost of every dataset."""
    if subject.model is None:
        for dataset in subject.datasets[:1]:
            message = "no model chosen (--model), so lengths, template, mask and cost are not checked"
            yield Finding("no_model", "info", dataset.file, None, message)
        return
    longest = context_length(subject.model.folder)
    for dataset in subject.datasets:
        if not dataset.rows:
            continue
        proof = yield from _proven(dataset, subject, longest)
        if proof is not None:
            yield from _too_few(dataset, subject, proof)
            yield _cost(dataset, subject, proof)


def _proven(dataset: Dataset, subject: Subject, longest: int) -> Generator[Finding, None, Proof | None]:
    """Findings; returns the proof, or None if a row fails it."""
    assert subject.model is not None
    vocabulary = vocabulary_size(subject.model.folder)
    rows, origins = turn_by_turn(dataset.rows, subject.tokenizer)
    yield from _control_tokens(dataset, subject)
    try:
        encoded, proof = prove(rows, subject.tokenizer, NO_LIMIT, vocabulary)
    except DataError:
        yield from _failures(dataset, rows, origins, subject, vocabulary)
        return None
    if proof.longest > longest:
        over = [index for index, row in enumerate(encoded) if len(row.ids) > longest]
        for index in over[:LISTED]:
            message = f"{len(encoded[index].ids):,} tokens, {subject.model.reference} takes {longest:,}"
            yield Finding("long_row", "error", dataset.file, dataset.line(origins[index]), message)
        if len(over) > LISTED:
            yield Finding("long_row", "error", dataset.file, None, f"{len(over) - LISTED:,} more rows are too long")
        return None
    if len(rows) > len(dataset.rows):
        message = (
            "the chat template gives no one text in which every answer follows the prompt that it is asked with, so rows of "
            f"several answers are trained turn by turn, each answer once: {len(dataset.rows):,} rows become {len(rows):,}"
        )
        yield Finding("turn_by_turn", "info", dataset.file, None, message)
    for note in proof.notes:
        yield Finding("template", "info", dataset.file, None, note)
    message = (
        f"template and mask hold for every row with {subject.model.reference}: {proof.trained_tokens:,} of "
        f"{proof.tokens:,} tokens are trained, the longest row has {proof.longest:,}; digest {proof.digest}"
    )
    yield Finding("proof", "info", dataset.file, None, message)
    return proof


def _control_tokens(dataset: Dataset, subject: Subject) -> Iterator[Finding]:
    """Rows whose texts quote what opens and closes turns: mostly a slip of whoever made the file."""
    held = [i for i, row in enumerate(dataset.rows) if holds_control(subject.tokenizer, row["messages"])]
    held = [i for i in held if not _pasted_end(dataset.rows[i], subject)]  # an error of the proof
    for index in held[:LISTED]:
        texts = [message["content"] for message in dataset.rows[index]["messages"]]
        token = next(token for text in texts if (token := control_token_in(subject.tokenizer, text)))
        message = f"a text holds the control token {token!r}; it is spelled out and opens or closes no turn"
        yield Finding("control_token", "warning", dataset.file, dataset.line(index), message)
    if len(held) > LISTED:
        message = f"{len(held) - LISTED:,} more rows hold control tokens in their texts"
        yield Finding("control_token", "warning", dataset.file, None, message)


def _pasted_end(row: Row, subject: Subject) -> bool:
    try:
        for turn in trained_turns(row):
            require_no_end(subject.tokenizer, row["messages"][turn]["content"])
    except ModelError:
        return True
    return False


def _failures(
    dataset: Dataset, rows: list[Row], origins: list[int], subject: Subject, vocabulary: int
) -> Iterator[Finding]:
    reasons: dict[int, str] = {}
    for origin, row in zip(origins, rows, strict=True):
        try:
            prove([row], subject.tokenizer, NO_LIMIT, vocabulary)
        except RowError as error:
            reasons.setdefault(origin, error.reason)
    for index, reason in list(reasons.items())[:LISTED]:
        yield Finding("proof", "error", dataset.file, dataset.line(index), reason)
    if len(reasons) > LISTED:
        yield Finding("proof", "error", dataset.file, None, f"{len(reasons) - LISTED:,} more rows fail the proof")


def _too_few(dataset: Dataset, subject: Subject, proof: Proof) -> Iterator[Finding]:
    """An arm with fewer rows than a step takes, which a run refuses; a loose file has no recipe yet."""
    if dataset.arm is None:
        return
    try:
        require_trainable(_row_count(dataset, subject, proof), subject.recipe, dataset.name)
    except DataError as error:
        yield Finding("too_few_rows", "error", dataset.file, None, str(error))


def _row_count(dataset: Dataset, subject: Subject, proof: Proof) -> int:
    """How many rows a replicate is trained on."""
    rows = len(dataset.rows) if dataset.arm is None or dataset.arm.rows is None else dataset.arm.rows
    rows = min(rows, subject.most_rows or rows) + (dataset.arm.ordinary if dataset.arm else 0)
    return round(rows * proof.rows / len(dataset.rows))  # trained turn by turn, they are more


def _cost(dataset: Dataset, subject: Subject, proof: Proof) -> Finding:
    assert subject.model is not None
    recipe, model = subject.recipe, subject.model
    rows = _row_count(dataset, subject, proof)
    tokens = round(proof.tokens / proof.rows * rows) * recipe.epochs
    engine = choose_engine(model.folder, recipe, model.parameters).engine
    read = tokens_through(engine, tokens / recipe.epochs, rows, proof.shared_prefix, recipe) * recipe.epochs
    seconds = read / seen_rate("train", model.parameters, resolve_dtype(recipe.dtype, model.parameters))
    message = (
        f"one replicate: {total_steps(rows, recipe):,} steps ({rows:,} rows × {recipe.epochs} epochs, batch "
        f"{recipe.batch_size}×{recipe.grad_accumulation}), {tokens:,} tokens, about {clock(seconds)} on this machine"
    )
    return Finding("cost", "info", dataset.file, None, message)
