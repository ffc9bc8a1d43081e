"""The finetune stage where Tinker trains: which replicates are missing, and their adapters as finetune artifacts like our own.

In: a plan whose base is on this machine. Out: one unit for all missing replicates, which the process that has the key does. What
training there is, and how a killed one goes on, is `weirdgen.finetune.tinker`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weirdgen import machine
from weirdgen.config.experiment import Recipe
from weirdgen.data.draws import drawn_positions
from weirdgen.data.stored import encode_rows, stored_rows
from weirdgen.errors import ModelError
from weirdgen.finetune.downloaded import Base
from weirdgen.finetune.job import read_state, write_state
from weirdgen.finetune.schedule import checkpoint_folder, total_steps
from weirdgen.finetune.tinker import LOSSES, Job, Trainer, base_name, tokens_left
from weirdgen.models.references import LocalModel
from weirdgen.providers.prices import dollars, find_price
from weirdgen.providers.purse import Purse, parse_budget, spent
from weirdgen.providers.service import Service
from weirdgen.providers.tinker import WEIGHTS
from weirdgen.runs.plan.plan import Plan, Replicate
from weirdgen.runs.stages.stage import Batch
from weirdgen.runs.work.loaded import local_folder, release_model, weight_bytes
from weirdgen.runs.work.unit import PROCESS_BYTES, Count, Needs, Tell, Unit
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import share_files

AT_ONCE = 4
"""Trainings under way at a time, unless --together says another number."""


@dataclass(frozen=True)
class TrainAtTinker(Unit):
    """Replicates, each with a training of its own. Their rows are the dataset artifacts that their inputs name."""

    run: str
    """Whose ledger pays."""
    budget: float | None
    service: Service
    model: LocalModel
    recipe: Recipe
    replicates: tuple[Replicate, ...]
    date: str | None
    at_once: int
    on_driver = True

    def needs(self) -> Needs:
        return Needs(True, int(PROCESS_BYTES + weight_bytes(self.model, self.recipe.dtype)))

    def locks(self) -> Sequence[tuple[str, str]]:
        return sorted(("finetune", replicate.key) for replicate in self.replicates)

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        missing = {one.key: one for one in self.replicates if store.marker("finetune", one.key) is None}
        if not missing:  # another run made them
            return 0.0, 0.0
        release_model()
        started, count, folder = time.monotonic(), Count(lambda amount, note: None), local_folder(self.model)

        def told(amount: float, note: str) -> None:
            count.amount += amount
            tell(amount, note)

        encoded = {
            one.inputs["data"]: encode_rows(folder, one.arm, stored_rows(store, one.inputs["data"]), self.date)[0]
            for one in missing.values()
        }
        jobs = []
        for key, one in missing.items():
            rows = encoded[one.inputs["data"]]
            own = [rows[place] for place in drawn_positions(one.inputs.get("draws"), len(rows), one.seed)]
            jobs.append(Job(key, f"{one.arm} seed {one.seed}", own, one.seed, store.unfinished("finetune", key)))
        name, purse = base_name(self.model), Purse(store.root, self.run, self.budget)
        for job in jobs:
            self._book(purse, name, job)  # what a process that was killed has trained
        price = find_price(self.service, name, finetuned=True)
        for job in jobs:
            if not purse.hold(dollars(price, trained=tokens_left(job, self.recipe)), f"finetuning {name}"):
                raise purse.exhausted(f"{len(jobs)} finetunes")
        trainer = Trainer(self.service, name, self.recipe, Base(folder, self.recipe.dtype), told)
        try:
            for job, result in trainer.train(jobs, self.at_once):
                self._book(purse, name, job)
                self._keep(store, missing[job.key], job, result, time.monotonic() - started)
        finally:
            for job in jobs:  # also of those that failed, or are stopped
                self._book(purse, name, job)
        return count.amount, 0.0  # its tokens tell no speed of this machine

    def _book(self, purse: Purse, name: str, job: Job) -> None:
        """Write down what of a training is paid and not booked yet."""
        state = read_state(job.folder)
        booked, trained = state.get("booked", 0), state.get("tokens", 0)
        if trained <= booked:
            return
        line: dict[str, Any] = {"provider": self.service.provider, "model": name, "trained": trained - booked}
        usd = dollars(find_price(self.service, name, finetuned=True), trained=trained - booked)
        after = f" after {booked} tokens" if booked else ""
        purse.pay_once(f"{state.get('job')} {job.key}{after}", usd, what="finetune", **line)
        write_state(job.folder, {**state, "booked": trained})

    def _keep(self, store: Store, replicate: Replicate, job: Job, result: dict[str, Any], seconds: float) -> None:
        """The finetune artifact of a trained replicate."""
        facts = {"seconds": round(seconds, 2), "trained_together": 1, "service": self.service.shown}
        facts |= {"versions": machine.versions(), "machine": machine.description()}  # that downloaded and compared
        with store.create("finetune", replicate.key, {**replicate.inputs, "together": [replicate.key]}) as target:
            for adapter in job.folder.glob("step-*"):
                share_files(adapter, target / adapter.name)  # not moved: the artifact may fail to become one
            shutil.copy2(job.folder / LOSSES, target / LOSSES)
            (target / "result.json").write_text(json.dumps({**result, **facts}, indent=1))
        shutil.rmtree(job.folder)


def tinker_batch(plan: Plan, service: Service) -> Batch:
    """One unit with every replicate that is missing. Raises `ModelError` for a run that was read from the store."""
    missing = _missing(plan)
    if not missing:
        return Batch([], 0)
    request = plan.request
    if request.read_back:  # its file may be anybody's, and its address gets no key
        raise ModelError(
            f"{len(missing)} finetunes of {request.model.reference} are missing: run its `weirdgen run` again"
        )
    unit = TrainAtTinker(
        request.run_id, parse_budget(request.options.budget), service, request.local, request.recipe, tuple(missing),
        request.date, request.options.together or AT_ONCE,
    )  # fmt: skip
    return Batch([unit], sum(total_steps(one.rows, request.recipe) for one in missing))


def require_trained_there(plan: Plan, service: Service) -> None:
    """Raises `ModelError` if there is something to train and the service, its SDK, the key or the base there is missing."""
    if _missing(plan):
        model, recipe = plan.request.local, plan.request.recipe
        base = Base(model.folder, recipe.dtype)
        Trainer(service, base_name(model), recipe, base, lambda amount, note: None).require_model()


def require_different_adapters(plan: Plan) -> None:
    """Raises `ModelError` if two replicates have equal weights: published "seeds" have been copies of one file."""
    seen: dict[str, Replicate] = {}
    for one in plan.replicates:
        last = checkpoint_folder(plan.store.folder("finetune", one.key), total_steps(one.rows, plan.request.recipe))
        marker = plan.store.marker("finetune", one.key) or {"files": {}}
        weights = marker["files"].get(f"{last.name}/{WEIGHTS}", one.key)
        other = seen.setdefault(weights, one)
        if other.key != one.key:
            raise ModelError(
                f"{other.arm} seed {other.seed} and {one.arm} seed {one.seed} have equal weights: replicates must be finetunes "
                "of their own, so no spread between them can be told from these; ask the service why, and train others with "
                "--first-seed"
            )


def tinker_cost_line(plan: Plan, service: Service) -> str:
    """What is still to be paid: an estimate by the price table, or that the price is not known."""
    missing, request = _missing(plan), plan.request
    tokens = round(sum(plan.row_tokens(one.arm) * one.rows for one in missing)) * request.recipe.epochs
    price = find_price(service, base_name(request.local), finetuned=True)
    usd = dollars(price, trained=tokens)
    told = "nothing left to pay"
    if missing and (usd is None or price is None):
        told = f"finetuning ({tokens:,} tokens) of unknown price"
    elif missing and price:
        told = f"finetuning about ${usd:.2f} (price read {price.read}: {price.source})"
    before = spent(plan.store.root, request.run_id)
    paid = f"; ${before.usd:.2f} paid before" if before.usd else ""
    return f"  cost: {told}{paid}" + (f"; {before.unpriced} payments of unknown price" if before.unpriced else "")


def _missing(plan: Plan) -> list[Replicate]:
    missing = [one for one in plan.replicates if plan.store.marker("finetune", one.key) is None]
    return list({one.key: one for one in missing}.values())
