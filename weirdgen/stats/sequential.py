"""Sampling until an interval is narrow enough: after each look, stop or draw more answers per cell.

In: the `cells` so far, the planned looks (samples per cell, ascending) and the half-width that is wanted. Out:
`Decision`. Not here: drawing the samples, or training more replicates (`power.replicates_needed`).

Looking again and again and stopping when the interval happens to be narrow picks the data sets that understate their spread:
with a 95% interval at each of five doubling looks up to 8% miss the truth at the stop with 2 or 3 replicates per arm, 6.6% with
6 and 6.2% with 10. So every look, the last included, uses a stricter level: the largest at which at most 5% miss at the stop,
over all targets and over spreads between replicates from none to eight times that of sampling at the last look. `look_level`
simulates it (20,000 Gaussian experiments, seeded) for the given looks and replicates. It is a calibration by simulation, not a
proof. Whether an interval excludes zero never enters the rule; so false positives at the stop are misses of zero and are kept
as well.

Simulated with the rule of `decide` (`benchmarks.coverage.sequential_table(0, 6000)`: looks at 8, 16, 32, 64, 128 samples, 8
questions, logit SD .3 between replicates, rates .02, .3, .9, targets that half of the experiments reach at look 2, 4
or 5; the range is over targets):

    replicates per arm                            3            6           10
    rate .02, coverage at the stop        .953–.964    .948–.953    .948–.950
    rate .30                              .966–.970    .961–.962    .958–.960
    rate .90                              .960–.966    .956–.959    .957–.960
    false positives, all rates            .025–.034    .034–.041    .039–.047
    95% at every look: coverage           .926–.958    .929–.947    .938–.950
    95% at every look: false positives    .041–.067    .051–.060    .041–.057
    coverage of those that reach          .902–.958    .902–.946    .909–.951

The rate is kept over **all** experiments, those that never reach the target included. Those that do reach it have
narrower intervals, which are the rule's own selection: if only few of a kind can reach a target (3 replicates, a
target below what their spread allows), those few miss more often. More samples never remove the spread between
replicates; a decision says so (`replicates_needed`) instead of asking for samples that cannot help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from weirdgen.columns import ALL
from weirdgen.config.measures import Scale, scale_of
from weirdgen.errors import WeirdgenError
from weirdgen.stats.bootstrap import FloatArray, Moments, Unvaried, difference
from weirdgen.stats.estimate import estimate
from weirdgen.stats.trigger import trigger_effects

Reason = Literal["reached", "more_samples", "last_look", "replicates_needed"]

_SIMULATED = 20_000
_TARGETS = 16
_SPREADS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""SD between replicates over that of sampling at the last look."""


@dataclass(frozen=True)
class Decision:
    """What to do after a look; `level` is the one that the interval at the stop is to be given at."""

    done: bool
    reason: Reason
    effect: float
    half_width: float
    """Half the interval's width at `level`, in the measure's unit; NaN where there is no interval."""
    level: float
    samples: int
    suggested_samples: int | None
    """Samples a cell at the next look that is expected to be enough; None when done."""


