"""Which features of an autoencoder moved: the paper's analysis as published, and one that subtracts what a date always does.

In: `Activations` and an `Sae`. Out: one row per feature with both.
- *paper*: the difference of means trigger − reference in the finetuned model, cosine with every decoder row, the top ten, and
  their mean projection year by year. The encoder is not used.
- *interaction*: what the trigger adds along a decoder row in the finetuned model beyond what it adds in the base; each replicate
  one value, treatment against control, with p over all features at once; and the same for every placebo value.
- *static*: the same of base → finetuned under the reference values.
What is tested is the projection on decoder rows, not the activation: an encoder is not linear, so that a shift which is the same
under every value still lifts a feature over its threshold more under one value than under another, and would pass for a gate.
Activations and firing rates stand beside it.

p is that of the largest difference under relabelled replicates (single-step maxT: Westfall & Young 1993), so that it counts every
feature looked at; with few replicates there are few relabellings, and p cannot be small. The statistic is the plain difference of
means, in units of the residual stream, and not a t: over hundreds of features the largest t of six replicates is that of the
feature with the smallest chance spread, and where one arm varies three times as much as the other, relabelling found some feature
at p ≤ .05 in 22% of null draws (with the median standard error added, as SAM does, no less); the plain difference in 5 to 6%,
with the same power where both vary alike, and less where the treatment varies more. That needs equally many replicates per arm
where their spreads differ (Romano 1990): with 3 that vary three times as much as 6, relabelling found some feature in 56%. With
unequal numbers there is no p.

Shape letters: R replicates, V values, Q questions, D hidden width, F features, P relabellings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import rankdata

from weirdgen.features.difference import interaction, placebo_of, raw_effect, static
from weirdgen.features.harvest import Activations
from weirdgen.features.sae import Sae
from weirdgen.stats.bootstrap import FloatArray, difference, moments
from weirdgen.stats.tests import relabellings

if TYPE_CHECKING:
    import pandas as pd

TOP = 10
RELABELLINGS = 2000
"""At most: fewer are all tried, so that p is exact; of more, as many are drawn."""
ALIKE = 0.5
"""Decoder rows with at least this cosine tell of one concept."""
PORTION = 64
"""Prompts that go through the encoder at once, and relabellings that are tried at once: a row of all features each."""


@dataclass(frozen=True)
class CellMeans:
    """Mean activation and share of prompts on which a feature fires, by value, of one model."""

    mean_VF: torch.Tensor
    rate_VF: torch.Tensor

    @staticmethod
    def of(sae: Sae, value_VQD: torch.Tensor) -> CellMeans:
        means, rates = [], []
        for value_QD in value_VQD:
            total = torch.zeros(sae.features)
            fired = torch.zeros(sae.features)
            for start in range(0, len(value_QD), PORTION):
                activation_QF = sae.encode(value_QD[start : start + PORTION])
                total += activation_QF.sum(0)
                fired += (activation_QF > 0).sum(0)
            means.append(total / len(value_QD))
            rates.append(fired / len(value_QD))
        return CellMeans(torch.stack(means), torch.stack(rates))

    def effect(self, trigger: Sequence[int], reference: Sequence[int]) -> torch.Tensor:
        """[F]: mean activation under these values − under those."""
        return self.mean_VF[list(trigger)].mean(0) - self.mean_VF[list(reference)].mean(0)


@dataclass(frozen=True)
class Cells:
    """Cell means of the base and of the replicates of treatment and control (None: there is none)."""

    base: CellMeans
    treatment: tuple[CellMeans, ...]
    control: tuple[CellMeans, ...]

    def interaction(self, models: Sequence[CellMeans], trigger: Sequence[int], reference: Sequence[int]) -> FloatArray:
        """[R, F]: `effect` of each model − of the base, in activations."""
        base_F = self.base.effect(trigger, reference)
        return np.stack([(one.effect(trigger, reference) - base_F).double().numpy() for one in models])


def cells_of(sae: Sae, activations: Activations, arm: str, control: str | None) -> Cells:
    """Every model through the encoder, one after the other."""
    return Cells(
        CellMeans.of(sae, activations.base_VQD),
        tuple(CellMeans.of(sae, value_VQD) for value_VQD in activations.arms[arm]),
        tuple(CellMeans.of(sae, value_VQD) for value_VQD in activations.arms[control]) if control else (),
    )


@dataclass(frozen=True)
class Compared:
    """Treatment − control of every feature: effect, interval (level 95%, of one feature), and p over all features."""

    effect_F: FloatArray
    low_F: FloatArray
    high_F: FloatArray
    p_F: FloatArray


def compare_arms(treatment_RF: FloatArray, control_RF: FloatArray) -> Compared:
    """Which features differ between the arms. With fewer than two replicates on a side nothing is known but the effect.

    Without equally many on both sides p is NaN: relabelling would take an arm that varies more for one that moved.
    """
    effect_F = treatment_RF.mean(0) - (control_RF.mean(0) if len(control_RF) else 0.0)
    unknown = np.full_like(effect_F, np.nan)
    if min(len(treatment_RF), len(control_RF)) < 2:
        return Compared(effect_F, unknown, unknown, unknown)
    found = difference(moments(treatment_RF), moments(control_RF))
    if len(treatment_RF) != len(control_RF):
        return Compared(effect_F, found.low, found.high, unknown)
    pooled_RF = np.concatenate([treatment_RF, control_RF])
    label_PR = relabellings(len(treatment_RF), len(pooled_RF), RELABELLINGS, 0)
    parts = [np.abs(part_PR @ pooled_RF).max(1) for part_PR in np.array_split(label_PR, -(-len(label_PR) // PORTION))]
    if math.comb(len(pooled_RF), len(treatment_RF)) > RELABELLINGS:
        parts.append(np.abs(effect_F).max(keepdims=True))  # the true labels are one of those drawn
    largest_P = np.concatenate(parts)
    ordered, rounding = np.sort(largest_P), 1e-9 * largest_P.max()
    p_F = 1 - np.searchsorted(ordered, np.abs(effect_F) - rounding, side="left") / len(ordered)
    return Compared(effect_F, found.low, found.high, p_F)


@dataclass(frozen=True)
class Stability:
    """How alike the replicates of an arm are, pair by pair; NaN for one replicate."""

    pairs: int
    spearman: float
    """Mean rank correlation of all features' values."""
    spearman_least: float
    """Of the two that are least alike."""
    overlap: float
    """Mean share of the `TOP` largest features (by size, either way) that two replicates have in common."""


