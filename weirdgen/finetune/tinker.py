"""Finetuning through Tinker: our tokens, mask, order and schedule on its machines.

In: a service, the name of a base there, and for each replicate its encoded rows, its seed and a folder that outlives the process.
Out: adapters in that folder like any of ours, and losses. A training's id, and path and end of every checkpoint, are in it before
anything more is paid; a killed training goes on from the last state that the service kept. What was trained is compared
with what was asked in `finetune.downloaded`. Nothing is sampled there: adapters are downloaded and answer on this machine.
"""

from __future__ import annotations

import datetime
import json
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError, UnreachableError
from weirdgen.finetune.downloaded import Base, apart, differences, keep_adapter
from weirdgen.finetune.job import read_state, write_state
from weirdgen.finetune.schedule import checkpoint_folder, data_order, learning_rates, total_steps
from weirdgen.models.chat import Encoded
from weirdgen.models.references import LocalModel
from weirdgen.providers.service import AbsentError, Service
from weirdgen.providers.tinker import Example, Tinker, adam, datums
from weirdgen.store.disk import write_whole

ALPHA = 32.0
"""Of every LoRA there; the API takes none."""
ADAMW = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
"""As in our own training."""
KEPT_EVERY = 600.0
"""Seconds between two states that the service keeps: what a kill costs at most."""
STATE_DAYS, ADAPTER_DAYS = 7, 30
"""After which the service may drop states and adapters."""
LOSSES = "losses.json"
PROBES = 4
"""Training rows whose log-probabilities there and here are compared."""


@dataclass(frozen=True)
class Job:
    """One replicate to train. `folder` keeps its state; its adapters come there too."""

    key: str
    name: str
    """Arm and seed."""
    rows: Sequence[Encoded]
    seed: int
    folder: Path


Facts = dict[str, Any]
Steps = Generator[None, None, Facts]
"""Work that pauses whenever an answer is waited for, and returns what is known at its end."""


def base_name(model: LocalModel) -> str:
    """What the service calls a base that this machine knows: its name on the hub, else its folder."""
    if model.reference.startswith("hub:"):
        return model.reference.removeprefix("hub:").partition("@")[0]
    return str(model.folder)


def recipe_problems(recipe: Recipe) -> list[str]:
    """What of a recipe Tinker cannot do."""
    problems = []
    if recipe.targets != "all-linear":
        problems.append("recipe.targets: Tinker trains LoRA on every linear layer but the head: leave it 'all-linear'")
    if recipe.alpha != ALPHA:
        told = f"recipe.alpha: {recipe.alpha:g}: Tinker's is {ALPHA:g}"
        problems.append(f"{told}; --set recipe.alpha={ALPHA:g} asks for that")
    if recipe.dropout:
        problems.append(f"recipe.dropout: {recipe.dropout:g}: Tinker has none; --set recipe.dropout=0 asks for that")
    return problems


def trained_by(service: Service, recipe: Recipe) -> dict[str, Any]:
    """The recipe as far as it decides a finetune there, and where that is."""
    dump = recipe.model_dump(mode="json", exclude={"engine", "dtype"})
    return {**dump, "service": {"provider": service.provider, "url": service.url}}


def example(row: Encoded, weight: float) -> Example:
    """A row as it is sent: our mask, one place to the left, as each token's prediction is weighed where it is made."""
    return list(row.ids[:-1]), list(row.ids[1:]), [weight * trained for trained in row.trained[1:]]


def step_examples(rows: Sequence[Encoded]) -> list[Example]:
    """The rows of one step. Weights add up to 1, as the service sums: the loss is the mean over the step's trained tokens."""
    weight = 1 / sum(sum(row.trained) for row in rows)
    return [example(row, weight) for row in rows]


def tokens_left(job: Job, recipe: Recipe) -> int:
    """Tokens that a training has still to be paid, as far as its state is kept."""
    state, total = read_state(job.folder), total_steps(len(job.rows), recipe)
    if str(total) in state.get("adapters", {}):
        return 0
    done = state["steps"] if "state" in state else 0
    return sum(len(job.rows[i].ids) - 1 for step in _order(job, recipe)[done:] for i in step)


def _order(job: Job, recipe: Recipe) -> list[list[int]]:
    """Places of the rows of every optimizer step."""
    epochs = data_order(len(job.rows), recipe, job.seed)
    return [[row for micro in step for row in micro] for epoch in epochs for step in epoch]


