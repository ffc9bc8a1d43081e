"""Arms that are trained for their scores only: several replicates of each in one pass, scored on fixed answers, then dropped.

In: a `Request` as a model for how to train, rows of arms, texts with fixed answers. Out: a frame with one row a replicate, text
and answer. The work is done by the units of an ordinary run in a scratch store beside the unfinished work; what is kept is one
artifact `trial` for each portion of arms, so a killed command goes on where it was, and the next one clears what is left.
Adapters are not kept: who wants to talk to a model runs an experiment.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from weirdgen import machine
from weirdgen.columns import BASE
from weirdgen.config.arm import Arm
from weirdgen.config.experiment import Recipe
from weirdgen.config.questions.base import ScoredQuestion
from weirdgen.data.rows import Row
from weirdgen.errors import SpecError
from weirdgen.finetune.engines import tokens_through
from weirdgen.finetune.schedule import total_steps
from weirdgen.models.chat import load_tokenizer
from weirdgen.progress import Progress, clock
from weirdgen.runs.plan.plan import Plan, make_plan, part_of
from weirdgen.runs.plan.request import Request
from weirdgen.runs.references.build import in_passes
from weirdgen.runs.stages.contrast import score_units
from weirdgen.runs.stages.dataset import Dataset
from weirdgen.runs.stages.finetune import Finetune
from weirdgen.runs.work.executors import Executor, Inline
from weirdgen.runs.work.loaded import local_folder
from weirdgen.runs.work.unit import Unit, remember_speed
from weirdgen.sample.contrast import VARIANTS, scores_table
from weirdgen.sample.engine import Scorable
from weirdgen.sample.variant import Variant, distinct
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

STAGE = "trial"
VERSION = 1
"""Raise it when equal inputs would give other scores."""
TOGETHER = 16
"""Replicates that are trained in one pass and kept together: as many as are scored in one pass."""
COLUMNS = ("arm", "replicate", "key", "option", "logprob", "tokens")
"""`key`: of the text asked. `logprob`: total of answer and end-of-turn in nats. `tokens`: how many that are."""


@dataclass(frozen=True)
class Trial:
    """Arms × seeds that are wanted, against what a store holds of them."""

    plan: Plan
    asked: tuple[Scorable, ...]
    together: int = TOGETHER

    @cached_property
    def portions(self) -> list[tuple[str, ...]]:
        """Arms that are trained and kept together. They follow from the request, so a killed command resumes with the same."""
        arms, seeds = list(self.plan.request.rows), len(self.plan.request.seeds)
        size = max(1, self.together // seeds)
        return [tuple(arms[start : start + size]) for start in range(0, len(arms), size)]

    def inputs(self, portion: Sequence[str]) -> dict[str, Any]:
        """Everything that decides a portion's artifact."""
        return {
            "version": VERSION,
            "dtype": self.plan.request.numerics,
            "replicates": [replicate.key for replicate in self.plan.replicates if replicate.arm in portion],
            "asked": [[one.key, *one.options] for one in self.asked],
        }

    def missing(self) -> list[tuple[str, ...]]:
        """Portions that the store does not hold."""
        store = self.plan.store
        return [one for one in self.portions if store.marker(STAGE, content_key(self.inputs(one))) is None]

    def steps(self, arms: Sequence[str]) -> int:
        """Optimizer steps of all replicates of these arms together."""
        request = self.plan.request
        return len(request.seeds) * sum(total_steps(len(request.rows[arm]), request.recipe) for arm in arms)

    def seconds(self) -> float:
        """About how long the missing portions take on this machine."""
        request, arms = self.plan.request, [arm for portion in self.missing() for arm in portion]
        recipe, seeds, parameters = request.recipe, len(request.seeds), request.local.parameters
        tokens = 0.0
        for arm in arms:
            proof, rows = self.plan.proofs[arm], len(request.rows[arm])
            tokens += tokens_through(self.plan.trainer.engine, proof["tokens"], rows, proof["shared_prefix"], recipe)
        answers = sum(len(option) / 4 + 1 for one in self.asked for option in one.options)
        train = seeds * tokens * recipe.epochs / machine.seen_rate("train", parameters, recipe.dtype)
        return train + seeds * len(arms) * answers / machine.seen_rate("score", parameters, request.numerics)

    def line(self, what: str) -> str:
        """The plan in one line."""
        request, left = self.plan.request, sum(map(len, self.missing()))
        arms, seeds = len(request.rows), len(request.seeds)
        todo = f"{left} to do, about {clock(self.seconds())}" if left else "all in the store"
        steps = self.steps(list(request.rows)[:1]) // seeds
        answers = sum(len(one.options) for one in self.asked)
        return f"  {what}: {arms} arms × {seeds} replicates × {steps} steps, {answers} answers each: {todo}"

    def scores(self, progress: Progress) -> pd.DataFrame:
        """Train and score what the store lacks, then `COLUMNS` of all. Raises `StoreError` if it cannot be written."""
        import pandas as pd

        store, missing = self.plan.store, self.missing()
        _clear(store)
        if missing:
            store.require_writable()
            steps = self.steps([arm for portion in missing for arm in portion])
            with Inline() as executor, progress.stage("train and score", steps, "steps") as bar:
                for portion in missing:
                    self._make(portion, executor, bar.advance)
        folders = [store.artifact(STAGE, content_key(self.inputs(portion))) for portion in self.portions]
        frames = [pd.read_parquet(folder / "scores.parquet") for folder in folders]
        # The names of arms decide no result: an artifact that another command made has its own.
        for portion, frame in zip(self.portions, frames, strict=True):
            frame["arm"] = [portion[place] for place in frame["place"]]
        return pd.concat(frames, ignore_index=True)[list(COLUMNS)]

    def _make(self, portion: Sequence[str], executor: Executor, tell: Any) -> None:
        """One portion's artifact."""
        import pandas as pd

        store, inputs = self.plan.store, self.inputs(portion)
        key = content_key(inputs)
        with store.lock(STAGE, key):
            if store.marker(STAGE, key) is not None:  # another process made it meanwhile
                return
            scratch = Store(store.unfinished(STAGE, key))
            plan = part_of(self.plan, portion, scratch)
            executor.run(Dataset().batch(plan).units, scratch, lambda *_: None)
            self._timed("train", Finetune().batch(plan).units, scratch, executor, tell)
            variants = [variant for variant in plan.variants if variant.arm != BASE]
            self._timed("score", self._score_units(distinct(variants)), scratch, executor, lambda *_: None)
            rows = [
                (portion.index(one.arm), one.replicate, score.prompt_key, score.option, score.logprob, score.tokens)
                for one in variants
                for score in scores_table(scratch, one, plan.request.numerics).read().itertuples()
            ]
            with store.create(STAGE, key, inputs) as folder:
                pd.DataFrame(rows, columns=["place", *COLUMNS[1:]]).to_parquet(folder / "scores.parquet")
            shutil.rmtree(scratch.root, ignore_errors=True)  # what stays is cleared by the next command

    def _score_units(self, variants: Sequence[Variant]) -> list[Unit]:
        request = self.plan.request
        asked = in_passes(self.asked, load_tokenizer(local_folder(request.local), request.date))
        passes = [variants[first : first + VARIANTS] for first in range(0, len(variants), VARIANTS)]
        return [unit for together in passes for unit in score_units(request, together, asked)]

    def _timed(self, kind: Any, units: Sequence[Unit], scratch: Store, executor: Executor, tell: Any) -> None:
        """Do units; their speed is remembered for the next plan."""
        request = self.plan.request
        done = executor.run(units, scratch, tell)
        dtype = request.recipe.dtype if kind == "train" else request.numerics
        remember_speed(kind, done, request.model.parameters, dtype)