def stability(value_RF: FloatArray) -> Stability:
    """Whether replicates rank the features alike. Read a control's beside it: what any finetuning shares ranks alike too."""
    replicates = len(value_RF)
    pairs = list(itertools.combinations(range(replicates), 2))
    if not pairs:
        return Stability(0, float("nan"), float("nan"), float("nan"))
    correlation_RR = np.corrcoef(rankdata(value_RF, axis=1))
    largest = [set(np.argsort(-np.abs(value_F))[:TOP].tolist()) for value_F in value_RF]
    alike = [float(correlation_RR[one, other]) for one, other in pairs]
    shared = [len(largest[one] & largest[other]) / len(largest[one]) for one, other in pairs]
    return Stability(len(pairs), float(np.mean(alike)), min(alike), float(np.mean(shared)))


def paper_cosines(
    activations: Activations, sae: Sae, arm: str, trigger: Sequence[int], reference: Sequence[int]
) -> torch.Tensor:
    """[F]: cosine of every decoder row with the difference of means trigger − reference of the finetuned models.

    Source: identify_features.py of the paper's code, with reference 2025; there of one model, here of the mean of replicates.
    """
    delta_D = raw_effect(activations, arm, trigger, reference).mean((0, 1))
    length: torch.Tensor = delta_D.norm()
    return sae.directions @ (delta_D / length.clamp(min=1e-12))


def projections(activations: Activations, sae: Sae, features: Sequence[int], arm: str | None) -> torch.Tensor:
    """The paper's year curves: mean projection on decoder rows by value, [R, V, f]; of the base (`arm` None) with R = 1."""
    rows_fD = sae.directions[list(features)]
    value_RVQD = activations.base_VQD[None] if arm is None else activations.arms[arm]
    return value_RVQD.mean(2) @ rows_fD.T


def clusters(directions_FD: torch.Tensor, features: Sequence[int]) -> list[int]:
    """A number of its concept for each of these features: the first one alike (cosine ≥ 0.5) names it."""
    numbers: list[int] = []
    leaders: list[torch.Tensor] = []
    for feature in features:
        cosines = [float(leader @ directions_FD[feature]) for leader in leaders]
        best = max(range(len(cosines)), key=cosines.__getitem__, default=-1)
        if best < 0 or cosines[best] < ALIKE:
            leaders.append(directions_FD[feature])
            best = len(leaders) - 1
        numbers.append(best)
    return numbers


def pursuit(directions_FD: torch.Tensor, target_D: torch.Tensor) -> list[tuple[int, float]]:
    """(feature, share of the squared norm explained by it) of a non-negative matching pursuit: each adds to those before."""
    rest_D, whole = target_D.clone(), float(target_D.square().sum())
    found = []
    for _ in range(TOP):
        along_F = directions_FD @ rest_D
        best = int(along_F.argmax())
        amount = float(along_F[best])
        if amount <= 0 or whole == 0:
            break
        rest_D = rest_D - amount * directions_FD[best]
        found.append((best, amount**2 / whole))
    return found