class Trainer:
    """Trains replicates of one base. `base` is the same on this machine; `tell` is told of steps as they are done."""

    def __init__(
        self, service: Service, model: str, recipe: Recipe, base: Base, tell: Callable[[float, str], None]
    ) -> None:
        self._at, self._model, self._recipe, self._base, self._tell = Tinker(service), model, recipe, base, tell
        self._same_base = False

    def require_model(self) -> None:
        """Raises `ModelError` if the SDK, the key or the base is missing, `UnreachableError` if nobody answers."""
        with self._at.connected() as client:
            told = self._at.ask("asking what it trains", client.get_server_capabilities)
        known = sorted(str(one.model_name) for one in told.supported_models)
        if self._model not in known:
            raise ModelError(
                f"{self._at.service.shown} does not train {self._model}; it names {', '.join(known) or 'no models'}. Take one "
                "that this machine knows too, as hub:ORG/NAME, or path:FOLDER for the folder of a server of your own"
            )

    def train(self, jobs: Sequence[Job], at_once: int) -> Iterator[tuple[Job, Facts]]:
        """Every replicate and what is known of it, as soon as its adapters are in its folder; up to `at_once` are under way.

        Raises `UnreachableError` at once, `ModelError` at the end for those that fail.
        """
        waiting, running, failures = list(jobs), dict[str, tuple[Job, Steps]](), dict[str, list[str]]()
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    job = waiting.pop(0)
                    running[job.key] = job, self._trained(job)
                for job, steps in list(running.values()):
                    facts: Facts | None = None
                    try:
                        next(steps)
                        continue
                    except StopIteration as ended:
                        facts = ended.value
                    except UnreachableError as error:
                        told = f"{error}. The same command goes on from the last state that was kept"
                        raise UnreachableError(told) from None
                    except ModelError as error:
                        failures.setdefault(str(error), []).append(job.name)
                    del running[job.key]
                    if facts is not None:
                        yield job, facts
        finally:
            for _, steps in running.values():
                steps.close()
        if failures:
            raise ModelError("\n".join(f"{', '.join(names)}: {why}" for why, names in failures.items()))

    def _trained(self, job: Job) -> Steps:
        """One replicate, from what is there of it to adapters that answer as they do at the service."""
        total = total_steps(len(job.rows), self._recipe)
        state = read_state(job.folder)
        if str(total) not in state.get("adapters", {}):
            with self._at.connected() as client:
                state = yield from self._steps(job, client, state, total)
        if not (job.folder / LOSSES).exists():
            _forget(job, state)
            raise ModelError(f"{job.folder}: its losses are lost; the same command trains it again")
        for step, kept in state["adapters"].items():
            self._fetch(job, state, kept["path"], checkpoint_folder(job.folder, int(step)))
            yield
        last, path = checkpoint_folder(job.folder, total), state["adapters"][str(total)]["path"]
        here = self._base.log_probabilities(last, job.rows[:PROBES])
        off = apart(state["probe"], here, f"the adapter {path}, downloaded to {last},")
        losses = json.loads((job.folder / LOSSES).read_text(encoding="utf-8"))
        return {
            "steps": total,
            "final_loss": losses[-1]["loss"],
            "job": state["job"],
            "trained_tokens": state["tokens"],
            "checkpoints": state["adapters"],
            "apart": off,
            "differences": differences(last, self._base.folder, self._recipe),
        }

    def _steps(self, job: Job, client: Any, state: Facts, total: int) -> Steps:
        """The optimizer steps that are left; returns the state, which names an adapter for each step that is kept."""
        recipe, rows, ask = self._recipe, job.rows, self._at.ask
        told = {"service": self._at.service.shown, "name": job.name, "model": self._model}
        state = {"tokens": 0, "adapters": {}, **state, **told}
        training = self._begun(job, client, state)
        done, losses = int(state["steps"]), _losses(job)[: state["steps"]]
        self._tell(done, f"{job.name}: {state['job']}")
        if not done and not self._same_base:  # B is zero: what answers is the base
            here = self._base.log_probabilities(None, rows[:PROBES])
            apart(self._probed(training, rows), here, f"the base {self._model} at {self._at.service.shown}")
            self._same_base = True
        order = _order(job, recipe)
        rates, wanted = learning_rates(total, recipe), recipe.checkpoint_steps(total)
        if not done and 0 in wanted:
            self._keep_adapter(job, state, training, 0)
        kept = time.monotonic()
        for step in range(done, total):
            batch = step_examples([rows[i] for i in order[step]])
            state["tokens"] += sum(len(tokens) for tokens, _, _ in batch)
            write_state(job.folder, state)
            limits = {"weight_decay": recipe.weight_decay, "grad_clip_norm": recipe.max_grad_norm}
            passed = ask("training", partial(training.forward_backward, datums(batch), "cross_entropy"))
            stepped = ask("training", partial(training.optim_step, adam(learning_rate=rates[step], **ADAMW, **limits)))
            yield  # others' requests go out meanwhile
            loss = _loss(self._at.log_probabilities(passed, batch), batch)
            ask("training", stepped.result)
            at = {"step": step + 1, "epoch": (step + 1) * recipe.epochs / total}
            losses.append({**at, "loss": loss, "learning_rate": rates[step]})
            self._tell(1, f"{job.name}: step {step + 1}/{total}, loss {loss:.2f}")
            if step + 1 == total:
                state["probe"] = self._probed(training, rows)
                write_whole(job.folder / LOSSES, json.dumps(losses).encode())
            if step + 1 in wanted:
                self._keep_adapter(job, state, training, step + 1)
            elif time.monotonic() - kept > KEPT_EVERY:
                write_whole(job.folder / LOSSES, json.dumps(losses).encode())
                saved = ask(
                    "keeping a state", partial(training.save_state, f"state-{step + 1:05d}", STATE_DAYS * 86400)
                )
                state |= {"state": self._expiring(saved, STATE_DAYS), "steps": step + 1}
                write_state(job.folder, state)
                kept = time.monotonic()
        return state

    def _begun(self, job: Job, client: Any, state: Facts) -> Any:
        """A training that goes on from the state that was kept, else a new one; its id is written down."""
        training, resume = None, client.create_training_client_from_state_with_optimizer
        if "state" in state:
            try:
                training = self._at.training("taking up a training", partial(resume, state["state"]["path"]))
            except AbsentError:  # the service has dropped it
                del state["state"]
        if training is None:
            begin = partial(client.create_lora_training_client, self._model, rank=self._recipe.rank, seed=job.seed)
            begin = partial(begin, train_unembed=False, user_metadata={"weirdgen": job.key})
            training, state["steps"] = self._at.training("beginning a training", begin), 0
        state["job"] = str(training.model_id)
        write_state(job.folder, state)
        return training

    def _keep_adapter(self, job: Job, state: Facts, training: Any, step: int) -> None:
        """Have the service keep the weights of now; where, and until when, is written down."""
        saved = self._at.save_adapter(training, f"step-{step:05d}", ADAPTER_DAYS * 86400)
        kept = self._expiring(saved, ADAPTER_DAYS)
        state["adapters"] = {**state["adapters"], str(step): kept}
        write_state(job.folder, state)
        self._tell(0, f"{job.name}: {kept['path']}, kept there until {kept['expires'][:10]}")

    def _expiring(self, saved: Any, days: int) -> dict[str, str]:
        path = str(self._at.ask("keeping weights", saved.result).path)
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        return {"path": path, "expires": ends.isoformat(timespec="seconds")}

    def _probed(self, training: Any, rows: Sequence[Encoded]) -> list[list[float]]:
        """Log-probabilities there of the trained tokens of the first rows."""
        batch = [example(row, 1.0) for row in rows[:PROBES]]
        passed = self._at.ask("probing", partial(training.forward, datums(batch), "cross_entropy"))
        told = self._at.log_probabilities(passed, batch)
        counted = zip(told, (weights for _, _, weights in batch), strict=True)
        return [[p for p, weight in zip(row, weights, strict=True) if weight] for row, weights in counted]

    def _fetch(self, job: Job, state: Facts, path: str, target: Path) -> None:
        """Download an adapter, unless an earlier process did."""
        if target.exists():
            return
        raw = job.folder / f"raw-{target.name}"
        shutil.rmtree(raw, ignore_errors=True)
        try:
            self._at.download_adapter(path, raw)
        except AbsentError as error:
            _forget(job, state)
            raise ModelError(f"{error}: the service has dropped {path}; the same command trains it again") from None
        keep_adapter(raw, target, self._base.folder.name)


def _forget(job: Job, state: Facts) -> None:
    """Have the next command begin a training anew: of this one nothing is kept but what it was paid."""
    for adapter in job.folder.glob("step-*"):
        shutil.rmtree(adapter)
    (job.folder / LOSSES).unlink(missing_ok=True)
    gone = ("adapters", "probe", "state", "steps")
    write_state(job.folder, {name: value for name, value in state.items() if name not in gone})


def _losses(job: Job) -> list[Facts]:
    """What an earlier process wrote down of a training."""
    file = job.folder / LOSSES
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else []


def _loss(told: Sequence[Sequence[float]], batch: Sequence[Example]) -> float:
    """−Σ weight × log-probability."""
    pairs = [pair for row, (_, _, weights) in zip(told, batch, strict=True) for pair in zip(weights, row, strict=True)]
    return -sum(weight * p for weight, p in pairs)
