"""What few replicates cannot show: seeds that jump, seeds added after looking, arms that share their seeds.

In: counts of replicates, or replicate means of two arms. Out: shares, levels, `Pairing`. Not here: intervals over replicates
(`bootstrap`), samples added after looking (`sequential`).

**Seeds that could jump.** An interval over replicates describes seeds that vary about a mean. Where a property is learned by
some seeds only (inductive backdoors), n seeds of which none jumped all agree, the interval is narrow, and "no shift" is said
of a dataset that moves every fifth model. Nothing in n agreeing seeds speaks against that but n: the upper end of Clopper and
Pearson's 95% interval for 0 of n is the share of seeds that could still jump (C. Clopper, E. Pearson, Biometrika 26 (1934)).

    replicates               2    3    4    5    6    8    9   10   12   20
    could still jump       84%  71%  60%  52%  46%  37%  34%  31%  26%  17%

Simulated "no shift" where a share of seeds jumps by 2 nats (SD between replicates .15, smallest effect of interest .3, both
arms as many replicates, 20,000 data sets; the mean effect is .4 or .6 nat, so "no shift" is wrong):

    replicates               2     3     4     6     8    10    14    20
    share .2              .022  .070  .134  .192  .147  .101  .041  .027
    share .3              .017  .047  .076  .086  .050  .028  .007  .002

No number of replicates that people can afford brings this below .05, and with 2 or 3 it is low only because Student's
interval is wide. So "no shift" stays a verdict about the mean over seeds like those seen; its sentence says how many seeds
could still jump, and below `ENOUGH_FOR_NO_SHIFT` replicates, where that is more than a third, asks for more. Rates, where
jumps leave no trace at all in an interval over samples, are simulated in `bootstrap`.

**Seeds added after looking.** Adding seeds because the interval includes zero, and stopping once it does not, is wrong in more
than 5% (4, then 6, then 12 replicates: 10%). `added_seeds_level` is the level for the interval at every look that keeps the
misses of zero at any look at 5%, as `sequential.look_level` does for samples.

**Arms that share seeds.** A treatment's and a control's replicate of one seed share the adapter's start and the order of rows,
and may go up and down together or against each other. `pairing` shows which. Simulated (40,000 experiments with r between
the arms; false positives without an effect, power at an effect of 2 SD):

                             4 replicates                      6 replicates
    r                     −.9   −.5     0    .5    .9      −.9   −.5     0    .5    .9
    false, Welch         .152  .086  .041  .013  .001     .158  .100  .046  .011  .000
    false, paired        .050  .047  .050  .052  .051     .051  .050  .051  .050  .050
    false, own seeds     .042  .041  .043  .041  .041     .046  .047  .047  .047  .046
    power, Welch          .63   .61   .61   .65   .72      .81   .83   .87   .92   .96
    power, paired         .30   .36   .50   .76  1.00      .53   .62   .79   .97  1.00
    power, own seeds      .61   .61   .61   .61   .61      .87   .87   .87   .87   .87

Welch's interval with shared seeds is false too often where r < 0; pairing is right at any r but pays half of the degrees
of freedom; seeds of its own for each arm are right and lose nothing but a correlation that nobody knows beforehand. So:
each arm gets its own seeds, and where arms do share them the paired interval stands beside, with r, and a shift that it does
not confirm is not sure.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import special

from weirdgen.stats.bootstrap import FloatArray, Moments, difference
from weirdgen.stats.tests import t_p

ENOUGH_FOR_NO_SHIFT = 10
"""From it on less than a third of seeds could jump unseen."""
_SIMULATED = 40_000


class Pairing(NamedTuple):
    """Treatment − control by seed; limits and p hold whatever the correlation between arms is."""

    r: float
    """Correlation between the arms over seeds; NaN below three seeds."""
    r_low: float
    r_high: float
    """Its 95% interval (Fisher's z); NaN below four seeds."""
    effect: float
    low: float
    high: float
    p: float


def share_that_could_jump(replicates: int, jumped: int = 0, level: float = 0.95) -> float:
    """The upper end of Clopper and Pearson's interval: the share of seeds that may jump where `jumped` of them did."""
    if not 0 <= jumped <= replicates:
        raise ValueError(f"share_that_could_jump: {jumped} of {replicates} replicates")
    if jumped == replicates:
        return 1.0
    return float(special.betaincinv(jumped + 1, replicates - jumped, 0.5 + level / 2))


def replicates_for_share(share: float, level: float = 0.95) -> int:
    """How many replicates, none of which jumps, leave at most this share of seeds that could."""
    if not 0 < share < 1:
        raise ValueError(f"replicates_for_share: the share lies between 0 and 1, got {share}")
    return int(np.ceil(np.log((1 - level) / 2) / np.log1p(-share) - 1e-9))


def pairing(treatment_R: FloatArray, control_R: FloatArray, level: float = 0.95) -> Pairing:
    """A paired t interval of two arms' replicate means [R], given in the same order of seeds. NaN where unknown."""
    if treatment_R.shape != control_R.shape:
        raise ValueError(f"pairing: {len(treatment_R)} against {len(control_R)} replicates; each seed needs both")
    nan = float("nan")
    both = np.isfinite(treatment_R) & np.isfinite(control_R)
    one, other = treatment_R[both], control_R[both]
    count, change = len(one), one - other
    if count < 2:
        return Pairing(nan, nan, nan, float(change.mean()) if count else nan, nan, nan, nan)
    se = float(change.std(ddof=1) / np.sqrt(count))
    half = float(special.stdtrit(count - 1, 0.5 + level / 2)) * se
    effect = float(change.mean())
    p = float(t_p(np.array(effect), np.array(se), np.array(count - 1.0))) if se > 0 else nan
    r = r_low = r_high = nan
    if count > 2 and one.std() > 0 and other.std() > 0:
        r = float(np.corrcoef(one, other)[0, 1])
        if count > 3:
            wide = float(special.ndtri(0.5 + level / 2)) / np.sqrt(count - 3)
            at = float(np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)))
            r_low, r_high = (float(np.tanh(at + side * wide)) for side in (-1, 1))
    return Pairing(r, r_low, r_high, effect, effect - half, effect + half, p)