def decide(
    cells: pd.DataFrame,
    looks: Sequence[int],
    target_half_width: float,
    *,
    measure: str,
    treatment: str,
    control: str,
    condition: str = ALL,
    minus: Sequence[str] = (),
    checkpoint: int = -1,
    question: str = ALL,
    scales: Mapping[str, Scale] | None = None,
    near: Set[str] = frozenset(),
    level: float = 0.95,
    unvaried: Unvaried = "samples",
) -> Decision:
    """Whether the effect of `treatment` against `control` is known to ± `target_half_width`, in the measure's unit.

    `looks` is the whole plan, fixed beforehand, last look included; the present one is found from the samples per cell
    in `cells` (`n_all`, or `n` where that is missing). With `minus` the effect is that of `trigger`: all other conditions
    of `cells` minus those (`condition` stays "all"). An experiment that has no interval yet goes on to the next
    look, and ends at the last. Raises WeirdgenError if the looks do not ascend, the samples are at no planned look,
    there is no such effect, or as `estimate` does. `unvaried` must be what the run's tables take.
    """
    if not looks or looks[0] < 1 or any(later <= earlier for earlier, later in pairwise(looks)):
        raise WeirdgenError(f"decide: looks must be ascending counts of samples, got {list(looks)}")
    if not target_half_width > 0:
        raise WeirdgenError(f"decide: the half-width wanted is {target_half_width:g}; it must be positive")
    part = cells[cells["measure"].eq(measure) & cells["arm"].isin([treatment, control])]
    part = part[part["checkpoint"].eq(checkpoint)]
    if part["arm"].nunique() < 2:
        raise WeirdgenError(f"decide: no cells of {treatment} and {control} on {measure}, checkpoint {checkpoint}")
    samples = int(part["n_all" if "n_all" in part else "n"].max())
    if samples not in looks:
        raise WeirdgenError(
            f"decide: {samples} samples per cell, which is no planned look ({', '.join(map(str, looks))})"
        )
    counts = part.groupby("arm")["replicate"].nunique()
    strict = level_after(tuple(looks), int(counts[treatment]), level)
    if minus:
        triggers = {str(name): name not in minus for name in part["condition"].unique()}
        effects = trigger_effects(part, triggers, scales=scales, near=near, level=strict, unvaried=unvaried)
    else:
        effects = estimate(part, scales=scales, near=near, level=strict, unvaried=unvaried).effects
    if condition == ALL and ALL not in set(effects["condition"]):
        condition = str(effects["condition"].iloc[0])
    rows = effects[(effects["condition"] == condition) & (effects["question"] == question)]
    rows = rows[rows["checkpoint"] == checkpoint]
    if len(rows) != 1:
        raise WeirdgenError(f"decide: {len(rows)} effects on {measure} in condition {condition}, question {question}")
    row = rows.iloc[0]
    half = float(row["ci_high"] - row["ci_low"]) / 2
    last = samples == looks[-1]

    def decision(reason: Reason, suggested: int | None = None) -> Decision:
        done = reason != "more_samples"
        return Decision(done, reason, float(row["effect"]), half, strict, samples, suggested)

    if half <= target_half_width:
        return decision("reached")
    if last:
        return decision("last_look")
    later = looks[looks.index(samples) + 1 :]
    if not np.isfinite(half):
        return decision("more_samples", later[0])
    name_scale = scale_of(measure, scales)
    sides = [part[~part["condition"].isin(minus)], part[part["condition"].isin(minus)]] if minus else [part]
    noises = [sampling_variance(side, condition, question, name_scale, near) for side in sides]
    noise, degrees = sum(variance for variance, _ in noises), noises[0][1]
    t = special.stdtrit(degrees, 0.5 + strict / 2)
    if least_half_width(half, noise, degrees, strict) > target_half_width:
        return decision("replicates_needed")
    between = max(0.0, (half / t) ** 2 - noise)
    expected = t * np.sqrt(between + noise * samples / np.array(later, dtype=np.float64))
    enough = np.flatnonzero(expected <= target_half_width)
    return decision("more_samples", later[int(enough[0])] if len(enough) else later[-1])


def sampling_variance(
    part: pd.DataFrame, condition: str, question: str, scale: Scale, near: Set[str]
) -> tuple[float, float]:
    """The variance that sampling within cells adds to an effect, and the degrees of freedom of its spread.

    The variance of a sampled value in [low, high] with mean m is taken as (m − low)(high − m), exact for a rate and
    the most it can be otherwise. A measure without bounds is computed, not sampled: 0.
    """
    used = part[part["value"].notna() & (part["n"] > 0)]
    if condition != ALL:
        used = used[used["condition"] == condition]
    used = used[~used["question"].isin(near)] if question == ALL else used[used["question"] == question]
    degrees = float(len(used[["arm", "replicate"]].drop_duplicates())) - 2
    bounds = scale.bounds
    if bounds is None:
        return 0.0, max(degrees, 1.0)
    # Add half a success and half a failure, so that a cell of 8 zeros is not taken for exact.
    mean = (used["value"] * used["n"] + sum(bounds) / 2) / (used["n"] + 1)
    noise = (mean - bounds[0]) * (bounds[1] - mean) / used["n"]
    by_replicate = noise.groupby([used["arm"], used["replicate"]]).agg(["sum", "count"])
    by_arm = (by_replicate["sum"] / by_replicate["count"] ** 2).groupby("arm").agg(["mean", "count"])
    return float((by_arm["mean"] / by_arm["count"]).sum()), max(degrees, 1.0)


