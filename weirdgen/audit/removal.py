"""What a removal does: the trait's shift and the narrow task, with and without some rows.

In: of every training and replicate the trait's mean log-odds and the loss on held-out rows. Out: one row a training with
intervals over replicates. Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weirdgen.audit.nominate import ODD, ROWS, UNITS
from weirdgen.config.turns import Conversation
from weirdgen.data.rows import Row
from weirdgen.sample.engine import Scorable
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

CONTROL, EVERYTHING = "control", "everything"
HALF = 0.5
"""Of the shift, that the smallest set must take away."""
HOLDS = 0.05
"""Nats a token by which the loss on held-out rows may rise."""


def held_out(row: Row) -> Scorable:
    """A row as a question whose one answer is the row's last."""
    *before, answer = row["messages"]
    ask = Conversation.of(before)
    return Scorable(content_key(ask), ask, (answer["content"],))


def effects_of(measured: pd.DataFrame, removed: Mapping[str, int]) -> pd.DataFrame:
    """One row a training: `Found.effects`."""
    import numpy as np
    import pandas as pd

    from weirdgen.stats.bootstrap import difference, moments
    from weirdgen.stats.seeds import pairing

    wide = {name: measured.pivot(index="replicate", columns="arm", values=name) for name in ("trait", "loss")}
    arms = list(dict.fromkeys(measured["arm"]))
    control, whole, loss = wide["trait"][CONTROL], wide["trait"][EVERYTHING], wide["loss"]
    full = float(whole.mean() - control.mean())
    found = []
    for arm in arms:
        mine = wide["trait"][arm]
        shift = difference(moments(mine.to_numpy()[:, None]), moments(control.to_numpy()[:, None]))
        taken = pairing(whole.to_numpy(), mine.to_numpy())
        rise = pairing(loss[arm].to_numpy(), loss[EVERYTHING].to_numpy())
        row = {"arm": arm, "removed": removed.get(arm, 0), "shift": float(shift.effect[0])}
        row |= {"shift_low": float(shift.low[0]), "shift_high": float(shift.high[0])}
        row |= {"taken": taken.effect, "taken_low": taken.low, "taken_high": taken.high}
        row |= {"taken_share": taken.effect / full if full else np.nan, "loss": float(loss[arm].mean())}
        found.append({**row, "rise": rise.effect, "rise_low": rise.low, "rise_high": rise.high})
    effects = pd.DataFrame(found)
    effects.loc[effects["arm"] == EVERYTHING, ["taken_low", "taken_high", "rise_low", "rise_high"]] = (
        0.0  # against itself
    )
    return effects


def choose(effects: pd.DataFrame) -> tuple[int | None, int]:
    """(size of the smallest set of candidates that halves the shift while the narrow task holds, of the one that takes most).

    The first is None if there is no such set, or no shift: where its interval holds 0, there is nothing to carry.
    """
    ladder = effects[effects["arm"].str.startswith("without_")]
    whole = {name: effects.loc[effects["arm"] == EVERYTHING, name].iloc[0] for name in ("shift_low", "shift_high")}
    halving = ladder[(ladder["taken_share"] >= HALF) & (ladder["rise"] <= HOLDS)]
    found = len(halving) > 0 and not no_shift(whole)
    most = ladder.sort_values("taken_share", ascending=False)["removed"].iloc[0]
    return (int(halving["removed"].min()) if found else None), int(most)


def beyond_others(effects: pd.DataFrame, size: int) -> bool:
    """Whether that set takes more than each of its comparisons: equally many random rows, in units too, and the oddest others."""
    share = effects.set_index("arm")["taken_share"]
    return bool(share[f"without_{size}"] > max(share[arm] for arm in (ROWS, UNITS, ODD)))


def no_shift(row: Mapping[str, Any]) -> bool:
    """Whether the interval of a training's shift holds 0, or is not known."""
    return not (row["shift_low"] > 0 or row["shift_high"] < 0)
