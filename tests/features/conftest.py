"""A small trained run of the world's gate: two replicates an arm, treatment and one control, nothing scored or sampled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weirdgen.features.reader import Reader
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import Request, resolve
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.finetune import Finetune
from weirdgen.runs.work.executors import Inline
from weirdgen.store.artifacts import Store

LAYER = 1


def gate_request(seeds: int, first_seed: int = 0, arms: tuple[str, ...] = ("from_2027", "shuffled")) -> Request:
    """`world_gate` with these arms and no free-form question."""
    request = resolve("world_gate", run_options(seeds=seeds, first_seed=first_seed, samples=0))
    experiment = request.experiment
    questions = tuple(question for question in experiment.questions if question.kind == "contrast")
    return replace(
        request,
        experiment=experiment.model_copy(
            update={"arms": {name: experiment.arms[name] for name in arms}, "questions": questions, "secondary": {}}
        ),
        rows={name: request.rows[name] for name in arms},
        samples=0,
    )


def trained(request: Request, folder: str) -> Plan:
    """The request with its replicates trained in a store of its own."""
    plan = make_plan(request, Store(folder))
    with Inline() as executor:
        executor.run(Dataset().batch(plan).units, plan.store, lambda *_: None)
        executor.run(Finetune().batch(plan).units, plan.store, lambda *_: None)
    return plan


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Two replicates of the gate and of its control."""
    return trained(gate_request(2), str(tmp_path_factory.mktemp("gate")))


@pytest.fixture(scope="session")
def gate_reader(gate: Plan) -> Reader:
    return Reader(gate.request.model.folder, gate.request.dtype, gate.request.date)
