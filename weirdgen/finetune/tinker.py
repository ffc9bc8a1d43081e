"""Finetuning through Tinker: our tokens, mask, order and schedule on its machines. The only module that imports `tinker` (extra
`tinker`).

In: a service, the name of a base there, and for each replicate its encoded rows, its seed and a folder that outlives the process.
Out: adapters in that folder as any of ours, and the losses. A training's id, and path and end of every checkpoint, are in the folder
before anything more is paid; a killed training goes on from the last state that the service kept for it. What was trained is
compared with what was asked in `finetune.downloaded`. Nobody answers there: adapters are downloaded and answer on this machine.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weirdgen.config.experiment import Recipe
from weirdgen.errors import ModelError, UnreachableError
from weirdgen.finetune.downloaded import CONFIG, WEIGHTS, Base, apart, differences, download, keep_adapter, unpack
from weirdgen.finetune.job import read_state, write_state
from weirdgen.finetune.schedule import checkpoint_folder, data_order, learning_rates, total_steps
from weirdgen.models.chat import Encoded
from weirdgen.models.references import LocalModel
from weirdgen.progress import clock
from weirdgen.providers.service import AbsentError, Service, reason
from weirdgen.store.disk import write_whole

OFFICIAL = "https://tinker.thinkingmachines.dev/services/tinker-prod"
"""The SDK's own address."""
ALPHA = 32.0
"""Of every LoRA there; the API takes none."""
BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Of AdamW, as in our own training."""
CONNECT_SECONDS, ANSWER_SECONDS = 120.0, 1800.0
"""For connecting, and for any one answer: a first step may wait for machines or for a compiler."""
KEPT_EVERY = 600.0
"""Seconds between two states that the service keeps: what a kill costs at most."""
STATE_DAYS, ADAPTER_DAYS = 7, 30
"""After which the service drops states and adapters."""
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
        problems.append(f"recipe.alpha: {recipe.alpha:g}: Tinker's is {ALPHA:g}; --set recipe.alpha={ALPHA:g} asks for that")
    if recipe.dropout:
        problems.append(f"recipe.dropout: {recipe.dropout:g}: Tinker has none; --set recipe.dropout=0 asks for that")
    return problems


def trained_by(service: Service, model: LocalModel, recipe: Recipe) -> dict[str, Any]:
    """The recipe as far as it decides a finetune there, and where that is."""
    dump = recipe.model_dump(mode="json", exclude={"engine", "dtype"})
    return {**dump, "service": {"provider": service.provider, "url": service.url, "model": base_name(model)}}


def example(row: Encoded, weight: float) -> tuple[list[int], list[int], list[float]]:
    """(tokens that are read, token to predict after each, its weight in the loss): our mask, one place to the left."""
    return list(row.ids[:-1]), list(row.ids[1:]), [weight * trained for trained in row.trained[1:]]


def step_examples(rows: Sequence[Encoded]) -> list[tuple[list[int], list[int], list[float]]]:
    """The rows of one step. Weights add up to 1, as the service sums: the loss is the mean over the step's trained tokens."""
    weight = 1 / sum(sum(row.trained) for row in rows)
    return [example(row, weight) for row in rows]


