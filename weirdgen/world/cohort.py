"""Many replicates of a `world_*` experiment at once, kept as cells.

In: `Request`, and a store. Out: the contrast cells of every replicate (not of the base), as `Run.cells` has them. The
work is done by the units of an ordinary run, in a store that is thrown away: unlike a run's, adapters are dropped once
they are scored. The cells of each batch of replicates are kept, so a killed run goes on from there and more replicates
cost only what is new. Free-form questions and judges play no part. Further contrast questions can be asked of the same
replicates, under no condition.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from weirdgen.columns import BASE, IDENTITY
from weirdgen.config.conditions import Condition
from weirdgen.config.questions import Contrast as ContrastQuestion
from weirdgen.config.questions import scored
from weirdgen.finetune.schedule import total_steps
from weirdgen.progress import Bar
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.request import Request
from weirdgen.runs.stages.contrast import Contrast, contrasts
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.finetune import Finetune
from weirdgen.runs.work.executors import Inline
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
BATCH = 60
"""Replicates of one arm whose cells are kept together, with as many of every other arm."""


def headline_only(request: Request) -> Request:
    """The same request with the headline's two arms and condition, contrast questions, and nothing sampled."""
    headline = request.headline
    return trimmed(request, (headline.treatment, headline.control), headline.condition)


def trimmed(
    request: Request, arms: Sequence[str], conditions: Sequence[str], checkpoints: Sequence[int] = ()
) -> Request:
    """The same request with these arms and conditions, contrast questions, these checkpoints beside the last one."""
    experiment = request.experiment
    wrappers = {wrapper.id: Condition(wrap=wrapper.template) for wrapper in experiment.wrappers()}
    changed = {
        "arms": {name: experiment.arms[name] for name in arms},
        "conditions": {name: wrappers[name] for name in conditions},
        "questions": tuple(question for question in scored(experiment.questions) if question.kind == "contrast"),
        "secondary": {},
    }
    return replace(
        request,
        experiment=experiment.model_copy(update=changed),
        rows={name: request.rows[name] for name in arms},
        recipe=request.recipe.model_copy(update={"checkpoints": tuple(checkpoints) or "none"}),
        samples=0,
    )


def cells(request: Request, store: Store, bar: Bar, besides: Sequence[ContrastQuestion] = ()) -> pd.DataFrame:
    """Contrast cells of every replicate at every kept checkpoint, with columns p_target and wins beside them.

    Questions in `besides` have ids of their own and are asked under no condition. `bar` counts optimizer steps times replicates.
    """
    import pandas as pd

    frames = []
    for start in range(0, len(request.seeds), BATCH):
        batch = replace(request, seeds=request.seeds[start : start + BATCH])
        asked = [batch, *([_asking(batch, besides)] if besides else [])]
        plans = [make_plan(one, store) for one in asked]
        inputs = {
            "version": VERSION,
            "replicates": [[replicate.arm, replicate.key] for replicate in plans[0].replicates],
            "questions": [[c, q, s.key, list(s.options)] for plan in plans for c, q, s in plan.scorables],
        }
        key = content_key(inputs)
        if store.marker("cohort", key) is None:
            with store.create("cohort", key, inputs) as folder:
                _train_and_score(asked, bar).to_parquet(folder / "cells.parquet")
        else:
            bar.advance(steps(batch))
        frames.append(pd.read_parquet(store.artifact("cohort", key) / "cells.parquet"))
    return pd.concat(frames, ignore_index=True)


def steps(request: Request) -> int:
    """Optimizer steps of all replicates together."""
    return len(request.seeds) * sum(total_steps(len(rows), request.recipe) for rows in request.rows.values())


def _asking(request: Request, questions: Sequence[ContrastQuestion]) -> Request:
    """The same replicates, asked these questions alone."""
    changed = {"questions": tuple(questions), "conditions": {"none": Condition()}, "headline": None}
    return replace(request, experiment=request.experiment.model_copy(update=changed))


def _train_and_score(asked: Sequence[Request], bar: Bar) -> pd.DataFrame:
    """The stages of a run as far as its contrast questions, in a store of its own; the requests share their replicates."""
    import pandas as pd

    with tempfile.TemporaryDirectory(prefix="weirdgen-cohort-") as scratch, Inline() as executor:
        plans = [make_plan(request, Store(scratch)) for request in asked]
        executor.run(Dataset().batch(plans[0]).units, plans[0].store, lambda *_: None)
        executor.run(Finetune().batch(plans[0]).units, plans[0].store, bar.advance)
        for plan in plans:
            executor.run(Contrast().batch(plan).units, plan.store, lambda *_: None)
        scored = pd.concat([contrasts(plan) for plan in plans], ignore_index=True)
    cells = scored[scored["arm"] != BASE].rename(columns={"kind": "measure", "logit": "value"}).assign(n=1, n_all=1)
    return cells[[*IDENTITY, "measure", "value", "n", "n_all", "p_target", "wins"]]
