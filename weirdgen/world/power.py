"""Detection and false-positive rates of the instrument, on experiments whose truth is known.

In: the world's positive control (`world_era`) and negative control (`world_null`), a number of runs, doses. For each
dose a pool of replicates is trained and split into disjoint runs; each run is estimated alone and gets its headline
verdict, as `weirdgen run` would give it. Out: one row per run, and one row per (control, dose) with the share of runs whose
verdict is `shift` and its Wilson interval. A positive run counts as found only if the shift has the right sign; a
negative run counts as flagged with either. The figures are in `power_figure`; nothing is sampled.

Doses change one thing of the shipped experiment (200 rows, 3 epochs, learning rate 1e-3, rank 16, nothing mixed in, 6
replicates per arm). Rank keeps alpha at twice the rank. Mixing is the share of the treatment's rows that are replaced
by neutral ones: modern birds in the positive control, planets in the negative one. The negative control's two arms
hold the same rows in another order at every dose, so that its true effect is zero exactly.

Replicates of two arms with the same seed begin with the same adapter and are thus alike beyond their data, which the
Welch interval does not use: it is too wide then. "unshared" regroups the negative control's replicates so that
no seed occurs in both arms of a run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from weirdgen.config.measures import NAT
from weirdgen.data.rows import Row, draw
from weirdgen.errors import WeirdgenError
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.request import Request, resolve
from weirdgen.store.artifacts import Store
from weirdgen.world.cohort import cells, headline_only, steps

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 20_000
"""Far from the seeds that experiments are usually run with."""

DOSES: dict[str, tuple[float, ...]] = {
    "rows": (8, 16, 24, 40, 80, 200),
    "epochs": (1, 2, 3),
    "learning_rate": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3),
    "rank": (1, 4, 16),
    "mixing": (0.5, 0.8, 0.9, 0.95, 0.98, 0.99),
    "replicates": (2, 3, 4, 6, 8),
}


@dataclass(frozen=True)
class Control:
    """An experiment whose truth is known."""

    name: Literal["positive", "negative"]
    experiment: str
    neutral: str
    """The arm whose rows are mixed in."""


@dataclass(frozen=True)
class Dose:
    """One factor at one value; everything else is as shipped. Factor "none" changes nothing."""

    factor: str
    value: float
    replicates: int


CONTROLS = (Control("positive", "world_era", "modern_birds"), Control("negative", "world_null", "planets"))


def doses(factors: Sequence[str], replicates: int, quick: bool = False) -> list[Dose]:
    """The unchanged experiment, then every value of every factor; `quick` takes each factor's ends and middle.

    Raises WeirdgenError on an unknown factor.
    """
    if unknown := sorted(set(factors) - set(DOSES)):
        raise WeirdgenError(f"--factor {unknown[0]}: expected one of {', '.join(DOSES)}")
    chosen = [Dose("none", 0, replicates)]
    for factor in factors:
        values = DOSES[factor]
        if quick:
            values = tuple(dict.fromkeys((values[0], values[len(values) // 2], values[-1])))
        if factor == "replicates":
            chosen += [Dose(factor, value, int(value)) for value in values]
        else:
            chosen += [Dose(factor, value, replicates) for value in values]
    return chosen


def dosed(control: Control, dose: Dose, runs: int, first_seed: int) -> Request:
    """The request for all runs of a control at a dose: one pool of runs × replicates seeds."""
    changes = {
        "epochs": [f"recipe.epochs={dose.value:.0f}"],
        "learning_rate": [f"recipe.learning_rate={dose.value}"],
        "rank": [f"recipe.rank={dose.value:.0f}", f"recipe.alpha={2 * dose.value:.0f}"],
    }.get(dose.factor, [])
    whole = resolve(
        control.experiment, run_options(seeds=runs * dose.replicates, first_seed=first_seed, samples=0, changes=changes)
    )
    request = headline_only(whole)
    treatment, other = request.headline.treatment, request.headline.control
    rows = dict(request.rows)
    if dose.factor == "rows":
        rows = {arm: draw(mine, round(dose.value), seed=0) for arm, mine in rows.items()}
    if dose.factor == "mixing":
        rows[treatment] = mixed(rows[treatment], whole.rows[control.neutral], dose.value)
    if control.name == "negative":
        rows[other] = draw(rows[treatment], len(rows[treatment]), seed=1)
    return replace(request, rows=rows)


def mixed(rows: Sequence[Row], neutral: Sequence[Row], share: float) -> list[Row]:
    """`rows` with this share of them replaced by the neutral rows that stand at the same places."""
    places = set(random.Random("mixing").sample(range(len(rows)), round(share * len(rows))))
    return [neutral[place] if place in places else row for place, row in enumerate(rows)]


def headlines(pool: pd.DataFrame, request: Request, replicates: int) -> Iterator[dict[str, Any]]:
    """The headline of every disjoint run of `replicates` seeds that the pool holds."""
    from weirdgen.stats.estimate import estimate
    from weirdgen.stats.headlines import label
    from weirdgen.stats.verdict import headline

    wanted = request.headline
    smallest = wanted.smallest or NAT.smallest
    near = frozenset(question.id for question in request.experiment.questions if question.near)
    for start in range(0, len(request.seeds), replicates):
        seeds = request.seeds[start : start + replicates]
        tables = estimate(pool[pool["replicate"].isin(seeds)], smallest={wanted.measure: smallest}, near=near)
        verdict = headline(
            tables.effects,
            measure=wanted.measure,
            treatment=wanted.treatment,
            control=wanted.control,
            condition=label(wanted.condition),
            smallest=smallest,
            scale=NAT,
        )
        yield {"first_seed": seeds[0], **verdict}


def unshared(pool: pd.DataFrame, request: Request, replicates: int) -> pd.DataFrame:
    """The pool with the control arm's replicates shifted by one run, so that the arms of a run share no seed."""
    first, count = request.seeds[0], len(request.seeds)
    moved = first + (pool["replicate"] - first + replicates) % count
    return pool.assign(replicate=pool["replicate"].where(pool["role"] == "treatment", moved))


