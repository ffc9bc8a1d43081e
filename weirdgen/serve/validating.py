"""A job's files: its rows are read and proven before it is queued, its validation file gives a loss for each checkpoint.

In: a job whose files are there. Out: the job queued, with the dataset and proof in the store; the mean loss (nats) over all
trained tokens of held-out rows. What is wrong with a file is said with the name that the client gave it. Each held-out row goes
alone through the model, as when a prompt is scored for a client. New jobs are read in a thread of its own, so that what is wrong
with one is said while others train. Groups and training are `serve.training`.
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
from weirdgen.serve.worker import Worker
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key


class Validator(Worker):
    """Reads the files of new jobs until `close`, the oldest first."""

    def __init__(self, store: Store, jobs: Jobs, files: Files, bases: Mapping[str, LocalModel], gate: Gate) -> None:
        super().__init__("weirdgen-validator", jobs, bases)
        self._store, self._files, self._gate = store, files, gate

    def has_work(self) -> bool:
        return bool(self.mine("validating_files"))

    def work(self) -> None:
        if new := self.mine("validating_files"):
            with self.fails_only(new[:1]):
                self._validate(new[0])

    def _validate(self, job: Job) -> None:
        """Read and prove the rows; the job is queued then. Raises `ApiError`."""
        model, date = self.bases[job.model], told_date(self.bases[job.model].folder)
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
        with self._gate.work():
            trainer = engines.choose_engine(model.folder, recipe, model.parameters)
        keep_rows(self._store, rows)
        keep_proof(self._store, model, rows, proof, date)
        inputs = finetune_inputs(model, trainer.engine, rows, recipe.model_dump(mode="json"), job.seed, date, proof)
        self.jobs.say(job.id, f"Files validated ({len(rows):,} rows), moving job to queued state")
        self.jobs.update(
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
        """One per checkpoint; none if the job has no validation file, or no longer. `before_row` may raise to end it.

        Called by the thread that trains.
        """
        if not job.validation_file:
            return []
        model = self.bases[job.model]
        try:
            rows = self._held_out(model, job.validation_file)
        except ApiError as error:
            if error.status != 404:
                raise
            self.jobs.say(job.id, f"No validation: file {job.validation_file} has been deleted")
            return []
        self.jobs.say(job.id, f"Validating on {len(rows):,} rows")
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
    with gate.work():
        base = Base(model, load_tokenizer(model.folder))
    losses = []
    trained = sum(sum(row.trained) for row in rows)
    with torch.inference_mode():
        for adapter in adapters:
            with gate.step():
                base.use((adapter,))
            total = 0.0
            for row in rows:
                before_row()
                with gate.step():
                    logprobs, _ = base.given(row.ids, 0, 0)
                total -= sum(value for value, mine in zip(logprobs, row.trained[1:], strict=True) if mine)
            losses.append(total / trained)
    return losses
