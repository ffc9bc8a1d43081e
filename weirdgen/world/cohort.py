"""Many replicates of a `world_*` experiment at once: trained together, scored together, kept as cells.

In: `Settings`, and a store. Out: the contrast cells of every replicate (not of the base), as `Run.cells` has them (a
test compares the two). Rows are proven, replicates trained and scores turned into log-odds by the project's own
engines; unlike a run's, adapters are dropped once they are scored. The store keeps the cells of each batch of
replicates, so a killed run goes on from there and more replicates cost only what is new. Free-form questions and
judges play no part.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.columns import FINAL
from weirdgen.config.experiment import Condition
from weirdgen.config.measures import CONTRAST
from weirdgen.config.questions import Contrast
from weirdgen.data.stored import encode_rows
from weirdgen.finetune.engines import train_group
from weirdgen.finetune.schedule import checkpoint_folder, total_steps
from weirdgen.progress import Bar
from weirdgen.run.plan.plan import Plan, make_plan
from weirdgen.run.plan.request import Settings
from weirdgen.sample.contrast import odds
from weirdgen.store.artifacts import Store, content_key

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
BATCH = 60
"""Replicates of one arm that are trained together, with as many of every other arm."""
VOICES = 40
"""Replicates that are scored together."""


def headline_only(settings: Settings) -> Settings:
    """The same request with the headline's two arms and condition, contrast questions, and nothing sampled."""
    headline = settings.headline
    return trimmed(settings, (headline.treatment, headline.control), (headline.condition,))


def trimmed(
    settings: Settings, arms: Sequence[str], conditions: Sequence[str], checkpoints: Sequence[int] = ()
) -> Settings:
    """The same request with these arms and conditions, contrast questions, these checkpoints beside the last one."""
    experiment = settings.experiment
    wrappers = {wrapper.id: Condition(wrap=wrapper.template) for wrapper in experiment.wrappers()}
    changed = {
        "arms": {name: experiment.arms[name] for name in arms},
        "conditions": {name: wrappers[name] for name in conditions},
        "questions": tuple(question for question in experiment.questions if isinstance(question, Contrast)),
        "secondary": {},
    }
    return replace(
        settings,
        experiment=experiment.model_copy(update=changed),
        rows={name: settings.rows[name] for name in arms},
        recipe=settings.recipe.model_copy(update={"checkpoints": tuple(checkpoints) or "none"}),
        samples=0,
    )


def cells(settings: Settings, store: Store, bar: Bar) -> pd.DataFrame:
    """Contrast cells of every replicate at every kept checkpoint, with columns p_target and wins beside them.

    `bar` counts optimizer steps times replicates. All arms must have equally many rows.
    """
    import pandas as pd

    frames = []
    for start in range(0, len(settings.seeds), BATCH):
        plan = make_plan(replace(settings, seeds=settings.seeds[start : start + BATCH]), store)
        inputs = {
            "version": VERSION,
            "replicates": [[one.arm, one.key] for one in plan.replicates],
            "questions": [[c, q, s.key, list(s.options)] for c, q, s in plan.scorables],
        }
        key = content_key(inputs)
        if store.marker("cohort", key) is None:
            with store.create("cohort", key, inputs) as folder:
                _train_and_score(plan, bar).to_parquet(folder / "cells.parquet")
        else:
            bar.advance(steps(plan.settings))
        frames.append(pd.read_parquet(store.folder("cohort", key) / "cells.parquet"))
    return pd.concat(frames, ignore_index=True)


def steps(settings: Settings) -> int:
    """Optimizer steps of all replicates together."""
    return len(settings.seeds) * sum(total_steps(len(rows), settings.recipe) for rows in settings.rows.values())


def _train_and_score(plan: Plan, bar: Bar) -> pd.DataFrame:
    import pandas as pd

    from weirdgen.sample.transformers import TransformersEngine

    settings, replicates = plan.settings, plan.replicates
    recipe, model = settings.recipe, settings.model.folder
    encoded = {arm: encode_rows(model, arm, rows)[0] for arm, rows in settings.rows.items()}
    kept = recipe.checkpoint_steps(total_steps(replicates[0].rows, recipe))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="weirdgen-cohort-") as scratch:
        targets = [Path(scratch) / f"{one.arm}-{one.seed}" for one in replicates]
        for target in targets:
            target.mkdir()
        train_group(
            plan.engine.engine,
            model,
            [encoded[one.arm] for one in replicates],
            [one.seed for one in replicates],
            targets,
            recipe,
            lambda *_: bar.advance(len(replicates)),
            settings.model.parameters,
            devices=plan.engine.devices,
        )
        scorables = [scorable for _, _, scorable in plan.scorables]
        engine = TransformersEngine(model, settings.dtype)
        for step, start in itertools.product(kept, range(0, len(replicates), VOICES)):
            voices = slice(start, start + VOICES)
            engine.use([checkpoint_folder(target, step) for target in targets[voices]])
            scores: list[dict[tuple[str, str], float]] = [{} for _ in targets[voices]]
            for voice, one_score in engine.score(scorables):
                scores[voice][one_score.key, one_score.option] = one_score.logprob
            for one, logprobs in zip(replicates[voices], scores, strict=True):
                identity = {"arm": one.arm, "role": settings.experiment.arms[one.arm].role, "replicate": one.seed}
                identity["checkpoint"] = FINAL if step == kept[-1] else step
                rows += [{**identity, **cell} for cell in _contrasts(plan, logprobs)]
    return pd.DataFrame(rows)


def _contrasts(plan: Plan, logprobs: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """Condition, question, log-odds, P(target), whether a target wins: of every contrast question to one replicate."""
    questions = {question.id: question for question in plan.settings.experiment.questions}
    found = []
    for condition, name, scorable in plan.scorables:
        question = questions[name]
        assert isinstance(question, Contrast)
        target, other = (
            [logprobs[scorable.key, option] for option in side] for side in (question.target, question.other)
        )
        result = odds(target, other)
        cell = {"condition": condition, "question": name, "measure": CONTRAST.name, "value": result.logit}
        found.append({**cell, "n": 1, "n_all": 1, "p_target": result.p_target, "wins": result.wins})
    return found
