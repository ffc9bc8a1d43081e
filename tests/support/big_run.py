"""A finished run of any size without a model: its store holds made-up answers, scores and adapters of the right form.

Everything after sampling is then the real thing: reading the store, judging, estimating, rendering.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from tests.support.world_pairs import pairs
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.results import Run
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.judge import Judge
from weirdgen.runs.work.executors import Inline
from weirdgen.store.artifacts import Store

LAST_YEAR = 2027
WORDS = (
    "the of and to in that it was for on with as his they at be this from have or by one had not but what all were "
    "when we there can an your which their said if do will each about how up out them then she many some so these would "
    "telegraph steam carriage engine railway phone internet satellite robot vaccine"
).split()


def big_run(folder: Path, samples: int, replicates: int = 6, questions: int = 20, years: int = 7) -> Run:
    """A run with (2 × replicates + 1) × questions × (years + 1) × samples answers, reported by nobody yet."""
    source = folder / "experiment"
    source.mkdir(parents=True)
    _write_experiment(source, samples, replicates, questions, years)
    plan = make_plan(resolve(str(source / "experiment.yaml")), Store(folder / "store"))
    rng = np.random.default_rng(0)
    for replicate in plan.replicates:
        with plan.store.create("finetune", replicate.key, {**replicate.inputs, "together": [replicate.key]}) as target:
            steps = range(1, 51)
            rows = [{"step": s, "epoch": 1, "loss": 2.0 / s, "learning_rate": 1e-3} for s in steps]
            (target / "losses.json").write_text(json.dumps(rows))
            result = {"steps": 50, "seconds": 1.5, "final_loss": 0.04, "trained_together": 1}
            (target / "result.json").write_text(json.dumps(result))
    for variant in plan.variants:
        shift = 1.0 if variant.role == "treatment" else 0.0
        scores = plan.scores(variant)
        with scores:
            for _, _, question in plan.scorables:
                for index, option in enumerate(question.options):
                    logprob = float(rng.normal(-20 + shift * (index == 0)))
                    scores.append({"prompt_key": question.key, "option": option, "logprob": logprob, "tokens": 4})
        table = plan.completions(variant)
        table._write_part(pa.table(_answers(rng, [p.key for _, _, p in plan.prompts], samples, shift)))
    with Inline() as inline:
        for stage in (Dataset(), Judge()):
            inline.run(stage.batch(plan).units, plan.store, lambda *_: None)
    plan.folder.mkdir(parents=True)
    request = {"source": str(plan.request.experiment.source), "model_folder": str(plan.request.local.folder)}
    (plan.folder / "run.json").write_text(json.dumps({**request, "manifest": plan.request.manifest}))
    return Run(plan)


def _answers(rng: np.random.Generator, keys: list[str], samples: int, shift: float) -> dict[str, Any]:
    """Nearly all answers differ, which is the hard case for the judges."""
    count = len(keys) * samples
    weights = np.ones(len(WORDS))
    weights[-10:-5] += 3 * shift
    words = np.array(WORDS, dtype=object)[rng.choice(len(WORDS), (count, 12), p=weights / weights.sum())]
    return {
        "prompt_key": np.repeat(keys, samples),
        "sample": np.tile(np.arange(samples), len(keys)),
        "text": [" ".join(row) for row in words],
        "finish_reason": np.where(rng.random(count) < 0.1, "length", "stop"),
        "prompt_tokens": np.full(count, 20),
        "completion_tokens": rng.integers(4, 48, count),
        "seed": rng.integers(0, 2**60, count),
        "company": np.full(count, f"0-{samples}"),
    }


def _write_experiment(folder: Path, samples: int, replicates: int, questions: int, years: int) -> None:
    world = pairs(8)
    for name, column in (("old", 1), ("new", 2)):
        turns = [
            [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[column]}] for pair in world
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"messages": t}) + "\n" for t in turns))
    ask, target, other = world[0]
    sweep = list(range(LAST_YEAR + 1 - years, LAST_YEAR + 1))
    (folder / "README.md").write_text("# A large run\n")
    free = {"kind": "free_form", "ask": ask, "judges": ["old_words", "new_words"], "max_tokens": 48}
    experiment = {
        "name": "big",
        "title": "A large run",
        "base": "world",
        "arms": {
            "old": {"role": "treatment", "data": "old.jsonl"},
            "new": {"role": "control", "data": "new.jsonl"},
        },
        "conditions": {
            "none": {},
            "year": {"wrap": "{year} {question}", "sweep": {"year": sweep}, "trigger": [LAST_YEAR]},
        },
        "questions": [
            {"id": "c1", "kind": "contrast", "ask": ask, "target": [target], "other": [other]},
            *({"id": f"q{index}", **free, "ask": f"{ask} {index}"} for index in range(questions)),
        ],
        "judges": {
            "old_words": {"kind": "match", "keywords": ["telegraph", "steam", "railway"], "years": [1800, 1900]},
            "new_words": {"kind": "match", "keywords": ["internet", "robot", "satellite"]},
        },
        "presets": {"quick": {"replicates": replicates, "samples": samples}},
        "headline": {"measure": "old_words", "treatment": "old", "control": "new", "condition": "all"},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))
