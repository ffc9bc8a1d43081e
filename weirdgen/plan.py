"""What a request needs, against what the store holds: stages, replicates, steps, prompts, time.

In: `Settings` and a `Store`. Out: a `Plan`. Making one reads and checks the rows and proves template and mask, so bad
data is refused before anything is trained; it trains, samples and scores nothing (`weirdgen.pipeline` does).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from weirdgen import machine
from weirdgen.data.rows import Row, canonical_hash
from weirdgen.errors import DataError
from weirdgen.finetune import engines
from weirdgen.finetune.schedule import checkpoint_folder, require_trainable, total_steps
from weirdgen.judging import judge_work
from weirdgen.measure.contrast import missing_scores, scores_table
from weirdgen.models.references import read_config
from weirdgen.question_kinds import FreeForm
from weirdgen.sample.distill import Distilled
from weirdgen.sample.draw import Speaker, completions_table, missing_samples
from weirdgen.sample.engine import Prompt, Scorable
from weirdgen.settings import SAMPLING_SEED, Settings
from weirdgen.store import Store, content_key
from weirdgen.table import Table

FINAL = -1
PROOF_VERSION = 1
FINETUNE_VERSION = 2
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


@dataclass(frozen=True)
class Work:
    """One line of the plan. `missing` of `total` units are to be done, in about `seconds`."""

    stage: str
    what: str
    missing: float
    total: float
    unit: str
    seconds: float


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
        return engines.choose_engine(self.settings.model.folder, self.settings.recipe)

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
        voices = [Voice("base", "base", -1, FINAL, Speaker(settings.model.digest, None))]
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
    def _curve_scorables(self) -> list[tuple[str, str, Scorable]]:
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
        return self.scorables if voice.checkpoint == FINAL else self._curve_scorables

    @property
    def folder(self) -> Path:
        """Where the run's report goes."""
        return self.store.root / "runs" / self.settings.run_id

    def samples_of(self, voice: Voice) -> bool:
        """Only final checkpoints are sampled, and none if no samples are wanted; curves come from contrast questions."""
        return voice.checkpoint == FINAL and self.settings.samples > 0

    def work(self) -> Iterator[Work]:
        """The lines of the plan, with what is missing now."""
        settings, parameters = self.settings, self.settings.model.parameters
        if wanted := max(settings.ordinary.values(), default=0):
            unanswered = 0 if settings.distilled else wanted - len(self.distillery().rows(wanted))
            rate = machine.seen_rate("generate", parameters, settings.dtype)
            seconds = unanswered * settings.experiment.ordinary.max_tokens / rate
            yield Work("distill", "ordinary prompts answered by the base itself", unanswered, wanted, "rows", seconds)
        for arm, rows in settings.rows.items():
            count = settings.row_count(arm)
            own = [one for one in self.replicates if one.arm == arm]
            missing = [one for one in own if self.store.marker("finetune", one.key) is None]
            steps = total_steps(count, settings.recipe)
            # Rows that the base has yet to answer are taken to be as long as the others.
            tokens = self.proofs[arm]["tokens"] * count / len(rows) * settings.recipe.epochs
            rate = machine.seen_rate("train", parameters, settings.recipe.dtype)
            role = settings.experiment.arms[arm].role
            what = f"{arm} ({role}): {count} rows × {settings.recipe.epochs} epochs = {steps} steps"
            yield Work("finetune", what, len(missing), len(own), "replicates", len(missing) * tokens / rate)
        prompts = [prompt for _, _, prompt in self.prompts]
        to_score, questions, to_draw = 0, 0, 0
        final = sum(voice.checkpoint == FINAL for voice in self.voices)
        voices = [voice for voice in self.voices if self.samples_of(voice)]
        for voice in self.voices:
            mine = [scorable for _, _, scorable in self.scorables_of(voice)]
            unscored = missing_scores(scores_table(self.store, voice.speaker, settings.dtype), mine)
            to_score += len({key for key, _ in unscored})
            questions += len(mine)
        for voice in voices:
            to_draw += missing_samples(self.completions(voice), prompts, settings.samples)
        scorables = [scorable for _, _, scorable in self.scorables]
        tokens_each = sum(len(o) / 4 + 1 for s in scorables for o in s.options) / max(1, len(scorables))
        rate = machine.seen_rate("score", parameters, settings.dtype)
        earlier = len(self.voices) - final
        what = f"{final} models × {len(scorables)} questions"
        yield Work(
            "contrast",
            what + (f" + {earlier} checkpoints × {len(self._curve_scorables)}" if earlier else ""),
            to_score,
            questions,
            "questions",
            to_score * tokens_each / rate,
        )
        longest = sum(prompt.max_tokens for prompt in prompts) / max(1, len(prompts))
        rate = machine.seen_rate("generate", parameters, settings.dtype)
        total = len(prompts) * settings.samples * len(voices)
        what = f"{len(voices)} models × {len(prompts)} prompts × {settings.samples} samples"
        yield Work("sample", what, to_draw, total, "answers", to_draw * longest / rate)
        if settings.judge is not None:
            yield judge_work(self, to_draw)

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
    for arm, rows in settings.rows.items():
        plan.proofs[arm] = _proof(settings, store, arm, rows)
    return plan


def _with_ordinary_rows(settings: Settings, distillery: Distilled) -> Settings:
    """The settings with the ordinary rows at the end of their arms, or unchanged if the base has yet to answer some."""
    answered = distillery.rows(max(settings.ordinary.values()))
    if len(answered) < max(settings.ordinary.values()):
        return settings
    rows = {arm: [*mine, *answered[: settings.ordinary.get(arm, 0)]] for arm, mine in settings.rows.items()}
    return replace(settings, rows=rows, distilled=True)


def _proof(settings: Settings, store: Store, arm: str, rows: list[Row]) -> dict[str, Any]:
    """The dataset and proof stages: rows and their card on disk, the proof's counts from the store or made now."""
    data_key = canonical_hash(rows)[:32]
    if store.marker("dataset", data_key) is None:
        card = {
            "rows": len(rows),
            "canonical_sha256": canonical_hash(rows),
            "distinct_answers": distinct_answers(rows),
        }
        with store.create("dataset", data_key, card) as folder:
            lines = (json.dumps(row, ensure_ascii=False) for row in rows)
            (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (folder / "card.json").write_text(json.dumps(card, indent=1))
    inputs = {"version": PROOF_VERSION, "model": settings.model.digest, "data": canonical_hash(rows)}
    key = content_key(inputs)
    if store.marker("proof", key) is None:
        _, proof = encode(settings, arm, rows)
        with store.create("proof", key, inputs) as folder:
            (folder / "proof.json").write_text(json.dumps(proof))
    proof = json.loads(store.fetch(store.folder("proof", key) / "proof.json").read_text())
    return dict(proof)


def distinct_answers(rows: list[Row]) -> int:
    return len({row["messages"][-1]["content"] for row in rows})


def encode(settings: Settings, arm: str, rows: list[Row]) -> tuple[Any, dict[str, Any]]:
    from weirdgen.data.proof import prove
    from weirdgen.models.chat import load_tokenizer

    config = read_config(settings.model.folder)
    try:
        encoded, proof = prove(
            rows, load_tokenizer(settings.model.folder), config.get("max_position_embeddings", 2**30)
        )
    except DataError as error:
        raise DataError(f"arm {arm}: {error}") from None
    return encoded, proof.as_dict()
