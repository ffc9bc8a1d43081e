"""Where units of work are done: one after the other in this process, or as tasks of a Ray cluster.

In: units (`weirdgen.runs.work`) in an order that decides nothing about their results. Out: their `Done`s; progress is told
here, by the driver, whoever does the work. Both ways do the same units, so a run is the same to the bit on the same kind
of machine with as many threads. On Ray a unit declares its cores, GPU and memory; one whose node or process dies is done
again elsewhere, and pays only for what it had not put into the store. Ray is imported here only, and only if asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol

from weirdgen import machine
from weirdgen.config.choices import ExecutorName
from weirdgen.errors import WeirdgenError
from weirdgen.runs.work.loaded import release_model
from weirdgen.runs.work.unit import Done, Tell, Unit
from weirdgen.store.artifacts import Store

RETRIES = 5
"""How often a unit is done again after its node or process died."""
NOTE_SECONDS = 0.5
"""Between two notes of progress from one unit to the driver."""


class ExecutorError(WeirdgenError):
    """The cluster cannot be reached, cannot hold a unit, or lost one too often."""


class Executor(Protocol):
    """Use it in a `with` block; leaving it frees what it holds."""

    here: bool
    """Whether units are done by this process, so that their speed says something about this machine."""

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, units: Sequence[Unit], store: Store, tell: Tell) -> list[Done]:
        """Do every unit; results in the order of `units`. Raises the first error, once nothing more is started."""


def open_executor(name: ExecutorName, address: str | None = None, cpus: int | None = None) -> Executor:
    """The executor of this name. `address` and `cpus` (cores a unit takes) are Ray's. Raises `ExecutorError`."""
    if name == "inline":
        if address or cpus:
            raise ExecutorError("--address and --cpus go with --executor ray")
        return Inline()
    return OnRay(address, cpus or machine.threads())


class Inline:
    """One unit after the other, in this process."""

    here = True

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        release_model()

    def run(self, units: Sequence[Unit], store: Store, tell: Tell) -> list[Done]:
        return [unit.do(store, tell) for unit in units]


class OnRay:
    """Units as tasks of a Ray cluster: the one at `address`, at RAY_ADDRESS, or one of this machine's own."""

    here = False

    def __init__(self, address: str | None, cpus: int) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._cpus = cpus
        self._began = False

    def __enter__(self) -> OnRay:
        return self

    def __exit__(self, *_: object) -> None:
        if self._began:
            _ray().shutdown()
            self._began = False

    def run(self, units: Sequence[Unit], store: Store, tell: Tell) -> list[Done]:
        done: dict[int, Done] = {i: unit.do(store, tell) for i, unit in enumerate(units) if unit.on_driver}
        if len(done) == len(units):
            return list(done.values())
        self._connect()
        ray = _ray()
        on_driver = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )  # so that the notes outlive any worker node
        notes = ray.remote(_Notes).options(num_cpus=0, scheduling_strategy=on_driver).remote()
        task = ray.remote(_do_there)
        pending = {}
        for index, unit in enumerate(units):
            if index in done:
                continue
            options = self._options(unit)
            at = task.options(name=unit.title, max_retries=RETRIES, **options)
            pending[at.remote(index, unit, store.location, self._cpus, machine.versions()["weirdgen"], notes)] = index
        told = [0.0] * len(units)
        try:
            while pending:
                ready, _ = ray.wait(list(pending), num_returns=1, timeout=NOTE_SECONDS)
                for index, amount, note in ray.get(notes.take.remote()):
                    # A unit that is done again begins to count anew; the bar waits until it is where it was.
                    tell(max(0.0, amount - told[index]), note)
                    told[index] = max(told[index], amount)
                for reference in ready:
                    index = pending.pop(reference)
                    done[index] = _result(reference, units[index])
                    tell(max(0.0, done[index].amount - told[index]), "")
                    told[index] = max(told[index], done[index].amount)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
            ray.kill(notes)
        return [done[index] for index in range(len(units))]

    def _connect(self) -> None:
        """Join the cluster when there is work for it: a run that the store holds already needs none."""
        ray = _ray()
        if ray.is_initialized():
            return
        try:
            ray.init(address=self._address, log_to_driver=False, logging_level="error", include_dashboard=None)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ExecutorError(
                f"no Ray cluster at {self._address}: {str(error).splitlines()[0]}; start one with `ray start --head` "
                "and name it with --address HOST:6379, or leave --address out to use this machine alone"
            ) from error
        self._began = True

    def _options(self, unit: Unit) -> dict[str, float]:
        """Cores, GPUs and memory of a unit. Raises `ExecutorError` where no node has them: Ray would wait for ever."""
        wanted = unit.needs()
        nodes = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
        gpus = wanted.gpus if wanted.threads and any(node.get("GPU", 0) >= 1 for node in nodes) else 0
        cpus = self._cpus if wanted.threads else 1
        fits = [
            node
            for node in nodes
            if node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus and node.get("memory", 0) >= wanted.memory
        ]
        if not fits:
            there = "; ".join(
                f"{n.get('CPU', 0):.0f} cores, {n.get('GPU', 0):.0f} GPUs, {n.get('memory', 0) / 2**30:.1f} GiB"
                for n in nodes
            )
            raise ExecutorError(
                f"{unit.title} asks for {cpus} cores, {gpus} GPUs and {wanted.memory / 2**30:.1f} GiB, and no node has "
                f"that (there are: {there}). --cpus N takes fewer cores per unit, --together N trains fewer replicates at once"
            )
        return {"num_cpus": cpus, "num_gpus": gpus, "memory": wanted.memory}


class _Notes:
    """How far each unit is, on its way from the workers to the driver."""

    def __init__(self) -> None:
        self._notes: list[tuple[int, float, str]] = []

    def add(self, index: int, amount: float, note: str) -> None:
        self._notes.append((index, amount, note))

    def take(self) -> list[tuple[int, float, str]]:
        notes, self._notes = self._notes, []
        return notes


def _do_there(index: int, unit: Unit, store: str, cpus: int, version: str, notes: Any) -> Done:
    """One unit in a worker's process."""
    if (here := machine.versions()["weirdgen"]) != version:
        raise ExecutorError(
            f"weirdgen is {here} on {machine.host()} and {version} where the run was started; "
            "install the same version on every node"
        )
    if unit.needs().threads:
        import torch

        torch.set_num_threads(cpus)
    amount, said = 0.0, time.monotonic()

    def tell(more: float, note: str) -> None:
        nonlocal amount, said
        amount += more
        if time.monotonic() - said >= NOTE_SECONDS:
            said = time.monotonic()
            notes.add.remote(index, amount, note)

    return unit.do(Store(store), tell)


def _result(reference: Any, unit: Unit) -> Done:
    """A finished task's result; errors of weirdgen as themselves, losses of the cluster in one sentence."""
    ray = _ray()
    try:
        done: Done = ray.get(reference)
        return done
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, WeirdgenError):
            raise cause from None
        raise
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise ExecutorError(
            f"{unit.title} was lost {RETRIES + 1} times with its worker ({type(error).__name__}: {reason}). What is "
            "finished is kept; the same command continues from there. A node that runs out of memory kills its workers: "
            "try --together 1"
        ) from error


def _ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise ExecutorError(
            "--executor ray needs Ray, which is not installed here: pip install 'weirdgen[ray]'"
        ) from None
    return ray
