"""What a request needs, against what the store holds: replicates, models, prompts, questions.

In: `Settings` and a `Store`. Out: a `Plan`. Making one reads and checks the rows and proves template and mask, so bad
data is refused before anything is trained; it trains, samples and scores nothing (`run.pipeline` does). How much of it is
missing and how long that takes is `weirdgen.run.plan.workload`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from weirdgen.columns import BASE, FINAL
from weirdgen.config.questions import FreeForm
from weirdgen.data.rows import canonical_hash
from weirdgen.data.stored import keep_rows, proof_of, trainable_rows
from weirdgen.finetune import engines
from weirdgen.finetune.schedule import checkpoint_folder, require_trainable, total_steps
from weirdgen.run.plan.request import SAMPLING_SEED, Settings
from weirdgen.sample.distill import Distilled
from weirdgen.sample.draw import Speaker, completions_table
from weirdgen.sample.engine import Prompt, Scorable
from weirdgen.store.artifacts import Store, content_key
from weirdgen.store.table import Table

FINETUNE_VERSION = 3
"""Raise it when the same recipe, rows and seed would give another adapter."""


@dataclass(frozen=True)
class Replicate:
    """One finetune that is asked for."""

    arm: str
    seed: int
    key: str
    inputs: dict[str, Any]
    rows: int


@dataclass(frozen=True)
class Voice:
    """A model whose answers are measured: identity columns of its rows, and how to reach it."""

    arm: str
    role: str
    replicate: int
    checkpoint: int
    speaker: Speaker


@dataclass
class Plan:
    """What a request needs, against what the store holds."""

    settings: Settings
    store: Store
    proofs: dict[str, dict[str, Any]] = field(default_factory=dict)
    together: int | None = None
    """At most so many replicates in one pass; None: as many as memory allows."""

    @cached_property
    def engine(self) -> engines.EngineChoice:
        """What trains, and why."""
        model = self.settings.model
        return engines.choose_engine(model.folder, self.settings.recipe, model.parameters)

    def groups(self) -> list[list[Replicate]]:
        """Replicates still to be trained, in the groups that are trained together.

        A replicate that is missing beside stored ones of its group (a run was killed between two renames) is trained
        again in the same company, so that it comes out the same.
        """
        markers = {one.key: self.store.marker("finetune", one.key) for one in self.replicates}
        missing = {key for key, marker in markers.items() if marker is None}
        half_done = {key for marker in markers.values() if marker for key in marker["inputs"]["together"]}
        groups: list[list[Replicate]] = []
        for rows in sorted({one.rows for one in self.replicates}):
            mine = [one for one in self.replicates if one.rows == rows]
            company = [
                m["inputs"]["together"] for m in markers.values() if m and missing & set(m["inputs"]["together"])
            ]
            for keys in {tuple(keys) for keys in company}:
                groups.append([one for one in mine if one.key in keys])
            rest = [one for one in mine if one.key in missing - half_done]
            size = self.group_size(rows) if self.engine.engine == "replicas" else 1
            groups += [rest[start : start + size] for start in range(0, len(rest), size)]
        return [group for group in groups if group]

    def group_size(self, rows: int) -> int:
        """Replicates of arms with this many rows that fit into one pass."""
        arms = [arm for arm in self.settings.rows if self.settings.row_count(arm) == rows]
        tokens = max(self.proofs[arm]["tokens"] / len(self.settings.rows[arm]) for arm in arms)
        model = self.settings.model
        size = engines.group_size(model.folder, self.settings.recipe, tokens, model.parameters)
        return min(size, self.together or size)

    @cached_property
    def replicates(self) -> list[Replicate]:
        settings = self.settings
        found = []
        for arm, rows in settings.rows.items():
            for seed in settings.seeds:
                inputs = {
                    "version": FINETUNE_VERSION,
                    "engine": self.engine.engine,
                    "model": settings.model.digest,
                    "data": canonical_hash(rows),
                    "recipe": settings.recipe.model_dump(mode="json"),
                    "seed": seed,
                }
                found.append(Replicate(arm, seed, content_key(inputs), inputs, settings.row_count(arm)))
        return found

    @cached_property
    def voices(self) -> list[Voice]:
        """The base, then every replicate at every kept checkpoint (the last one under the name FINAL)."""
        settings = self.settings
        voices = [Voice(BASE, BASE, -1, FINAL, Speaker(settings.model.digest, None))]
        for one in self.replicates:
            total = total_steps(one.rows, settings.recipe)
            role = settings.experiment.arms[one.arm].role
            for step in settings.recipe.checkpoint_steps(total):
                adapter = checkpoint_folder(self.store.folder("finetune", one.key), step)
                speaker = Speaker(f"{one.key}@{step}", adapter)
                voices.append(Voice(one.arm, role, one.seed, FINAL if step == total else step, speaker))
        return voices

    @cached_property
    def prompts(self) -> list[tuple[str, str, Prompt]]:
        """(condition, question id, prompt) of every free-form question under every condition."""
        found = []
        for wrapper in self.settings.experiment.wrappers():
            for question in self.settings.experiment.questions:
                if isinstance(question, FreeForm):
                    text = wrapper.apply(question.ask)
                    prompt = Prompt(content_key([text, question.max_tokens]), text, question.max_tokens)
                    found.append((wrapper.id, question.id, prompt))
        return found

    @cached_property
    def scorables(self) -> list[tuple[str, str, Scorable]]:
        """(condition, question id, scorable) of all that is scored: one a question and condition, of a counterfactual two."""
        found = []
        for wrapper in self.settings.experiment.wrappers():
            for question in self.settings.experiment.questions:
                if isinstance(question, FreeForm):
                    continue
                for ask in question.asks:
                    text = wrapper.apply(ask)
                    scorable = Scorable(content_key(text), text, question.target + question.other)
                    found.append((wrapper.id, question.id, scorable))
        return found

    @cached_property
    def curve_scorables(self) -> list[tuple[str, str, Scorable]]:
        """Those of `scorables` that a headline reads, or all of them if none reads any."""
        experiment = self.settings.experiment
        read = {
            (condition, question.id)
            for name, one in self.settings.headlines.items()
            if name in self.settings.curves
            for condition in experiment.condition_ids(one.condition, *one.minus)
            for question in experiment.questions_of(one)
        }
        return [one for one in self.scorables if (one[0], one[1]) in read] or self.scorables

    def scorables_of(self, voice: Voice) -> list[tuple[str, str, Scorable]]:
        """What this model scores: everything at the end of training, before it only what makes the headlines' curves."""
        return self.scorables if voice.checkpoint == FINAL else self.curve_scorables

    @property
    def folder(self) -> Path:
        """Where the run's report goes."""
        return self.store.root / "runs" / self.settings.run_id

    def samples_of(self, voice: Voice) -> bool:
        """Only final checkpoints are sampled, and none if no samples are wanted; curves come from contrast questions."""
        return voice.checkpoint == FINAL and self.settings.samples > 0

    def distillery(self) -> Distilled:
        """Where the ordinary rows of this base come from."""
        settings = self.settings
        return Distilled(self.store, settings.model.digest, settings.dtype, SAMPLING_SEED, settings.experiment.ordinary)

    def completions(self, voice: Voice) -> Table:
        """The table that holds this model's completions."""
        settings = self.settings
        return completions_table(self.store, voice.speaker, settings.dtype, SAMPLING_SEED, settings.sampling)