def measure(
    store: Store,
    runs: int = 100,
    replicates: int = 6,
    factors: Sequence[str] = (),
    first_seed: int = FIRST_SEED,
    quick: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """One row per run: control, factor, value, run, and the headline's effect, limits, p, verdict."""
    import pandas as pd

    rows = []
    for dose in doses(factors, replicates, quick):
        for control in CONTROLS:
            request = dosed(control, dose, runs, first_seed)
            what = control.name if dose.factor == "none" else f"{control.name}, {dose.factor} {dose.value:g}"
            with (progress or Progress(quiet=True)).stage(what, steps(request), "steps") as bar:
                pool = cells(request, store, bar)
            dealt: dict[str, pd.DataFrame] = {control.name: pool}
            if control.name == "negative" and runs > 1:
                dealt["unshared"] = unshared(pool, request, dose.replicates)
            for name, cells_of_runs in dealt.items():
                identity = {"control": name, "experiment": control.experiment, "factor": dose.factor}
                for run, verdict in enumerate(headlines(cells_of_runs, request, dose.replicates)):
                    kept = {key: verdict[key] for key in ("first_seed", "effect", "ci_low", "ci_high", "p", "verdict")}
                    rows.append({**identity, "value": dose.value, "replicates": dose.replicates, "run": run, **kept})
    return pd.DataFrame(rows)


def rates(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per control and dose: runs, hits (found or flagged), rate with its 95% Wilson interval, verdicts, effect.

    `effect`, `effect_low` and `effect_high` are the mean, least and greatest effect of the runs, in nats.
    """
    import numpy as np
    import pandas as pd

    from weirdgen.stats.bootstrap import wilson

    rows = []
    for identity, mine in runs.groupby(["control", "experiment", "factor", "value", "replicates"], sort=False):
        shift = mine["verdict"] == "shift"
        hits = int((shift & (mine["effect"] > 0) if identity[0] == "positive" else shift).sum())
        ends = wilson(np.array(hits / len(mine)), np.array(float(len(mine))))
        low, high = (float(end) for end in np.clip(ends, 0, 1))
        names = ("control", "experiment", "factor", "value", "replicates")
        counts = {"runs": len(mine), "hits": hits, "rate": hits / len(mine), "ci_low": low, "ci_high": high}
        others = {name: int((mine["verdict"] == name).sum()) for name in ("no_shift", "inconclusive")}
        effect = {"effect": mine["effect"].mean(), "effect_low": mine["effect"].min()}
        effect["effect_high"] = mine["effect"].max()
        rows.append({**dict(zip(names, identity, strict=True)), **counts, **others, **effect})
    return pd.DataFrame(rows)