def _clear(store: Store) -> None:
    """Remove the adapters of portions that are finished: whoever made one was killed before it had removed them.

    Nobody goes on with them, since a finished portion is looked for first; so no lock is needed.
    """
    for place in store.unfinished(STAGE, "").parent.glob(f"{STAGE}-*"):
        if store.marker(STAGE, place.name.removeprefix(f"{STAGE}-")) is not None:
            shutil.rmtree(place, ignore_errors=True)


def plan_trial(
    like: Request,
    rows: Mapping[str, Sequence[Row]],
    seeds: Sequence[int],
    asked: Sequence[Scorable],
    store: Store,
    recipe: Recipe | None = None,
    together: int = TOGETHER,
) -> Trial:
    """Arms with these rows, trained as `like` is (or by another recipe), checked and proven.

    Raises `DataError` on rows that cannot be trained on, `SpecError` on a recipe that trains every weight.
    """
    settled = (recipe or like.recipe).with_changes({"checkpoints": "none"})
    if settled.full:
        raise SpecError(["recipe.targets=full: this needs adapters; name the layers that get one, e.g. all-linear"])
    arms = {name: Arm(role="treatment", data=tuple(mine)) for name, mine in rows.items()}
    request = replace(
        like,
        experiment=like.experiment.model_copy(update={"arms": arms, "headline": None, "secondary": {}}),
        rows={name: list(mine) for name, mine in rows.items()},
        recipe=settled,
        seeds=tuple(seeds),
        samples=0,
        until=None,
        judge=None,
        ordinary={},
        distilled=True,
    )
    return Trial(make_plan(request, store), tuple(asked), together)


def asked_of(question: ScoredQuestion, wrap: Any = None) -> Scorable:
    """A question as it is put to a model; `wrap` changes its text as a condition does."""
    text = wrap(question.ask) if wrap else question.ask
    return Scorable(content_key(text), text, question.options)


def log_odds(scores: pd.DataFrame, question: ScoredQuestion, asked: Sequence[Scorable]) -> pd.DataFrame:
    """Of each arm (row) and replicate (column), in nats; the mean over all ways it was `asked`. `scores`: `COLUMNS`."""
    found = []
    for one in asked:
        mine = scores[(scores["key"] == one.key) & scores["option"].isin(one.options)]
        wide = mine.pivot(index=["arm", "replicate"], columns="option", values="logprob")
        found.append(wide.apply(lambda row: question.odds_after(row.to_dict()).logit, axis=1).unstack("replicate"))
    mean: pd.DataFrame = sum(found[1:], start=found[0]) / len(found)
    return mean
