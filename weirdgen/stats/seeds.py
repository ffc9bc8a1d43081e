"""What few replicates cannot show: seeds that jump, seeds added after looking, arms that share their seeds.

In: counts of replicates, or replicate means of two arms. Out: shares, `Pairing`. Not here: intervals over replicates
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
could still jump, and below `ENOUGH_FOR_NO_SHIFT` replicates, where that is more than a third, asks for more. Of rates and
ratings, where seeds that do not jump agree altogether (simulated in `bootstrap`), it is not said below that number at all.

**Seeds added after looking.** Adding seeds because the interval includes zero, and stopping once it does not, is wrong in more
than 5% (4, then 6, then 12 replicates: 10%; `benchmarks.coverage added`). Nothing here corrects for it: which looks there were
is known to who looked, not to the store.

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
of freedom; seeds of its own for each arm would be right and lose nothing but a correlation that nobody knows beforehand. The arms
of a run do share their seeds (`runs.plan.plan` trains each arm with each seed). So the paired interval stands beside, with r, and
a shift that it does not confirm is not sure.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from weirdgen.stats.bootstrap import FloatArray, limits, moments

ENOUGH_FOR_NO_SHIFT = 10
"""From it on less than a third of seeds could jump unseen."""


class Pairing(NamedTuple):
    """Treatment − control by seed; the limits hold whatever the correlation between arms is."""

    r: float
    """Correlation between the arms over seeds; NaN below three seeds."""
    effect: float
    low: float
    high: float
    """NaN below two seeds, and where all seeds differ by the same: there `effect` stands alone."""


def share_that_could_jump(replicates: int, jumped: int = 0, level: float = 0.95) -> float:
    """The upper end of Clopper and Pearson's interval: the share of seeds that may jump where `jumped` of them did."""
    if not 0 <= jumped <= replicates:
        raise ValueError(f"share_that_could_jump: {jumped} of {replicates} replicates")
    if jumped == replicates:
        return 1.0
    return float(special.betaincinv(jumped + 1, replicates - jumped, 0.5 + level / 2))


def pairing(treatment_R: FloatArray, control_R: FloatArray, level: float = 0.95) -> Pairing:
    """A paired t interval of two arms' replicate means [R], given in the same order of seeds. NaN where unknown."""
    if treatment_R.shape != control_R.shape:
        raise ValueError(f"pairing: {len(treatment_R)} against {len(control_R)} replicates; each seed needs both")
    both = np.isfinite(treatment_R) & np.isfinite(control_R)
    one, other = treatment_R[both], control_R[both]
    if not len(one):
        return Pairing(*[float("nan")] * 4)
    change = moments(one - other)
    low, high = limits(change.mean, change.se, change.replicates - 1, None, level)
    varied = len(one) > 2 and np.isfinite([moments(one).se, moments(other).se]).all()
    r = float(np.corrcoef(one, other)[0, 1]) if varied else float("nan")
    return Pairing(r, float(change.mean), float(low), float(high))


def jumping_words(replicates: int) -> str:
    """What "no shift" must say of seeds: how many could still jump, and what more replicates would leave. No full stop."""
    share = 100 * share_that_could_jump(replicates)
    said = f"with {replicates} such replicate{'s' if replicates > 1 else ''}, up to {share:.0f}% of seeds could still shift"
    enough = f"{ENOUGH_FOR_NO_SHIFT} would leave {100 * share_that_could_jump(ENOUGH_FOR_NO_SHIFT):.0f}%"
    return said if replicates >= ENOUGH_FOR_NO_SHIFT else f"{said} ({enough})"
