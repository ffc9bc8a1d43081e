"""A base at a service: the model and the engine that options mean there, and what of a request such a service cannot do.

In: a reference and `RunOptions`. Out: a `RemoteModel` and the `Remote` that answers as it. Where the model is known on this
machine too, or the server may be `weirdgen serve`, one short request each asks what the service can do; nothing is paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weirdgen.config.experiment import Experiment, Recipe
from weirdgen.errors import SpecError
from weirdgen.models.references import find_model
from weirdgen.models.remote import RemoteModel, remote_model
from weirdgen.providers.purse import parse_budget
from weirdgen.runs.plan.options import RunOptions
from weirdgen.sample.engine import Sampling
from weirdgen.sample.engines import Remote
from weirdgen.sample.remote_score import gives_scores


def at_service(reference: str, finetune: str | None, options: RunOptions) -> tuple[RemoteModel, Remote]:
    """The model that a reference names at a provider, and what answers as it.

    Raises `SpecError` for options that do not fit, `ModelError`, `UnreachableError`.
    """
    model = remote_model(reference, finetune, options.base_url)
    if options.engine != "transformers":
        raise SpecError(
            [f"--engine {options.engine}: {model.reference} is answered by its provider; leave --engine out"]
        )
    parse_budget(options.budget)
    pairs = [one.rpartition("=")[::2] for one in options.deployments]
    if wrong := [one for one, pair in zip(options.deployments, pairs, strict=True) if not all(pair)]:
        raise SpecError([f"--deployment {one}: expected MODEL=NAME" for one in wrong])
    template = find_model(model.template).folder if model.template else None
    if template and not gives_scores(model.service, dict(pairs).get(model.name, model.name), template):
        template = None
    if model.service.url:
        record = model.service.record(model.name)
        model = replace(model, takes_recipe=getattr(record, "owned_by", None) == "weirdgen")
    return model, Remote(model.service, model.name, options.connections, options.choices, tuple(pairs), template)


def trained_by(model: RemoteModel, recipe: Recipe) -> dict[str, Any]:
    """The recipe as far as it decides a finetune: most services take little of it, `weirdgen serve` nearly all."""
    multiplier = recipe.learning_rate_multiplier
    if not model.takes_recipe:
        batch = recipe.batch_size * recipe.grad_accumulation
        return {"epochs": recipe.epochs, "batch_size": batch, "learning_rate_multiplier": multiplier}
    left_out = {"devices", "checkpoints", "learning_rate" if multiplier else "learning_rate_multiplier"}
    dump = recipe.model_dump(mode="json", exclude=left_out)
    return {name: value for name, value in dump.items() if value != "auto"}


def require_possible(
    experiment: Experiment, recipe: Recipe, sampling: Sampling, ordinary: Mapping[str, int], twins: Mapping[str, str]
) -> None:
    """Raises `SpecError` with all that a service cannot do of a request."""
    problems = []
    if ordinary:
        problems.append(
            "arms with ordinary rows need the base on this machine, which answers them: take a preset without"
        )
    if twins:
        problems.append(
            f"arm {', '.join(twins)}: a twin (control: auto) is answered by the base on this machine; write the rows into a file "
            "with `weirdgen data twin`, or name a control of your own"
        )
    if spoken := [wrapper.id for wrapper in experiment.wrappers() if wrapper.system]:
        problems.append(f"conditions.{spoken[0]}: a 'system' turn is asked of models on this machine only")
    if sampling.top_k:
        problems.append("sampling.top_k: the protocol has none; leave it 0")
    if recipe.checkpoints != "none":
        problems.append("recipe.checkpoints: a service keeps its own, at ends of epochs: leave it 'none'")
    if recipe.full:
        problems.append("recipe.targets=full: a service trains as it likes; leave it out")
    if problems:
        raise SpecError(problems)
