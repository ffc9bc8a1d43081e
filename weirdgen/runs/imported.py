"""Models that were finetuned elsewhere, as replicates of a run; and jobs that are under way.

In: a provider's name of a model, an experiment, an arm. Out: the finetune artifact that a run would have made, once the model has
answered. What it was trained with is read back where the service still knows its job; else only its word is taken, and said.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from weirdgen.data.stored import keep_rows
from weirdgen.errors import ModelError, SpecError, choices
from weirdgen.finetune.job import STATE, Trained, forget_job, read_state
from weirdgen.finetune.readback import differences
from weirdgen.finetune.remote import Jobs
from weirdgen.models.remote import RemoteModel
from weirdgen.providers.service import AbsentError, service_of
from weirdgen.runs.plan.options import RunOptions, default_store
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.stages.remote_finetune import wanted_of
from weirdgen.runs.stages.remote_units import keep_finetuned
from weirdgen.sample.engines import Remote
from weirdgen.store.artifacts import Store


def import_finetuned(model_id: str, experiment: str, arm: str, options: RunOptions) -> str:
    """Keep a model as this arm's replicate with the seed `options.first_seed`; returns a sentence. Raises `WeirdgenError`."""
    plan = make_plan(resolve(experiment, options), Store(options.store or default_store()))
    model, engine = plan.request.model, plan.request.engine
    if not isinstance(model, RemoteModel) or not isinstance(engine, Remote):
        raise SpecError([f"--model {model.reference}: name the base at its provider, e.g. openai/gpt-4.1-2025-04-14"])
    replicate = next((one for one in plan.replicates if one.arm == arm), None)
    if replicate is None:
        raise SpecError([f"--arm {arm}: {experiment} has the arms {choices(plan.request.rows, arm)}"])
    if plan.store.marker("finetune", replicate.key) is not None:
        raise ModelError(f"{arm} seed {replicate.seed} is in the store already; take another --replicate")
    wanted = wanted_of(plan, model, replicate)
    job = None
    if model.service.by_sdk:
        with contextlib.suppress(AbsentError):  # a server without finetuning jobs
            job = Jobs(model.service, lambda wanted: b"", lambda wanted: Path()).find(model_id)
    plain = job.model_dump(mode="json") if job is not None else {}
    told = ["everything about its training: the service knows no job of it"]
    if job is not None:
        told = differences(plain, wanted.model, wanted.hyperparameters, wanted.seed)
    with plan.store.lock("finetune", replicate.key):
        keep_rows(plan.store, plan.request.rows[arm])
        keep_finetuned(
            plan.store, engine, replicate, wanted.steps, Trained(model_id, plain, [], [], told), 0.0, new=False
        )
    unlike = f" Not as the experiment asks: {'; '.join(told)}." if told else ""
    return f"{model_id} is {arm} seed {replicate.seed} of {experiment} ({plan.request.preset}).{unlike}"


def job_lines(store: str | None) -> list[str]:
    """A line for each job that was begun and is not finished."""
    root = Store(store or default_store()).root
    lines = []
    for file in sorted((root / "unfinished").glob(f"finetune-*/{STATE}")):
        state = read_state(file.parent)
        lines.append(
            f"{state.get('job') or 'being created'}  {state.get('name')} of {state.get('model')}, {state.get('service')}"
        )
    return lines or ["no job is under way"]


def forget(job: str, store: str | None) -> str:
    """Have the next run create another job in this one's place, whose model was deleted, say. Raises `ModelError`."""
    root = Store(store or default_store()).root
    known = {
        str(state["job"]): file.parent
        for file in sorted((root / "unfinished").glob(f"finetune-*/{STATE}"))
        if (state := read_state(file.parent)).get("job") and "asked" in state  # not Tinker's, whose states are its own
    }
    if job not in known:
        raise ModelError(f"--forget {job}: this store has {choices(known, job) if known else 'no job'} under way")
    forget_job(known[job], job)
    return f"{job} is forgotten here; the next run has another one trained, and paid, in its place"


def cancel_job(job: str, provider: str, url: str | None) -> str:
    """Ask a service to end a job; what it says then."""
    jobs = Jobs(service_of(provider, url), lambda wanted: b"", lambda wanted: Path())
    return f"{job}: {jobs.cancel(job)}"
