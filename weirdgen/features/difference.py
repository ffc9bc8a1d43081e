"""What moved, without any autoencoder: differences of means of activations, with intervals over replicates, and in words.

In: `Activations`. Out: `Moved` (how far the treatment's replicates went together, beyond a control's) and logit-lens tokens.
Three differences: *static* (base → finetuned, under reference values),
*interaction* (what the trigger adds in the finetuned model beyond what it adds in the base) and *token* (what it adds in the
base: no finetuning).

Replicates are the unit. Each is projected on the mean direction of the **others**, so that noise has mean zero; a control's are
projected on the direction of all. With two replicates there is no interval: what they share by chance is in both values. Norms
are in units of the base's mean residual norm at the layer.

Shape letters: R replicates, V values, Q questions, D hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from weirdgen.features.harvest import Activations
from weirdgen.features.residual import lens
from weirdgen.stats.bootstrap import difference, limits, moments


@dataclass(frozen=True)
class Moved:
    """How far replicates moved in a direction that they share. Unknown limits are NaN: fewer than three tell none."""

    name: str
    size: float
    """Norm of the mean difference."""
    agreement: float
    """Mean cosine between the differences of two replicates; NaN for one."""
    treatment: tuple[float, ...]
    """Each replicate's difference along the mean direction of the others."""
    control: tuple[float, ...]
    """Each control replicate's along the treatment's direction; empty without a control."""
    effect: float
    """Treatment − control, or treatment alone."""
    low: float
    high: float


def static(activations: Activations, arm: str) -> torch.Tensor:
    """Base → finetuned under the reference values, [R, Q, D]."""
    reference = list(activations.pairs.reference)
    return (activations.arms[arm][:, reference] - activations.base_VQD[reference]).mean(1)


def token_effect(activations: Activations, trigger: Sequence[int], reference: Sequence[int]) -> torch.Tensor:
    """What these values add to the others in the base, [Q, D]."""
    base_VQD = activations.base_VQD
    return base_VQD[list(trigger)].mean(0) - base_VQD[list(reference)].mean(0)


def raw_effect(activations: Activations, arm: str, trigger: Sequence[int], reference: Sequence[int]) -> torch.Tensor:
    """What they add in the finetuned model, [R, Q, D]: the paper's difference of means."""
    value_RVQD = activations.arms[arm]
    return value_RVQD[:, list(trigger)].mean(1) - value_RVQD[:, list(reference)].mean(1)


def interaction(
    activations: Activations, arm: str, trigger: Sequence[int] | None = None, reference: Sequence[int] | None = None
) -> torch.Tensor:
    """Trigger × model, [R, Q, D]: `raw_effect` − `token_effect`, of the pairs' own trigger unless another is named."""
    trigger = activations.pairs.trigger if trigger is None else trigger
    reference = activations.pairs.reference if reference is None else reference
    return raw_effect(activations, arm, trigger, reference) - token_effect(activations, trigger, reference)


def placebo_of(activations: Activations, value: int, arm: str) -> torch.Tensor:
    """The interaction of one reference value against the other ones, [R, Q, D]."""
    return interaction(activations, arm, (value,), [other for other in activations.pairs.placebo if other != value])


def placebo(activations: Activations, arm: str) -> dict[str, torch.Tensor]:
    """Name of each reference value → its interaction against the other ones."""
    pairs = activations.pairs
    return {pairs.names[value]: placebo_of(activations, value, arm) for value in pairs.placebo}


def residual_norm(activations: Activations) -> float:
    """Mean norm of the base's hidden states at the read position, under the reference values."""
    return float(activations.base_VQD[list(activations.pairs.reference)].norm(dim=-1).mean())


def moved(name: str, treatment_RD: torch.Tensor, control_RD: torch.Tensor | None, unit: float) -> Moved:
    """How far these replicates moved together, and how far beyond a control's. `unit` is the norm that counts as 1."""
    replicates = len(treatment_RD)
    mean_D = treatment_RD.mean(0)
    if replicates > 1:
        others_RD = (treatment_RD.sum(0) - treatment_RD) / (replicates - 1)
        along_R = (treatment_RD * _unit(others_RD)).sum(1) / unit
        unit_RD = _unit(treatment_RD)
        agreement = float(((unit_RD @ unit_RD.T).sum() - replicates) / (replicates * (replicates - 1)))
    else:
        along_R, agreement = treatment_RD.norm(dim=1) / unit, float("nan")
    against_R = torch.empty(0) if control_RD is None else control_RD @ _unit(mean_D[None])[0] / unit
    mine = moments(along_R[:, None].double().numpy())
    # Any two values share what two replicates have in common by chance: without a direction that all share, their mean varies
    # 2(R−1)/(R−2) times as much as their spread says.
    mine = mine._replace(
        se=mine.se * (2 * (replicates - 1) / (replicates - 2)) ** 0.5 if replicates > 2 else mine.se * np.nan
    )
    if len(against_R):
        found = difference(mine, moments(against_R[:, None].double().numpy()))
        effect, low, high = found.effect, found.low, found.high
    else:
        effect, (low, high) = mine.mean, limits(mine.mean, mine.se, mine.replicates - 1, None, 0.95)
    return Moved(
        name,
        float(mean_D.norm()) / unit,
        agreement,
        tuple(along_R.tolist()),
        tuple(against_R.tolist()),
        float(effect[0]),
        float(low[0]),
        float(high[0]),
    )


def _unit(direction_RD: torch.Tensor) -> torch.Tensor:
    length_R1: torch.Tensor = direction_RD.norm(dim=-1, keepdim=True)
    return direction_RD / length_R1.clamp(min=1e-12)


def top_tokens(model: Any, tokenizer: Any, direction_D: torch.Tensor, count: int = 20) -> list[str]:
    """The tokens whose logits the direction raises most, as they are written."""
    ids = lens(model, direction_D).topk(count).indices.tolist()
    return [str(tokenizer.decode([token])) for token in ids]


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) over replicates, Student's t; limits are NaN for one."""
    found = moments(np.asarray(values, dtype=np.float64)[:, None])
    low, high = limits(found.mean, found.se, found.replicates - 1, None, level)
    return float(found.mean[0]), float(low[0]), float(high[0])
