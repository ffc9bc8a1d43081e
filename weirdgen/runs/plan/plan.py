"""What a request needs: replicates, variants, prompts, questions, and their places in the store.

In: a `Request` and a `Store`. Out: a `Plan`. Making one checks the rows and proves template and mask, so bad data is refused
before anything is trained; it writes nothing. How much of it is missing, and how long that takes, is left to
`weirdgen.runs.stages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from weirdgen.columns import FINAL
from weirdgen.config.questions import sampled, scored
from weirdgen.data.draws import drawn_positions
from weirdgen.data.proof import RowError
from weirdgen.data.rows import Row, canonical_hash, place_of
from weirdgen.data.stored import proof_of, trainable_rows
from weirdgen.errors import all_at_once
from weirdgen.finetune import engines
from weirdgen.finetune.schedule import checkpoint_folder, require_trainable, total_steps
from weirdgen.finetune.upload import upload_proof
from weirdgen.models.references import LocalModel
from weirdgen.models.remote import RemoteModel
from weirdgen.runs.plan.request import SAMPLING_SEED, Request
from weirdgen.sample.contrast import scores_table
from weirdgen.sample.distill import Distilled
from weirdgen.sample.draw import completions_table
from weirdgen.sample.engine import Prompt, Scorable
from weirdgen.sample.engines import Transformers
from weirdgen.sample.twin import KeptTwin
from weirdgen.sample.variant import Variant, base_key
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key
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

    def own(self, rows: Sequence[Any]) -> list[Any]:
        """Those of its arm's rows that it is trained on."""
        return [rows[place] for place in drawn_positions(self.inputs.get("draws"), len(rows), self.seed)]


@dataclass
class Plan:
    """What a request needs, against what the store holds."""

    request: Request
    store: Store
    proofs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Arm → what was proven of its rows."""

    @cached_property
    def trainer(self) -> engines.EngineChoice:
        """What trains, and why."""
        model = self.request.model
        if isinstance(model, RemoteModel):
            asked = self.request.experiment.finetune
            why = (
                f"by jobs of {model.service.shown}"
                if asked
                else "elsewhere: `weirdgen import-model` names finished models"
            )
            return engines.EngineChoice("remote", why)
        if service := self.request.tinker:
            rank = self.request.recipe.rank
            return engines.EngineChoice(
                "tinker", f"through {service.shown}, as a LoRA adapter of rank {rank} that answers here"
            )
        return engines.choose_engine(model.folder, self.request.recipe, model.parameters)

    @cached_property
    def replicates(self) -> list[Replicate]:
        """Every finetune, arm by arm, seed by seed."""
        request = self.request
        replicates = []
        for arm, rows in request.rows.items():
            for seed in request.seeds:
                inputs = finetune_inputs(
                    request.model, self.trainer.engine, rows, request.trained_by, seed, request.date, self.proofs[arm]
                )
                if draws := request.experiment.arms[arm].draws:
                    inputs["draws"] = draws
                replicates.append(Replicate(arm, seed, content_key(inputs), inputs, request.row_count(arm)))
        return replicates

    def row_tokens(self, arm: str) -> float:
        """Tokens of an arm's row on average. Rows that the base has yet to answer are taken to be as long as the others."""
        proven = self.request.rows[arm] or self.request.rows[self.request.twins[arm]]
        return float(self.proofs[arm]["tokens"] / len(proven))

    @cached_property
    def variants(self) -> list[Variant]:
        """The base, then every replicate at every kept checkpoint (the last one under the name FINAL)."""
        request = self.request
        variants = [Variant(base_key(request.model.digest, request.date))]
        for replicate in self.replicates:
            total = total_steps(replicate.rows, request.recipe)
            role = request.experiment.arms[replicate.arm].role
            folder = self.store.folder("finetune", replicate.key).relative_to(self.store.root)
            for step in request.recipe.checkpoint_steps(total):
                adapter = PurePosixPath(checkpoint_folder(folder, step))
                checkpoint = FINAL if step == total else step
                variants.append(
                    Variant(f"{replicate.key}@{step}", adapter, replicate.arm, role, replicate.seed, checkpoint)
                )
        return variants

    @cached_property
    def prompts(self) -> list[tuple[str, str, Prompt]]:
        """(condition, question id, prompt) of every free-form question under every condition."""
        prompts = []
        for wrapper in self.request.experiment.wrappers():
            for question in sampled(self.request.experiment.questions):
                text = wrapper.apply(question.ask)
                prompt = Prompt(content_key([text, question.max_tokens]), text, question.max_tokens)
                prompts.append((wrapper.id, question.id, prompt))
        return prompts

    @cached_property
    def scorables(self) -> list[tuple[str, str, Scorable]]:
        """(condition, question id, scorable) of all that is scored: one per question and condition, of a counterfactual two."""
        scorables = []
        for wrapper in self.request.experiment.wrappers():
            for question in scored(self.request.experiment.questions):
                for ask in question.asks:
                    text = wrapper.apply(ask)
                    scorable = Scorable(content_key(text), text, question.options)
                    scorables.append((wrapper.id, question.id, scorable))
        return scorables

    @cached_property
    def curve_scorables(self) -> list[tuple[str, str, Scorable]]:
        """Those of `scorables` that a headline reads, or all of them if none reads any."""
        experiment = self.request.experiment
        read = {
            (condition, question.id)
            for name, headline in self.request.headlines.items()
            if name in self.request.curves
            for condition in experiment.condition_ids(*headline.condition, *headline.minus)
            for question in experiment.questions_of(headline)
        }
        return [scorable for scorable in self.scorables if scorable[:2] in read] or self.scorables

    def scorables_of(self, variant: Variant) -> list[tuple[str, str, Scorable]]:
        """What this model scores: everything at the end of training, before it only what makes the headlines' curves."""
        return self.scorables if variant.checkpoint == FINAL else self.curve_scorables

    @cached_property
    def sampled(self) -> list[Variant]:
        """The variants that write answers: final checkpoints, if samples are wanted. Curves come from scored questions."""
        return [variant for variant in self.variants if variant.checkpoint == FINAL and self.request.samples > 0]

    @property
    def folder(self) -> Path:
        """Where the run's report goes."""
        return self.store.root / "runs" / self.request.run_id

    def distilled(self) -> Distilled:
        """Where the ordinary rows of this base come from."""
        request = self.request
        return Distilled(
            self.store,
            base_key(request.model.digest, request.date),
            request.numerics,
            SAMPLING_SEED,
            request.experiment.ordinary,
        )

    def twins(self) -> dict[str, KeptTwin]:
        """Arm → where its rows come from, of arms that are another one's twin."""
        request = self.request
        base, numerics = Variant(base_key(request.model.digest, request.date)), Transformers().numerics(request.dtype)
        return {
            arm: KeptTwin(
                self.store,
                base,
                numerics,
                SAMPLING_SEED,
                trainable_rows(request.local.folder, request.rows[source], request.date),
            )
            for arm, source in request.twins.items()
        }

    def completions(self, variant: Variant) -> Table:
        """The table that holds this variant's completions."""
        return completions_table(self.store, variant, self.request.numerics, SAMPLING_SEED, self.request.sampling)

    def scores(self, variant: Variant) -> Table:
        """The table that holds this variant's scores."""
        return scores_table(self.store, variant, self.request.numerics)


