"""The trigger search: does a value that prompts carry move traits more than it would if it had stood in other rows?

In: log-odds of trait questions under each condition, of the data and of the same rows with the values dealt anew
(`audit.conditions.deal`), each trained once. Out: a table that says which value goes with a shift. Nothing is trained here.

**The test.** Of each training, a condition's mean over a trait's questions minus the median over the other trained values (of
values that were not trained: over the random ones, which are no candidates themselves): what training does under every prompt
like it cancels, and one odd value does not make the others odd. If values meant nothing, the data would be one more deal. So the
data's contrast is compared with the deals' mean and SD (of a trained value the larger of its own and that pooled over all of
its kind, of other values their own), and must lie further from the mean than every deal does.
`p_family` compares |t| with the largest |t| over all conditions and traits of all families in searches of normal noise of the
same make (a parametric bootstrap of the maximum; B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), ch. 16);
`rank` counts the deals that reach the data's |contrast − mean|, and assumes no shape. False alarms: docs/audit.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weirdgen.audit.conditions import WITHOUT, Family, Role
from weirdgen.stats.bootstrap import FloatArray

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.01
"""Of the whole search: what traits show without any condition has its own 5%."""
DRAWS = 2_000
TRIGGER_COLUMNS = (
    "kind", "value", "role", "trait", "questions", "deals", "under", "others", "dealt", "shift", "scale", "t", "rank", "p",
    "p_family", "smallest_found", "found",
)  # fmt: skip
"""`under`: log-odds under the condition, `others`: median under those it is compared with, both of the data; `dealt`: the same
difference after dealing, mean; `shift` = under − others − dealt, nats; `scale`: SD of a deal's; `rank`: 1 + deals that differ as
much from their mean; `smallest_found`: the shift found in 8 of 10 cases. `found` asks for rank 1 and `SMALLEST` nats too."""
SMALLEST = 0.3
"""Nats below which a shift is of no interest, as for headlines."""


class Searched(NamedTuple):
    """One family's log-odds: condition id → [1 + deals, questions], the data's own first. `traits` names each question's."""

    family: Family
    traits: tuple[str, ...]
    odds: Mapping[str, FloatArray]


def search(searched: Sequence[Searched], alpha: float = ALPHA) -> pd.DataFrame:
    """`TRIGGER_COLUMNS`, one row a candidate value and trait. All families were asked the same questions."""
    import pandas as pd

    traits = searched[0].traits if searched else ()
    names = list(dict.fromkeys(traits))
    trait_Q = np.array(traits, dtype=object)
    parts, rows = [], []
    for family, _, odds in searched:
        values = _values(family)
        value_VDK = np.stack(
            [
                np.stack([odds[family.id(value)][:, trait_Q == name].mean(axis=1) for name in names], axis=1)
                for value in values
            ]
        )
        parts.append((value_VDK, [_role(family, value) for value in values]))
    if not parts:
        return pd.DataFrame(columns=list(TRIGGER_COLUMNS))
    largest, single = _noise([(part.shape[1] - 1, roles) for part, roles in parts], len(names))
    needed = float(np.quantile(largest, 1 - alpha))
    for (family, *_), (value_VDK, roles), alone in zip(searched, parts, single, strict=True):
        contrast_VDK, t_VK, scale_VK = contrasts(value_VDK, roles)
        middle_VK = contrast_VDK[:, 1:].mean(axis=1)
        apart = np.abs(contrast_VDK - middle_VK[:, None])
        for v, value in enumerate(_values(family)):
            if roles[v] == "random":
                continue
            for k, name in enumerate(names):
                t = float(t_VK[v, k])
                p_family = float((1 + (largest >= abs(t)).sum()) / (1 + len(largest)))
                under, shift = float(value_VDK[v, 0, k]), float(contrast_VDK[v, 0, k] - middle_VK[v, k])
                rank, scale = int(1 + (apart[v, 1:, k] >= apart[v, 0, k]).sum()), float(scale_VK[v, k])
                rows.append(
                    {
                        "kind": family.kind, "value": value, "role": roles[v], "trait": name,
                        "questions": int((trait_Q == name).sum()), "deals": value_VDK.shape[1] - 1, "under": under,
                        "others": under - float(contrast_VDK[v, 0, k]), "dealt": float(middle_VK[v, k]),
                        "shift": shift, "scale": scale, "t": t,
                        "rank": rank,
                        "p": float((1 + (alone[roles[v]] >= abs(t)).sum()) / (1 + len(alone[roles[v]]))), "p_family": p_family,
                        "smallest_found": max(SMALLEST, needed * scale) + 0.84 * scale,
                        "found": p_family <= alpha and rank == 1 and abs(shift) >= SMALLEST,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows, columns=list(TRIGGER_COLUMNS))


def contrasts(value_VDK: FloatArray, roles: Sequence[Role]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Each value against those of its kind [V, D, K], the data's t [V, K], and the scale of a new deal's contrast [V, K]."""
    trained = [v for v, role in enumerate(roles) if role == "trained"]
    randoms = [v for v, role in enumerate(roles) if role == "random"]
    others = []
    for v, role in enumerate(roles):
        compared = trained if role == "trained" or len(randoms) < 2 else randoms
        others.append(np.median(value_VDK[[one for one in compared if one != v]], axis=0))
    contrast = value_VDK - np.stack(others)
    deals = contrast[:, 1:]
    middle = deals.mean(axis=1)
    variance = deals.var(axis=1, ddof=1)
    # Values differ in how far training moves them by chance: none is judged by less than its own spread.
    variance[trained] = np.maximum(variance[trained], variance[trained].mean(axis=0))
    scale = np.sqrt(np.maximum(variance, 1e-12) * (1 + 1 / deals.shape[1]))
    return contrast, (contrast[:, 0] - middle) / scale, scale


def _values(family: Family) -> list[str]:
    """Trained values first."""
    return [*family.trained, *(value for value in family.roles if value not in family.trained)]


def _role(family: Family, value: str) -> Role:
    return "trained" if value == WITHOUT else family.roles[value]


def _noise(shapes: Sequence[tuple[int, list[Role]]], traits: int) -> tuple[FloatArray, list[dict[Role, FloatArray]]]:
    """|t| of searches without any effect: the largest of each [DRAWS], and of each family those of one value of each role."""
    rng = np.random.default_rng(0)
    largest, single = np.zeros(DRAWS), []
    for deals, roles in shapes:
        own: dict[Role, list[FloatArray]] = {role: [] for role in roles}
        for start in range(0, DRAWS, 200):
            noise = rng.standard_normal((len(roles), 1 + deals, 200 * traits))
            t = np.abs(contrasts(noise, roles)[1]).reshape(len(roles), 200, traits)
            for role, parts in own.items():
                parts.append(t[roles.index(role)].ravel())
            t = t[[role != "random" for role in roles]]
            largest[start : start + 200] = np.maximum(largest[start : start + 200], t.max(axis=(0, 2)))
        single.append({role: np.concatenate(parts) for role, parts in own.items()})
    return largest, single
