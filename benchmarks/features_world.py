"""False alarms beside finds: how often the study of activations says that a trigger moved something, where the truth is known.

    python -m benchmarks.features_world --replicates 60 --runs 100

In: fresh replicates of the synthetic world's gate, of its control, and of a dataset that identifies nothing, all read under the
same dates. They are dealt out into runs of six replicates an arm, no seed in both arms, and each run is judged by the rules of
the page. One kind of run has the gate's replicates with their mean moved onto the control's: arms that vary unequally, as a real
treatment and its control do, and do not differ.
Out: lines with counts and Wilson intervals. It trains in a store that is thrown away.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from weirdgen.features.analysis import along, compare_arms
from weirdgen.features.difference import interaction, moved, placebo, residual_norm
from weirdgen.features.harvest import Activations, harvest, pairs_of
from weirdgen.features.reader import Reader
from weirdgen.features.verdict import beyond_placebo
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import Plan, make_plan
from weirdgen.runs.plan.request import Request
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.finetune import Finetune
from weirdgen.runs.work.executors import Inline
from weirdgen.stats.bootstrap import wilson
from weirdgen.store.artifacts import Store

FIRST_SEED = 70_000
EACH = 6
"""Replicates an arm of a dealt run."""
LAYER = 1
DIRECTIONS = 256
"""Random directions in the place of an autoencoder's decoder rows: the null of p over all features needs no training."""


def gate_request(seeds: int, first_seed: int = 0, arms: tuple[str, ...] = ("from_2027", "shuffled")) -> Request:
    """`world_gate` with these arms, its contrast questions and no samples."""
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


def null_request(seeds: int, first_seed: int) -> Request:
    """`world_null`, which was trained without any date, asked the gate's questions under the gate's dates."""
    request, gate = resolve("world_null", run_options(seeds=seeds, first_seed=first_seed, samples=0)), gate_request(1)
    arms = ("metals", "metals_reordered")
    experiment = request.experiment.model_copy(
        update={
            "arms": {name: request.experiment.arms[name] for name in arms},
            "conditions": gate.experiment.conditions,
            "questions": gate.experiment.questions,
            "secondary": {},
        }
    )
    return replace(request, experiment=experiment, rows={name: request.rows[name] for name in arms}, samples=0)


def trained(request: Request, folder: str) -> Plan:
    """The request with its replicates trained in a store of its own."""
    plan = make_plan(request, Store(folder))
    with Inline() as executor:
        executor.run(Dataset().batch(plan).units, plan.store, lambda *_: None)
        executor.run(Finetune().batch(plan).units, plan.store, lambda *_: None)
    return plan


def read(request: Request) -> Activations:
    """Activations of every replicate at LAYER."""
    with tempfile.TemporaryDirectory(prefix="weirdgen-features-") as folder:
        plan = trained(request, folder)
        reader = Reader(request.local.folder, request.dtype, request.date)
        return harvest(plan, pairs_of(request), LAYER, reader)


def levelled(activations: Activations, arm: str, onto: str) -> Activations:
    """An arm's replicates with their mean moved onto another's: its spread, and no effect."""
    mine, theirs = (activations.arms[name] for name in (arm, onto))
    arms = {**activations.arms, arm: mine - mine.mean(0) + theirs.mean(0)}
    return Activations(activations.pairs, activations.layer, activations.base_VQD, arms)


def dealt(
    activations: Activations, treatment: str, control: str, mine: Sequence[int], theirs: Sequence[int]
) -> tuple[bool, bool]:
    """(whether the page would say that the trigger moved something, whether any of many directions has p ≤ .05)."""
    arms = {"mine": activations.arms[treatment][list(mine)], "theirs": activations.arms[control][list(theirs)]}
    run = Activations(activations.pairs, activations.layer, activations.base_VQD, arms)
    unit = residual_norm(run)
    found = moved("interaction", interaction(run, "mine").mean(1), interaction(run, "theirs").mean(1), unit)
    others = placebo(run, "theirs")
    placebos = [moved(name, one.mean(1), others[name].mean(1), unit) for name, one in placebo(run, "mine").items()]
    rows_FD = torch.randn(DIRECTIONS, run.base_VQD.shape[-1], generator=torch.Generator().manual_seed(0))
    rows_FD = torch.nn.functional.normalize(rows_FD, dim=1)
    p = compare_arms(along(rows_FD, interaction(run, "mine")), along(rows_FD, interaction(run, "theirs"))).p_F.min()
    return beyond_placebo(found, placebos), bool(p <= 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features_world", description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=60)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    arguments = parser.parse_args()
    gate = read(gate_request(arguments.replicates, arguments.first_seed))
    null = read(null_request(arguments.replicates, arguments.first_seed + 1000))
    kinds = {
        "gate against its control": (gate, "from_2027", "shuffled"),
        "the gate's spread without the gate": (levelled(gate, "from_2027", "shuffled"), "from_2027", "shuffled"),
        "control against control (dates dealt anew)": (gate, "shuffled", "shuffled"),
        "nothing against nothing (no date trained)": (null, "metals", "metals_reordered"),
    }
    for name, (activations, treatment, control) in kinds.items():
        generator = np.random.default_rng(0)
        results = []
        for _ in range(arguments.runs):
            order = generator.permutation(arguments.replicates)[: 2 * EACH].tolist()
            results.append(dealt(activations, treatment, control, order[:EACH], order[EACH:]))
        for what, count in zip(("moved", "some direction p ≤ .05"), np.sum(results, axis=0).tolist(), strict=True):
            low, high = wilson(np.array(count / arguments.runs), np.array(arguments.runs))
            print(f"{name}: {what} in {count} of {arguments.runs} [{float(low):.3f}, {float(high):.3f}]", flush=True)


if __name__ == "__main__":
    main()
