"""A job's files: its rows are read and proven before it is queued, its validation file gives a loss for each checkpoint.

In: a job whose files are there. Out: the job queued, with the dataset and proof in the store; the mean loss (nats) over all
trained tokens of held-out rows. What is wrong with a file is said with the name that the client gave it. Each held-out row goes
alone through the model, as when a prompt is scored for a client. Groups and training are `serve.training`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from weirdgen.data.rows import read_jsonl
from weirdgen.data.stored import encode_rows, keep_proof, keep_rows, proof_of, trainable_rows
from weirdgen.errors import WeirdgenError
from weirdgen.finetune import engines
from weirdgen.finetune.schedule import require_trainable, total_steps
from weirdgen.machine import resolve_dtype
from weirdgen.models.chat import Encoded, load_tokenizer
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel
from weirdgen.runs.plan.plan import finetune_inputs
from weirdgen.serve.base import Base
from weirdgen.serve.files import Files
from weirdgen.serve.gate import Gate
from weirdgen.serve.hyperparameters import Hyperparameters, recipe_of
from weirdgen.serve.jobs import Job, Jobs
from weirdgen.serve.problems import ApiError
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key


class Validator:
    """Reads the files of one server's jobs."""

    def __init__(self, store: Store, jobs: Jobs, files: Files, bases: Mapping[str, LocalModel], gate: Gate) -> None:
        self._store, self._jobs, self._files, self._bases, self._gate = store, jobs, files, bases, gate

    def validate(self, job: Job) -> None:
        """Read and prove the rows; the job is queued then. Raises `ApiError`."""
        model, date = self._bases[job.model], told_date(self._bases[job.model].folder)
        with self._reading(job.training_file, "training_file") as path:
            rows = trainable_rows(model.folder, read_jsonl(path), date)
            recipe = recipe_of(Hyperparameters.model_validate(job.hyperparameters), job.changes, len(rows))
            require_trainable(len(rows), recipe, job.training_file)
            proof = proof_of(self._store, model, job.training_file, rows, date)
        if job.validation_file:
            self._held_out(model, job.validation_file)
        dtype = resolve_dtype(recipe.dtype, model.parameters)
        recipe = recipe.model_copy(update={"dtype": dtype})
        recipe = recipe.model_copy(update={"engine": engines.resolve_engine(recipe, model.parameters)})
        with self._gate.loading():
            trainer = engines.choose_engine(model.folder, recipe, model.parameters)
        keep_rows(self._store, rows)
        keep_proof(self._store, model, rows, proof, date)
        inputs = finetune_inputs(model, trainer.engine, rows, recipe.model_dump(mode="json"), job.seed, date, proof)
        self._jobs.say(job.id, f"Files validated ({len(rows):,} rows), moving job to queued state")
        self._jobs.update(
            job.id,
            status="queued",
            digest=model.digest,
            inputs=inputs,
            key=content_key(inputs),
            rows=len(rows),
            tokens=int(proof["tokens"]),
            steps=total_steps(len(rows), recipe),
        )

    def losses(self, job: Job, checkpoints: Sequence[Path], before_row: Callable[[], object]) -> Sequence[float | None]:
        """One per checkpoint; none if the job has no validation file, or no longer. `before_row` may raise to end it."""
        if not job.validation_file:
            return []
        model = self._bases[job.model]
        try:
            rows = self._held_out(model, job.validation_file)
        except ApiError as error:
            if error.status != 404:
                raise
            self._jobs.say(job.id, f"No validation: file {job.validation_file} has been deleted")
            return []
        self._jobs.say(job.id, f"Validating on {len(rows):,} rows")
        return _losses(model, checkpoints, rows, self._gate, before_row)

    @contextmanager
    def _reading(self, file: str, param: str) -> Iterator[Path]:
        path, shown = self._files.path(file), self._files.get(file).filename
        try:
            yield path
        except ApiError:
            raise
        except WeirdgenError as error:
            raise ApiError(400, str(error).replace(str(path), shown), f"invalid_{param}", param) from None

    def _held_out(self, model: LocalModel, file: str) -> list[Encoded]:
        with self._reading(file, "validation_file") as path:
            date = told_date(model.folder)
            return encode_rows(model.folder, file, trainable_rows(model.folder, read_jsonl(path), date), date)[0]


def _losses(
    model: LocalModel, adapters: Sequence[Path], rows: Sequence[Encoded], gate: Gate, before_row: Callable[[], object]
) -> list[float]:
    with gate.loading():
        base = Base(model, load_tokenizer(model.folder))
    losses = []
    trained = sum(sum(row.trained) for row in rows)
    with torch.inference_mode():
        for adapter in adapters:
            with gate.loading():
                base.use((adapter,))
            total = 0.0
            for row in rows:
                before_row()
                with gate.step():
                    logprobs, _ = base.given(row.ids, 0, 0)
                total -= sum(value for value, mine in zip(logprobs, row.trained[1:], strict=True) if mine)
            losses.append(total / trained)
    return losses