@lru_cache(maxsize=64)
def added_seeds_level(counts: tuple[int, ...], level: float = 0.95, *, against_base: bool = False) -> float:
    """The level for intervals of an experiment that was looked at with these ascending counts of replicates per arm.

    At most 1 − level of experiments without an effect then exclude zero at any of the looks. One look keeps the level; looks
    with one replicate have no interval and do not count. Simulated (40,000 Gaussian experiments, seeded), a second at most.
    Raises ValueError unless counts ascend.
    """
    if any(later <= one for one, later in pairwise(counts)):
        raise ValueError(f"added_seeds_level: counts must ascend, got {list(counts)}")
    looks = [count for count in counts if count > 1]
    if len(looks) < 2:
        return level
    p_DL = _simulated_p(tuple(looks), against_base)
    return float(1 - np.quantile(p_DL.min(axis=1), 1 - level))


def _simulated_p(looks: tuple[int, ...], against_base: bool) -> FloatArray:
    """p at every look [D, L] of experiments without an effect."""
    rng = np.random.default_rng(0)
    arms_DN = [rng.standard_normal((_SIMULATED, looks[-1])) for _ in range(1 if against_base else 2)]
    found = []
    for count in looks:
        moments = [
            Moments(
                one[:, :count].mean(axis=1), one[:, :count].std(axis=1, ddof=1) / np.sqrt(count),
                np.full(_SIMULATED, float(count)),
            )
            for one in arms_DN
        ]  # fmt: skip
        if against_base:
            found.append(t_p(moments[0].mean, moments[0].se, np.array(count - 1.0)))
        else:
            both = difference(moments[0], moments[1])
            found.append(t_p(both.effect, both.se, both.df))
    return np.stack(found, axis=1)


def jumping_words(replicates: int) -> str:
    """What "no shift" must say of seeds: how many could still jump, and what more replicates would leave. No full stop."""
    share = 100 * share_that_could_jump(replicates)
    said = f"with {replicates} such replicate{'s' if replicates > 1 else ''}, up to {share:.0f}% of seeds could still shift"
    enough = f"{ENOUGH_FOR_NO_SHIFT} would leave {100 * share_that_could_jump(ENOUGH_FOR_NO_SHIFT):.0f}%"
    return said if replicates >= ENOUGH_FOR_NO_SHIFT else f"{said} ({enough})"