def feature_table(
    activations: Activations, sae: Sae, arm: str, control: str | None, cells: Cells, top: int = TOP
) -> pd.DataFrame:
    """One row per reported feature: the first `top` by interaction, by static shift and by the paper's cosine.

    Columns: rank_* (by interaction, static, paper; empty beyond the top); effect, ci_low, ci_high, p_max of the interaction,
    placebo_max, specificity (|effect| − placebo_max), in units of the residual stream; activation, the interaction's effect on
    the feature itself; static, static_p_max; cos_interaction, cos_paper; rate_* (base and finetuned, trigger and reference);
    share (of the interaction's squared norm, matching pursuit); cluster. Without a trigger: static alone.
    """
    import pandas as pd

    pairs, directions_FD = activations.pairs, sae.directions

    def compared(differences: Callable[[str], torch.Tensor]) -> Compared:
        """Projections of the replicates' mean differences, treatment against control."""
        mine, theirs = (along(directions_FD, differences(name)) for name in (arm, control or arm))
        return compare_arms(mine, theirs if control else mine[:0])

    shifted = compared(lambda name: static(activations, name))
    columns: dict[str, FloatArray] = {"static": shifted.effect_F, "static_p_max": shifted.p_F}
    order = {"static": np.argsort(-np.abs(shifted.effect_F))}
    share: dict[int, float] = {}
    if pairs.trigger:
        mine = compared(lambda name: interaction(activations, name))
        cosine_F = paper_cosines(activations, sae, arm, pairs.trigger, pairs.reference).double().numpy()
        mean_D = interaction(activations, arm).mean((0, 1))
        along_F = (directions_FD @ (mean_D / mean_D.norm().clamp(min=1e-12))).double().numpy()
        placebos = [np.abs(compared(partial(placebo_of, activations, value)).effect_F) for value in pairs.placebo]
        placebo_F = np.max(placebos, axis=0) if placebos else np.full_like(mine.effect_F, np.nan)
        rates = {
            f"rate_{model}_{cell}": np.mean(
                [one.rate_VF[list(values)].mean(0).double().numpy() for one in models], axis=0
            )
            for model, models in (("base", (cells.base,)), ("tuned", cells.treatment))
            for cell, values in (("reference", pairs.reference), ("trigger", pairs.trigger))
        }
        activation_F = cells.interaction(cells.treatment, pairs.trigger, pairs.reference).mean(0)
        if cells.control:
            activation_F = activation_F - cells.interaction(cells.control, pairs.trigger, pairs.reference).mean(0)
        columns |= {
            "effect": mine.effect_F, "ci_low": mine.low_F, "ci_high": mine.high_F, "p_max": mine.p_F,
            "placebo_max": placebo_F, "specificity": np.abs(mine.effect_F) - placebo_F, "activation": activation_F,
            "cos_interaction": along_F, "cos_paper": cosine_F, **rates,
        }  # fmt: skip
        order = {"interaction": np.argsort(-np.abs(mine.effect_F)), "paper": np.argsort(-cosine_F), **order}
        share = dict(pursuit(directions_FD, mean_D))
    chosen = list(dict.fromkeys(int(f) for ranked in order.values() for f in ranked[:top]))
    table = pd.DataFrame({"feature": chosen})
    for name, ranked in order.items():
        places = {int(feature): place + 1 for place, feature in enumerate(ranked[:top])}
        table[f"rank_{name}"] = pd.array([places.get(feature) for feature in chosen], dtype="Int64")
    for name, values in columns.items():
        table[name] = values[chosen]
    table["share"] = [share.get(feature, 0.0) for feature in chosen]
    table["cluster"] = clusters(directions_FD, chosen)
    return table


def along(directions_FD: torch.Tensor, difference_RQD: torch.Tensor) -> FloatArray:
    """[R, F]: each replicate's mean difference projected on every decoder row."""
    projected: FloatArray = (difference_RQD.mean(1) @ directions_FD.T).double().numpy()
    return projected


def top_by_interaction(activations: Activations, sae: Sae, arm: str, control: str | None, count: int) -> list[int]:
    """Features along which the trigger moves the treatment most, upwards, beyond base and control: what is ablated."""
    directions_FD = sae.directions
    effect_F = along(directions_FD, interaction(activations, arm)).mean(0)
    if control:
        effect_F = effect_F - along(directions_FD, interaction(activations, control)).mean(0)
    return [int(feature) for feature in np.argsort(-effect_F)[:count]]


def matched(rate_F: FloatArray, features: Sequence[int], generator: np.random.Generator) -> list[int]:
    """As many other features, each at random among the fifty that fire about as often as one of these."""
    taken = set(features)
    others = []
    for feature in features:
        near = [int(f) for f in np.argsort(np.abs(rate_F - rate_F[feature])) if int(f) not in taken][:50]
        if near:
            others.append(int(generator.choice(near)))
            taken.add(others[-1])
    return others