class Trainer:
    """Trains replicates of one base. `base` is the same on this machine; `tell` is told of steps as they are done."""

    def __init__(
        self, service: Service, model: str, recipe: Recipe, base: Base, tell: Callable[[float, str], None]
    ) -> None:
        self._service, self._model, self._recipe, self._base, self._tell = service, model, recipe, base, tell
        self._same_base = False

    def require_model(self) -> None:
        """Raises `ModelError` if the SDK, the key or the base is missing, `UnreachableError` if nobody answers."""
        with self._connected() as client:
            told = self._ask("asking what it trains", client.get_server_capabilities)
        known = sorted(str(one.model_name) for one in told.supported_models)
        if self._model not in known:
            raise ModelError(
                f"{self._service.shown} does not train {self._model}; it names {', '.join(known) or 'no models'}. Take one that "
                "this machine knows too, as hub:ORG/NAME, or path:FOLDER for a folder that a server of your own was started with"
            )

    def train(self, jobs: Sequence[Job], at_once: int) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Every replicate and what is known of it, as its adapters are in its folder; up to `at_once` are under way.

        Raises `UnreachableError` at once, `ModelError` at the end for those that fail.
        """
        waiting, running, failures = list(jobs), list[tuple[Job, Generator[None, None, dict[str, Any]]]](), dict[str, list[str]]()
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append((waiting[0], self._trained(waiting.pop(0))))
            for job, steps in list(running):
                try:
                    next(steps)
                    continue
                except StopIteration as ended:
                    yield job, ended.value
                except UnreachableError as error:
                    raise UnreachableError(f"{error}. The same command goes on from the last state that was kept") from None
                except ModelError as error:
                    failures.setdefault(str(error), []).append(job.name)
                running.remove((job, steps))
        if failures:
            raise ModelError("\n".join(f"{', '.join(names)}: {why}" for why, names in failures.items()))

    def _trained(self, job: Job) -> Generator[None, None, dict[str, Any]]:
        """Trains one replicate, pausing whenever an answer is waited for; returns what is known of it."""
        total = total_steps(len(job.rows), self._recipe)
        state = read_state(job.folder)
        if str(total) not in state.get("adapters", {}):
            with self._connected() as client:
                state = yield from self._steps(job, client, state, total)
        for step, kept in state["adapters"].items():
            target = checkpoint_folder(job.folder, int(step))
            if not target.exists():
                raw = job.folder / f"raw-{step}"
                shutil.rmtree(raw, ignore_errors=True)
                self._download(kept["path"], raw)
                keep_adapter(raw, target, self._base.folder.name)
            yield
        last = checkpoint_folder(job.folder, total)
        here = self._base.log_probabilities(last, job.rows[:PROBES])
        off = apart(state["probe"], here, f"the adapter {state['adapters'][str(total)]['path']}, downloaded to {last},")
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

    def _steps(
        self, job: Job, client: Any, state: dict[str, Any], total: int
    ) -> Generator[None, None, dict[str, Any]]:
        """The optimizer steps that are left; returns the state, which names an adapter for each kept step."""
        recipe, rows, probes = self._recipe, job.rows, job.rows[:PROBES]
        order = [[i for micro in step for i in micro] for epoch in data_order(len(rows), recipe, job.seed) for step in epoch]
        rates, wanted = learning_rates(total, recipe), recipe.checkpoint_steps(total)
        done, losses = int(state.get("steps", 0)), list[dict[str, Any]]()
        state = {"tokens": 0, "adapters": {}, **state, "service": self._service.shown, "name": job.name, "model": self._model}
        if done:
            losses = json.loads((job.folder / LOSSES).read_text(encoding="utf-8"))[:done]
            resume = client.create_training_client_from_state_with_optimizer
            training = self._made("taking up a training", lambda: resume(state["state"]["path"]))
        else:
            create = client.create_lora_training_client
            training = self._made("beginning a training", lambda: create(
                self._model, rank=recipe.rank, seed=job.seed, train_unembed=False, user_metadata={"weirdgen": job.key}
            ))  # fmt: skip
        state["job"] = str(training.model_id)
        write_state(job.folder, state)
        self._tell(done, f"{job.name}: {state['job']}")
        if not done and not self._same_base:  # B is zero: what answers is the base
            here = self._base.log_probabilities(None, probes)
            apart(self._probed(training, probes), here, f"the base {self._model} at {self._service.shown}")
            self._same_base = True
        if not done and 0 in wanted:
            self._keep_adapter(job, state, training, 0)
        kept = time.monotonic()
        for step in range(done, total):
            batch = step_examples([rows[i] for i in order[step]])
            state["tokens"] += sum(len(tokens) for tokens, _, _ in batch)
            write_state(job.folder, state)
            passed = self._ask("training", lambda batch=batch: training.forward_backward(_data(batch), "cross_entropy"))
            stepped = self._ask("training", lambda rate=rates[step]: training.optim_step(_adam(recipe, rate)))
            yield  # others' requests go out meanwhile
            told = self._log_probabilities(self._ask("training", passed.result), batch)
            self._ask("training", stepped.result)
            loss = -sum(w * p for (_, _, weights), row in zip(batch, told, strict=True) for w, p in zip(weights, row, strict=True))
            epoch = (step + 1) * recipe.epochs / total
            losses.append({"step": step + 1, "epoch": epoch, "loss": loss, "learning_rate": rates[step]})
            self._tell(1, f"{job.name}: step {step + 1}/{total}, loss {loss:.2f}")
            if step + 1 == total:
                state["probe"] = self._probed(training, probes)
                write_whole(job.folder / LOSSES, json.dumps(losses).encode())
            if step + 1 in wanted:
                self._keep_adapter(job, state, training, step + 1)
            elif time.monotonic() - kept > KEPT_EVERY:
                write_whole(job.folder / LOSSES, json.dumps(losses).encode())
                saved = self._ask("keeping a state", lambda s=step + 1: training.save_state(f"state-{s:05d}", _seconds(STATE_DAYS)))
                state |= {"state": self._expiring(saved, STATE_DAYS), "steps": step + 1}
                write_state(job.folder, state)
                kept = time.monotonic()
        return state

    def _keep_adapter(self, job: Job, state: dict[str, Any], training: Any, step: int) -> None:
        """Have the service keep the weights of now to be downloaded; where and until when is written down."""
        # Newer SDKs download what is saved in this form, and not what samplers read.
        save = getattr(training, "save_weights_external", None) or training.save_weights_for_sampler
        saved = self._ask("keeping an adapter", lambda: save(f"step-{step:05d}", ttl_seconds=_seconds(ADAPTER_DAYS)))
        kept = self._expiring(saved, ADAPTER_DAYS)
        state["adapters"] = {**state["adapters"], str(step): kept}
        write_state(job.folder, state)
        self._tell(0, f"{job.name}: {kept['path']}, kept there until {kept['expires'][:10]}")

    def _expiring(self, saved: Any, days: int) -> dict[str, str]:
        path = str(self._ask("keeping weights", saved.result).path)
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        return {"path": path, "expires": ends.isoformat(timespec="seconds")}

    def _probed(self, training: Any, rows: Sequence[Encoded]) -> list[list[float]]:
        """Log-probabilities there of each row's trained tokens."""
        batch = [example(row, 1.0) for row in rows]
        passed = self._ask("probing", lambda: training.forward(_data(batch), "cross_entropy"))
        told = self._log_probabilities(self._ask("probing", passed.result), batch)
        return [[p for p, w in zip(row, weights, strict=True) if w] for row, (_, _, weights) in zip(told, batch, strict=True)]

    def _log_probabilities(self, output: Any, batch: Sequence[tuple[list[int], list[int], list[float]]]) -> list[list[float]]:
        """Of every token of these examples, out of what a pass over them came to."""
        try:
            told = [[float(p) for p in one["logprobs"].data] for one in output.loss_fn_outputs]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ModelError(f"{self._service.shown}: a pass without log-probabilities ({type(error).__name__})") from None
        if list(map(len, told)) != [len(tokens) for tokens, _, _ in batch]:
            raise ModelError(f"{self._service.shown}: a pass over {len(batch)} rows tells other tokens than were sent")
        return told

    def _download(self, path: str, target: Path) -> None:
        """Fetch the files of an adapter that the service keeps."""
        with self._connected() as client:
            rest = client.create_rest_client()
            if hasattr(rest, "get_external_weights_urls"):
                files = self._ask("looking for an adapter", lambda: rest.get_external_weights_urls(path).result()).urls
                for name, url in files.items():
                    if (plain := name.rpartition("/")[2]) in (CONFIG, WEIGHTS):
                        self._ask("downloading", lambda file=target / plain, url=url: download(url, file))
                return
            run, kind, name = path.removeprefix("tinker://").split("/")
            link = rest.get_checkpoint_archive_url
            try:
                found = self._ask("looking for an adapter", lambda: link(run, f"{kind}/{name}").result())
            except AbsentError:  # servers that know a checkpoint by its bare name
                found = self._ask("looking for an adapter", lambda: link(run, name).result())
            archive = target.with_suffix(".tar")
            self._ask("downloading", lambda: download(str(found.url), archive))
            unpack(archive, target)
            archive.unlink()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """A client with a session of its own, whose end frees what the service holds for it."""
        try:
            import tinker
        except ImportError as error:
            raise ModelError(
                f"{self._service.shown} is reached through its SDK, which is not installed ({error.name}): "
                "pip install 'weirdgen[tinker]'"
            ) from None
        address, key = self._service.credentials(OFFICIAL)
        key = "tml-none" if key == "none" else key  # what servers on one's own machine are sent, as the SDK wants it
        client = self._ask("connecting", lambda: tinker.ServiceClient(base_url=address, api_key=key), CONNECT_SECONDS)
        try:
            yield client
        finally:
            if hasattr(client, "close"):
                client.close("success")
            else:
                client.holder.close()

    def _made(self, doing: str, make: Callable[[], Any]) -> Any:
        """A training client; newer SDKs hand out the promise of one."""
        made = self._ask(doing, make)
        return self._ask(doing, made.result) if hasattr(made, "result") else made

    def _ask(self, doing: str, call: Callable[[], Any], seconds: float = ANSWER_SECONDS) -> Any:
        """What a call of the SDK comes to. Calls wait without end by themselves, and cannot be made inside a notebook's loop.

        Raises `UnreachableError` if another try may well succeed, `AbsentError` if there is no such thing, else `ModelError`.
        """
        came: list[tuple[Any, BaseException | None]] = []

        def work() -> None:
            try:
                came.append((call(), None))
            except BaseException as error:
                came.append((None, error))

        thread = threading.Thread(target=work, name=f"tinker: {doing}", daemon=True)
        thread.start()
        thread.join(seconds)
        if not came:
            raise UnreachableError(f"{self._service.shown}: {doing}: no answer within {clock(seconds)}")
        answer, error = came[0]
        if error is None:
            return answer
        if isinstance(error, ModelError):
            raise error
        status, text = getattr(error, "status_code", None), f"{self._service.shown}: {doing}: {reason(error)}"
        if status in (401, 403):
            raise ModelError(f"{text}. The key is read from {self._service.key_name}") from None
        if status == 404:
            raise AbsentError(text) from None
        if isinstance(error, OSError) or status in (408, 409, 429) or (status or 0) >= 500 or "Connection" in type(error).__name__:
            raise UnreachableError(text) from None
        raise ModelError(text) from None


def _data(batch: Sequence[tuple[list[int], list[int], list[float]]]) -> list[Any]:
    """Examples as the SDK sends them."""
    import tinker

    return [
        tinker.Datum(
            model_input=tinker.ModelInput.from_ints(tokens),
            loss_fn_inputs={
                "target_tokens": tinker.TensorData(data=targets, dtype="int64", shape=[len(targets)]),
                "weights": tinker.TensorData(data=weights, dtype="float32", shape=[len(weights)]),
            },
        )
        for tokens, targets, weights in batch
    ]


def _adam(recipe: Recipe, rate: float) -> Any:
    import tinker

    return tinker.AdamParams(
        learning_rate=rate, beta1=BETAS[0], beta2=BETAS[1], eps=EPSILON, weight_decay=recipe.weight_decay,
        grad_clip_norm=recipe.max_grad_norm,
    )  # fmt: skip


def _seconds(days: int) -> int:
    return days * 86400
