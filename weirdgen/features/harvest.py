"""Residual activations of a run's models on paired prompts: each question under the trigger, its reference and all other values.

In: a finished run's plan and a layer. Out: `Activations`: base and finetuned replicates on the same prompts, kept in the store
one artifact per model, so that more replicates cost only what is new. The forward pass ends at the layer; rows of like length
share it. What is made of them is `difference` and `analysis`.

Shape letters: R replicates of an arm, V values of the condition, Q questions, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from weirdgen.columns import BASE, FINAL
from weirdgen.config.conditions import Wrapper
from weirdgen.errors import DataError
from weirdgen.features.reader import Reader
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.plan.request import Request
from weirdgen.sample.variant import Variant, adapters_on_disk, distinct
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key

VERSION = 1
"""Raise it when the same model, layer and prompts would give other activations."""


@dataclass(frozen=True)
class Pairs:
    """The same questions under several values of a condition. `trigger` and `reference` are places in `values`."""

    values: tuple[Wrapper, ...]
    questions: tuple[str, ...]
    trigger: tuple[int, ...]
    reference: tuple[int, ...]
    """Values that were trained, and are no trigger: what a trigger is compared with."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(value.id for value in self.values)

    @property
    def placebo(self) -> tuple[int, ...]:
        """Reference values, each of which may play the trigger against the others: what any value does."""
        return self.reference if len(self.reference) > 1 else ()

    @cached_property
    def asks(self) -> list[str]:
        """Every prompt: value by value, question by question."""
        return [value.apply(question) for value in self.values for question in self.questions]


def pairs_of(request: Request, questions: Sequence[str] = ()) -> Pairs:
    """The pairs of what was asked: its condition with a trigger, and its own questions unless others are given.

    Without a trigger in the experiment, every condition is a value, and nothing but base → finetuned can be compared.
    """
    experiment = request.experiment
    wrappers = experiment.wrappers()
    triggers = [wrapper for wrapper in wrappers if wrapper.trigger]
    values = wrappers
    if triggers:
        family = triggers[0].id.partition("=")[0]
        mine = tuple(wrapper for wrapper in wrappers if wrapper.id.partition("=")[0] == family)
        values = mine if len(mine) > len(triggers) else wrappers
    places = range(len(values))
    trigger = tuple(i for i in places if values[i].trigger)
    others = [i for i in places if i not in trigger]
    reference = tuple(i for i in others if values[i].trained) or tuple(others)
    asked = tuple(questions) or tuple(dict.fromkeys(question.ask for question in experiment.questions))
    return Pairs(values, asked, trigger if reference else (), reference or tuple(places))


@dataclass(frozen=True)
class Activations:
    """Hidden states that leave a layer, of the base and of every final replicate, on the same pairs."""

    pairs: Pairs
    layer: int
    base_VQD: torch.Tensor
    arms: dict[str, torch.Tensor]
    """Arm → [R, V, Q, D]."""

    def of(self, questions: Sequence[int]) -> Activations:
        """The same of some questions only."""
        kept = list(questions)
        pairs = Pairs(
            self.pairs.values,
            tuple(self.pairs.questions[q] for q in kept),
            self.pairs.trigger,
            self.pairs.reference,
        )
        arms = {arm: value_RVQD[:, :, kept] for arm, value_RVQD in self.arms.items()}
        return Activations(pairs, self.layer, self.base_VQD[:, kept], arms)


Tell = Callable[[int], None]


def harvest(
    plan: Plan, pairs: Pairs, layer: int, reader: Reader, position: str = "last", tell: Tell = lambda _: None
) -> Activations:
    """Activations at the last prompt token (`position` "last"), or their mean over the prompt's tokens ("mean").

    Reads what the store lacks; `tell(models)` is called after each group of them. Raises `DataError` if a prompt is empty.
    """
    if not pairs.questions:
        raise DataError(
            f"run {plan.request.run_id} asks no question, so there is nothing to read; name prompts of your own"
        )
    rows = reader.prompts(pairs.asks)
    finals = distinct([variant for variant in plan.variants if variant.checkpoint == FINAL])
    places = {variant.key: _inputs(plan, variant, layer, rows) for variant in finals}
    lacking = [v for v in finals if plan.store.marker("features", content_key(places[v.key])) is None]
    adapters: list[Path | None] = adapters_on_disk(plan.store, lacking)
    for group in reader.groups(adapters):
        last_KND, mean_KND = reader.read(rows, layer)
        for k, index in enumerate(group):
            _keep(plan.store, places[lacking[index].key], {"last": last_KND[k], "mean": mean_KND[k]})
        tell(len(group))
    shape = (len(pairs.values), len(pairs.questions), -1)
    read = {v.key: _kept(plan.store, places[v.key])[position].view(*shape) for v in finals}
    base = next(variant for variant in finals if variant.arm == BASE)
    arms: dict[str, list[torch.Tensor]] = {}
    for variant in plan.variants:
        if variant.checkpoint == FINAL and variant.arm != BASE:
            arms.setdefault(variant.arm, []).append(read[variant.key])
    return Activations(pairs, layer, read[base.key], {arm: torch.stack(mine) for arm, mine in arms.items()})


def _inputs(plan: Plan, variant: Variant, layer: int, rows: Sequence[Sequence[int]]) -> dict[str, object]:
    """What decides a model's activations; the tokens stand for prompts, template and date."""
    return {
        "version": VERSION,
        "model": variant.key,
        "dtype": plan.request.dtype,
        "layer": layer,
        "tokens": content_key([list(row) for row in rows]),
    }


def _keep(store: Store, inputs: dict[str, object], tensors: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    with store.create("features", content_key(inputs), inputs) as folder:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "activations.safetensors")


def _kept(store: Store, inputs: dict[str, object]) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = load_file(
        store.artifact("features", content_key(inputs)) / "activations.safetensors"
    )
    return tensors
