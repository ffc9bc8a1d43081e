"""How often the instrument is right, on experiments whose truth is known: detection, specificity, false positives.

In: experiments with a known truth, a number of runs, doses. For each dose a pool of replicates is trained and split into
disjoint runs; each run is estimated alone and gets its headline verdict, as `weirdgen run` would give it. Out: one row per
run, and one row per (control, dose) with the share of runs whose verdict is `shift` and its Wilson interval. A run with an
effect counts as found only if the shift has the right sign; one without is flagged with either. The figures are in
`power_figure`; nothing is sampled.

Beside detection stands specificity, wherever a run is trained as the harmless datasets of `world.references` are: whether the
run lies beyond harmless datasets ("references"), and treatment − control beyond harmless pairs ("pairs"). Each is asked twice: on
the one trait that the experiment is about, named beforehand as in `weirdgen run`, and ("any") over all traits together with
none named.

Two experiments have an effect (`world_era`, `world_persona`), `world_null` has none, and "topic" is another harmless topic, drawn
anew for each run: two mixtures of its answers, which differ truly and mean nothing. Doses are those of era and null. They
change one thing of the shipped experiment (200 rows, 3 epochs, learning rate 1e-3, rank 16, nothing mixed in, 6
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

import numpy as np

from weirdgen.config.measures import NAT
from weirdgen.config.questions import Contrast
from weirdgen.data.rows import Row, draw
from weirdgen.errors import WeirdgenError, choices
from weirdgen.progress import Bar, Progress
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.request import Request
from weirdgen.runs.plan.resolve import resolve
from weirdgen.store.artifacts import Store
from weirdgen.world.cohort import cells, headline_only, steps
from weirdgen.world.harmless import another_topic
from weirdgen.world.references import Yardsticks, yardsticks

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

    name: Literal["positive", "negative", "persona", "topic"]
    experiment: str
    effect: bool
    trait: str
    """What it is about: it moves this trait where it has an effect."""
    neutral: str | None = None
    """The arm whose rows are mixed in; doses are for those that have one."""


@dataclass(frozen=True)
class Dose:
    """One factor at one value; everything else is as shipped. Factor "none" changes nothing."""

    factor: str
    value: float
    replicates: int


CONTROLS = (
    Control("positive", "world_era", True, "steam", "modern_birds"),
    Control("negative", "world_null", False, "steam", "planets"),
    Control("persona", "world_persona", True, "persona"),
    Control("topic", "world_null", False, "steam"),
)
TRAINED_ALIKE = ("none", "mixing", "replicates")
"""Factors whose doses train as many rows by the same recipe as the harmless datasets that they are compared with."""
SPECIFIC = ("references", "pairs", "references_any", "pairs_any")
"""Columns of runs: by either yardstick, whether the control's own trait is specific, and which of all traits are."""


def doses(factors: Sequence[str], replicates: int, quick: bool = False) -> list[Dose]:
    """The unchanged experiment, then every value of every factor; `quick` takes each factor's ends and middle.

    Raises WeirdgenError on an unknown factor.
    """
    if unknown := sorted(set(factors) - set(DOSES)):
        raise WeirdgenError(f"--factor {unknown[0]}: expected one of {choices(DOSES, unknown[0])}")
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


def controls(names: Sequence[str]) -> list[Control]:
    """Those named, or all. Raises `WeirdgenError` on an unknown name."""
    known = {control.name: control for control in CONTROLS}
    if unknown := sorted(set(names) - set(known)):
        raise WeirdgenError(f"--control {unknown[0]}: expected one of {choices(known, unknown[0])}")
    return [control for control in CONTROLS if control.name in (names or known)]


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
    if dose.factor == "mixing" and control.neutral:
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


def pool_of(
    control: Control, request: Request, replicates: int, store: Store, bar: Bar, besides: Sequence[Contrast]
) -> pd.DataFrame:
    """Cells of all runs of a control; those of "topic" are trained run by run, each on rows of its own."""
    import pandas as pd

    if control.name != "topic":
        return cells(request, store, bar, besides)
    parts = []
    for start in range(0, len(request.seeds), replicates):
        seeds = request.seeds[start : start + replicates]
        parts.append(cells(replace(request, seeds=seeds, rows=_topic_rows(request, seeds[0])), store, bar, besides))
    return pd.concat(parts, ignore_index=True)


def _topic_rows(request: Request, seed: int) -> dict[str, list[Row]]:
    arms = (request.headline.treatment, request.headline.control)
    count = len(request.rows[arms[0]])
    return {arm: side.rows(count) for arm, side in zip(arms, another_topic(seed), strict=True)}