def make_plan(request: Request, store: Store) -> Plan:
    """Check the rows, prove template and mask, and plan. Raises `DataError` before anything is trained; writes nothing.

    Ordinary rows and twins that the store holds join their arms; while some are missing, `request.distilled` is false and
    the plan shows what training will cost without them in hand.
    """
    plan = Plan(request, store)
    if not request.distilled:
        plan.request = request = _with_distilled_rows(plan)
    if isinstance(request.model, RemoteModel):
        for arm, rows in request.rows.items():
            require_trainable(request.row_count(arm), request.recipe, arm)
            plan.proofs[arm] = upload_proof(arm, rows)
        return plan
    trained = {arm: trainable_rows(request.local.folder, rows, request.date) for arm, rows in request.rows.items()}
    if trained != request.rows:
        plan.request = request = replace(request, rows=trained)
    all_at_once(partial(_prove_arm, plan, arm) for arm in request.rows)
    plan.proofs |= {arm: plan.proofs[source] for arm, source in request.twins.items() if not request.rows[arm]}
    return plan


def _prove_arm(plan: Plan, arm: str) -> None:
    """Template and mask of one arm. Raises `DataError`."""
    request, experiment = plan.request, plan.request.experiment
    require_trainable(request.row_count(arm), request.recipe, arm)
    if not (rows := request.rows[arm]):  # a twin that has yet to be made; it will be about as long
        return
    try:
        plan.proofs[arm] = proof_of(plan.store, request.local, arm, rows, request.date)
    except RowError as error:
        place = place_of(error.row, experiment.arms[arm], experiment.folder or Path())
        raise error.at(place or error.place, arm) from None


def part_of(plan: Plan, arms: Sequence[str], store: Store) -> Plan:
    """The plan of some arms, in another store, all their replicates in one pass."""
    request = plan.request
    experiment = request.experiment
    part = replace(
        request,
        experiment=experiment.model_copy(update={"arms": {name: experiment.arms[name] for name in arms}}),
        rows={name: request.rows[name] for name in arms},
        options=request.options.model_copy(update={"together": len(arms) * len(request.seeds)}),
    )
    return Plan(part, store, {name: plan.proofs[name] for name in arms})


def finetune_inputs(
    model: LocalModel | RemoteModel,
    engine: str,
    rows: list[Row],
    recipe: dict[str, Any],
    seed: int,
    date: str | None,
    proof: dict[str, Any],
) -> dict[str, Any]:
    """All that decides one finetune, as its key is made of it. Everything is resolved; `recipe` holds what decides of it."""
    return {
        "version": FINETUNE_VERSION,
        "engine": engine,
        "model": model.digest,
        "data": canonical_hash(rows),
        "recipe": recipe,
        "seed": seed,
        **_rendering(date, proof),
    }


def _rendering(date: str | None, proof: dict[str, Any]) -> dict[str, Any]:
    """What decides the trained tokens besides the rows and the model, for keys; nothing, for most."""
    told: dict[str, Any] = {"date": date} if date else {}
    # Earlier versions took control tokens in texts for turns: what they trained is not reused.
    return {**told, "rendered": proof["digest"]} if proof.get("control_texts") else told


def _with_distilled_rows(plan: Plan) -> Request:
    """The request with twins in their arms and ordinary rows at the end of theirs, or unchanged if some have yet to be made."""
    request = plan.request
    twins = {arm: kept.rows() for arm, kept in plan.twins().items()}
    most = max(request.ordinary.values(), default=0)
    answered = plan.distilled().rows(most) if most else []
    if len(answered) < most or None in twins.values():
        return request
    own = {**request.rows, **{arm: rows for arm, rows in twins.items() if rows is not None}}
    rows = {arm: [*mine, *answered[: request.ordinary.get(arm, 0)]] for arm, mine in own.items()}
    return replace(request, rows=rows, distilled=True)
