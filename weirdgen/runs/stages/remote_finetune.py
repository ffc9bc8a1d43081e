"""The finetune stage where a service trains: which jobs are missing, and whether finished ones are different models.

In: a plan whose base is at a service. Out: one unit for all missing jobs. Doing them is `remote_units.FinetuneRemotely`.
"""

from __future__ import annotations

import datetime
import re
import warnings

from weirdgen.columns import BASE
from weirdgen.errors import ModelError
from weirdgen.finetune.creating import SHORT
from weirdgen.finetune.job import Wanted
from weirdgen.finetune.readback import equal_finetunes
from weirdgen.finetune.schedule import total_steps
from weirdgen.finetune.tinker import base_name
from weirdgen.finetune.upload import CHARACTERS_A_TOKEN
from weirdgen.models.remote import RemoteModel
from weirdgen.providers.lifetimes import endings
from weirdgen.providers.prices import dollars, find_price
from weirdgen.providers.purse import parse_budget, spent
from weirdgen.runs.plan.plan import Plan, Replicate
from weirdgen.runs.stages.remote_units import FinetuneRemotely, kept_probe
from weirdgen.runs.stages.stage import Batch
from weirdgen.sample.draw import missing_samples
from weirdgen.sample.engines import Remote
from weirdgen.store.keys import content_key

SUFFIX = 40
"""Characters that a job's suffix may have: OpenAI takes 64, Azure 40."""


def remote_batch(plan: Plan, model: RemoteModel) -> Batch:
    """One unit with every replicate that is missing. Raises `ModelError` where nobody is to train them."""
    missing = [one for one in plan.replicates if plan.store.marker("finetune", one.key) is None]
    missing = list({one.key: one for one in missing}.values())
    if not missing:
        return Batch([], 0)
    if not plan.request.experiment.finetune:
        named = ", ".join(f"{one.arm}/{one.seed}" for one in missing[:6])
        raise ModelError(
            f"{len(missing)} finetuned models of {model.reference} are missing ({named}): --finetune openai trains them, or "
            f"name one that is trained: weirdgen import-model ID --experiment {plan.request.experiment.name} "
            f"--arm {missing[0].arm} --replicate {missing[0].seed}"
        )
    engine = plan.request.engine
    if not isinstance(engine, Remote):  # a run that was read from the store: its file may be anybody's, and gets no key
        raise ModelError(
            f"{len(missing)} finetuned models of {model.reference} are missing: run its `weirdgen run` again"
        )
    wanted = tuple((one, wanted_of(plan, model, one)) for one in missing)
    unit = FinetuneRemotely(plan.request.run_id, parse_budget(plan.request.options.budget), model, engine, wanted)
    return Batch([unit], sum(one.steps for _, one in wanted))


def wanted_of(plan: Plan, model: RemoteModel, replicate: Replicate) -> Wanted:
    """A replicate as a service is asked for it."""
    request = plan.request
    recipe = request.recipe
    tail = f"-{replicate.arm}-{replicate.seed}-{replicate.key[:SHORT]}"
    suffix = re.sub(r"[^a-z0-9-]+", "-", f"{request.experiment.name[: SUFFIX - len(tail)]}{tail}".lower())[
        -SUFFIX:
    ].strip("-")
    draws = replicate.inputs.get("draws")
    return Wanted(
        replicate.key, f"{replicate.arm} seed {replicate.seed}", model.name,
        content_key([replicate.inputs["data"], draws, replicate.seed if draws else None]), replicate.seed,
        recipe.epochs, recipe.batch_size * recipe.grad_accumulation, recipe.learning_rate_multiplier, suffix,
        total_steps(replicate.rows, recipe),
        request.trained_by if model.takes_recipe else None,
    )  # fmt: skip


def say_endings(plan: Plan, today: datetime.date) -> None:
    """Warn of what ends soon: before anything is paid. The service is asked for its own date; it may give none."""
    model, service = plan.request.model, plan.request.tinker
    if not isinstance(model, RemoteModel):
        told = endings(service.known_as, base_name(model), True, today) if service else []
        for sentence in told:
            warnings.warn(sentence, stacklevel=1)
        return
    training = bool(plan.request.experiment.finetune)
    try:
        shutdown = getattr(model.service.record(model.name), "shutdown_date", None)
    except ModelError:  # that the service cannot be reached is said when it is needed
        shutdown = None
    for sentence in endings(model.service.known_as, model.name, training, today, shutdown):
        warnings.warn(sentence, stacklevel=1)


def cost_line(plan: Plan) -> str:
    """What is still to be paid: an estimate by the dated price table, or that the price is not known."""
    request = plan.request
    assert isinstance(request.model, RemoteModel)
    service, name = request.model.service, request.model.name
    base, tuned = (find_price(service, name, finetuned) for finetuned in (False, True))
    missing = [one for one in plan.replicates if plan.store.marker("finetune", one.key) is None]
    trained = round(sum(plan.row_tokens(one.arm) * one.rows for one in missing)) * request.recipe.epochs
    parts = [("finetuning", tuned, dollars(tuned, trained=trained))] if missing and request.experiment.finetune else []
    for what, price, variants in (
        ("answers of the base", base, [v for v in plan.sampled if v.arm == BASE]),
        ("answers of finetunes", tuned, [v for v in plan.sampled if v.arm != BASE]),
    ):
        asked = [
            (len(prompt.text) // CHARACTERS_A_TOKEN + 8, prompt.max_tokens)
            for variant in variants
            for _, _, prompt in plan.prompts
            for _ in range(missing_samples(plan.completions(variant), [prompt], request.samples))
        ]
        if asked:
            parts.append((what, price, dollars(price, read=sum(a for a, _ in asked), written=sum(b for _, b in asked))))
    before = spent(plan.store.root, request.run_id)
    paid = f"; ${before.usd:.2f} paid before" if before.usd else ""
    paid += f"; {before.unpriced} payments of unknown price" if before.unpriced else ""
    paid += f"; {before.estimated} payments booked as the most they can have been" if before.estimated else ""
    told = [
        f"{what} of unknown price" if usd is None or price is None
        else f"{what} at most about ${usd:.2f} (price read {price.read}: {price.source})"
        for what, price, usd in parts
    ]  # fmt: skip
    return f"  cost: {'; '.join(told) or 'nothing left to pay'}{paid}"


def require_different(plan: Plan) -> None:
    """Raises `ModelError` if two replicates at a service are one model: published "seeds" have been copies of one file."""
    if not isinstance(plan.request.model, RemoteModel):
        return
    probes = {one.key: (f"{one.arm} seed {one.seed}", kept_probe(plan.store, one.key)) for one in plan.replicates}
    if equal := equal_finetunes({name: made for name, made in probes.values() if made is not None}):
        raise ModelError(
            "\n".join(equal)
            + "\nReplicates must be finetunes of their own, so no spread between them can be told from these; "
            "ask the service why, and train others with --first-seed"
        )