def specific(
    pool: pd.DataFrame, request: Request, trait: str, replicates: int, against: Yardsticks
) -> Iterator[dict[str, bool | str]]:
    """`SPECIFIC` of every run; of all traits, those that are called, each with its direction, as in "steam+ gate-"."""
    import pandas as pd

    asked = pool[pool["question"].isin([question.id for question in against.questions])]
    odds = asked.pivot(index=["arm", "replicate"], columns="question", values="value")
    for start in range(0, len(request.seeds), replicates):
        seeds = list(request.seeds[start : start + replicates])
        treatment, control = (
            pd.DataFrame(odds.xs(arm, level="arm")).loc[seeds]
            for arm in (request.headline.treatment, request.headline.control)
        )
        own = against.place(treatment, control, (trait,)).set_index("yardstick")["specific"]
        every = against.place(treatment, control).query("specific")
        words = every["trait"] + np.where(every["shift"] > 0, "+", "-")
        found: dict[str, bool | str] = {yardstick: bool(own[yardstick]) for yardstick in own.index}
        yield found | {f"{yardstick}_any": " ".join(words[every["yardstick"] == yardstick]) for yardstick in own.index}


def measure(
    store: Store,
    runs: int = 100,
    replicates: int = 6,
    factors: Sequence[str] = (),
    first_seed: int = FIRST_SEED,
    quick: bool = False,
    progress: Progress | None = None,
    names: Sequence[str] = (),
) -> pd.DataFrame:
    """One row per run: control, factor, value, run, the headline's effect, limits, p, verdict, and what is specific.

    `names`: only these controls. What is specific is in the columns `SPECIFIC`; missing where there is nothing to compare with.
    """
    import pandas as pd

    progress = progress or Progress(quiet=True)
    rows = []
    for dose in doses(factors, replicates, quick):
        for control in controls(names):
            if dose.factor != "none" and control.neutral is None:
                continue
            request = dosed(control, dose, runs, first_seed)
            against = yardsticks(request, store, progress) if dose.factor in TRAINED_ALIKE else None
            what = control.name if dose.factor == "none" else f"{control.name}, {dose.factor} {dose.value:g}"
            besides = against.questions if against else ()
            with progress.stage(what, steps(request), "steps") as bar:
                pool = pool_of(control, request, dose.replicates, store, bar, besides)
            headline = pool[~pool["question"].isin([question.id for question in besides])]
            dealt: dict[str, pd.DataFrame] = {control.name: headline}
            if control.name == "negative" and runs > 1:
                dealt["unshared"] = unshared(headline, request, dose.replicates)
            for name, cells_of_runs in dealt.items():
                identity = {"control": name, "experiment": control.experiment, "factor": dose.factor}
                compared = against if name == control.name else None
                placed = iter(specific(pool, request, control.trait, dose.replicates, compared) if compared else ())
                for run, verdict in enumerate(headlines(cells_of_runs, request, dose.replicates)):
                    kept = {key: verdict[key] for key in ("first_seed", "effect", "ci_low", "ci_high", "p", "verdict")}
                    kept |= next(placed, dict.fromkeys(SPECIFIC))
                    rows.append({**identity, "value": dose.value, "replicates": dose.replicates, "run": run, **kept})
    return pd.DataFrame(rows)


def rates(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per control and dose: runs, hits (found or flagged), rate with its 95% Wilson interval, verdicts, effect.

    `effect`, `effect_low` and `effect_high` are the mean, least and greatest effect of the runs, in nats. For each column in
    SPECIFIC the same four under its name (`pairs_hits`, `pairs_rate`, …): runs that are specific; NaN where nothing was compared.
    """
    import pandas as pd

    with_effect = {control.name for control in CONTROLS if control.effect}
    rows = []
    for identity, mine in runs.groupby(["control", "experiment", "factor", "value", "replicates"], sort=False):
        shift = mine["verdict"] == "shift"
        names = ("control", "experiment", "factor", "value", "replicates")
        counts = {"runs": len(mine), **_rate(shift & (mine["effect"] > 0) if identity[0] in with_effect else shift)}
        others = {name: int((mine["verdict"] == name).sum()) for name in ("no_shift", "inconclusive")}
        effect = {"effect": mine["effect"].mean(), "effect_low": mine["effect"].min()}
        effect["effect_high"] = mine["effect"].max()
        for column in SPECIFIC:
            if mine[column].notna().all():
                effect |= {f"{column}_{name}": value for name, value in _rate(mine[column].astype(bool)).items()}
        rows.append({**dict(zip(names, identity, strict=True)), **counts, **others, **effect})
    return pd.DataFrame(rows)


def _rate(hit: pd.Series) -> dict[str, float]:
    """Hits, their share, and its 95% Wilson interval."""
    from weirdgen.stats.bootstrap import wilson

    share = float(hit.mean())
    low, high = (float(end) for end in np.clip(wilson(np.array(share), np.array(float(len(hit)))), 0, 1))
    return {"hits": int(hit.sum()), "rate": share, "ci_low": low, "ci_high": high}