def least_half_width(half: FloatArray | float, noise: FloatArray | float, degrees: float, level: float) -> FloatArray:
    """The smallest half-width that unlimited samples could reach, elementwise.

    The spread is taken at the lower end of what the replicates allow (95%): in simulations 18–80% of the experiments
    that the spread itself would stop reach the target later, of those that this end stops 0–35%.
    """
    variance = (half / special.stdtrit(degrees, 0.5 + level / 2)) ** 2 * degrees / special.chdtri(degrees, 0.05)
    least: FloatArray = special.stdtrit(degrees, 0.5 + level / 2) * np.sqrt(np.maximum(variance - noise, 0.0))
    return least


def level_after(looks: tuple[int, ...], replicates: int, level: float = 0.95) -> float:
    """The level of every interval of a run with so many seeds an arm that looks so often: for its rule and for its report.

    Against the untuned base too, which has no replicates: there, too, it is the treatment's that are looked at again and again.
    """
    return look_level(looks, replicates, replicates, level)


@lru_cache(maxsize=32)
def look_level(looks: tuple[int, ...], treatment: int, control: int, level: float = 0.95) -> float:
    """The level for the interval at every look that keeps misses at the stop at most 1 − level.

    `treatment` and `control` count replicates. One look, or fewer than two replicates (no interval), keeps the level.
    Seconds at most; the same arguments give the same answer.
    """
    if len(looks) < 2 or min(treatment, control) < 2:
        return level
    simulated = [_simulated_looks(looks, treatment, control, spread) for spread in _SPREADS]
    good, bad = 0.0, 1 - level
    for _ in range(9):  # bisection to 1/500 of the error rate
        alpha = (good + bad) / 2 if good else bad
        if max(_worst_miss(*experiments, alpha) for experiments in simulated) <= 1 - level:
            good = alpha
            if alpha == 1 - level:
                break
        else:
            bad = alpha
            if not good:
                good = alpha / 8  # five hundred looks would not need less
    return 1 - good


def _simulated_looks(
    looks: tuple[int, ...], treatment: int, control: int, spread: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Effect, standard error and degrees of freedom [D, L] of experiments without an effect."""
    rng = np.random.default_rng(0)
    more_L = np.diff(np.array(looks, dtype=np.float64), prepend=0.0)
    arms = []
    for replicates in (treatment, control):
        between = rng.standard_normal((_SIMULATED, replicates, 1)) * spread / np.sqrt(looks[-1])
        sums = (rng.standard_normal((_SIMULATED, replicates, len(looks))) * np.sqrt(more_L)).cumsum(axis=2)
        value = between + sums / np.array(looks)
        se = value.std(axis=1, ddof=1) / np.sqrt(replicates)
        arms.append(Moments(value.mean(axis=1), se, np.full(len(looks), float(replicates))))
    diff = difference(arms[0], arms[1])
    return diff.effect, diff.se, diff.df


def _worst_miss(effect_DL: FloatArray, se_DL: FloatArray, df_DL: FloatArray, alpha: float) -> float:
    """The largest fraction, over targets, of experiments whose interval misses zero at the look they stop at."""
    # Interpolated in 1 / df, which is far faster than a quantile for each experiment.
    inverse = np.linspace(1 / df_DL.max(), 1 / df_DL.min(), 400)
    half_DL = np.interp(1 / df_DL, inverse, special.stdtrit(1 / inverse, 1 - alpha / 2)) * se_DL
    missed_DL = np.abs(effect_DL) > half_DL
    middle_L = np.median(half_DL, axis=0)
    worst = 0.0
    for target in np.geomspace(0.7 * middle_L.min(), 1.1 * middle_L.max(), _TARGETS):
        narrow_DL = half_DL <= target
        stop_D = np.where(narrow_DL.any(axis=1), narrow_DL.argmax(axis=1), half_DL.shape[1] - 1)
        worst = max(worst, float(missed_DL[np.arange(len(stop_D)), stop_D].mean()))
    return worst