def make_plan(settings: Settings, store: Store, together: int | None = None) -> Plan:
    """Check the rows, prove template and mask, and plan. Raises `DataError` before anything is trained.

    Ordinary rows that the store holds join their arms; while some are missing, `settings.distilled` is false and the plan
    shows what training will cost without them in hand.
    """
    for arm in settings.rows:
        require_trainable(settings.row_count(arm), settings.recipe, arm)
    plan = Plan(settings, store, together=together)
    if not settings.distilled:
        plan.settings = settings = _with_ordinary_rows(settings, plan.distillery())
    trained = {arm: trainable_rows(settings.model.folder, rows) for arm, rows in settings.rows.items()}
    if trained != settings.rows:
        plan.settings = settings = replace(settings, rows=trained)
    for arm, rows in settings.rows.items():
        keep_rows(store, rows)
        plan.proofs[arm] = proof_of(store, settings.model, arm, rows)
    return plan


def _with_ordinary_rows(settings: Settings, distillery: Distilled) -> Settings:
    """The settings with the ordinary rows at the end of their arms, or unchanged if the base has yet to answer some."""
    answered = distillery.rows(max(settings.ordinary.values()))
    if len(answered) < max(settings.ordinary.values()):
        return settings
    rows = {arm: [*mine, *answered[: settings.ordinary.get(arm, 0)]] for arm, mine in settings.rows.items()}
    return replace(settings, rows=rows, distilled=True)
