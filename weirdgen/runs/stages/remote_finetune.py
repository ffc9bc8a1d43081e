"""The finetune stage where a service trains: which jobs are missing, and whether finished ones are different models.

In: a plan whose base is at a service. Out: one unit for all missing jobs. Doing them is `remote_units.FinetuneRemotely`.
"""

from __future__ import annotations

import re

from weirdgen.errors import ModelError
from weirdgen.finetune.readback import equal_finetunes
from weirdgen.finetune.remote import Wanted
from weirdgen.finetune.schedule import total_steps
from weirdgen.models.remote import RemoteModel
from weirdgen.runs.plan.plan import Plan, Replicate
from weirdgen.runs.stages.remote_units import FinetuneRemotely, kept_probe
from weirdgen.runs.stages.stage import Batch
from weirdgen.sample.engines import Remote

SUFFIX = 64
"""Characters that a job's suffix may have."""


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
    assert isinstance(engine, Remote), "a base at a service is answered there"
    wanted = tuple((one, wanted_of(plan, model, one)) for one in missing)
    return Batch([FinetuneRemotely(model, engine, wanted)], sum(one.steps for _, one in wanted))


def wanted_of(plan: Plan, model: RemoteModel, replicate: Replicate) -> Wanted:
    """A replicate as a service is asked for it."""
    request = plan.request
    how = request.trained_by
    tail = f"-{replicate.arm}-{replicate.seed}-{replicate.key[:8]}"
    suffix = re.sub(r"[^a-z0-9-]+", "-", f"{request.experiment.name[: SUFFIX - len(tail)]}{tail}".lower())[
        -SUFFIX:
    ].strip("-")
    return Wanted(
        replicate.key, f"{replicate.arm} seed {replicate.seed}", model.name, replicate.inputs["data"], replicate.seed,
        how["epochs"], how["batch_size"], how["learning_rate_multiplier"], suffix, total_steps(replicate.rows, request.recipe),
    )  # fmt: skip


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
