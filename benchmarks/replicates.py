"""Tables for `benchmarks.coverage`: what few replicates cannot show, and what is said instead.

In: a seed and how many data sets. Out: a row a setting. Not here: coverage of the plain intervals (`benchmarks.coverage`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from weirdgen.stats.bootstrap import FloatArray, difference, moments
from weirdgen.stats.questions import over_questions
from weirdgen.stats.seeds import share_that_could_jump
from weirdgen.stats.tests import t_p
from weirdgen.stats.verdict import verdicts

_RATE = (0.0, 1.0)


def jumping_table(seed: int, datasets: int) -> pd.DataFrame:
    """How often an interval would do for "no shift" where a share of the treatment's seeds jumps and no seed of the control does.

    Columns: share, replicates (an arm), could_jump (what the sentence says), nats (jumps of 2, SD between replicates .15,
    smallest .3), rates (.9 instead of .002, 50 answers, smallest .1), rates_by_samples (where arms that do not vary count
    samples, as the tables of runs do), rates_400 and rates_400_by_samples (8 questions of 50 answers). Below 10 replicates no
    verdict rests on those of rates. With a share of .1 the mean effect is below the smallest of interest: "no shift" is right.
    """
    rows = []
    for share in (0.1, 0.2, 0.3):
        for replicates in (2, 3, 4, 6, 8, 10, 14):
            rng = np.random.default_rng([seed, round(100 * share), replicates])
            jumps = rng.random((replicates, datasets)) < share
            nats = [rng.normal(0, 0.15, jumps.shape) + 2 * jumps, rng.normal(0, 0.15, jumps.shape)]
            found = {}
            for answers, name in ((50, "rates"), (400, "rates_400")):
                sides = (jumps, np.zeros_like(jumps))
                rates = [rng.binomial(answers, np.where(side, 0.9, 0.002)) / answers for side in sides]
                found[name] = _no_shift(rates, _RATE, None, 0.1)
                found[f"{name}_by_samples"] = _no_shift(rates, _RATE, np.full(jumps.shape, float(answers)), 0.1)
            rows.append(
                {
                    "share": share, "replicates": replicates, "could_jump": share_that_could_jump(replicates),
                    "nats": _no_shift(nats, None, None, 0.3), **found,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _no_shift(
    arms: list[FloatArray], bounds: tuple[float, float] | None, n: FloatArray | None, smallest: float
) -> float:
    one, other = (moments(arm, n, bounds=bounds) for arm in arms)
    found = difference(one, other, bounds=bounds)
    return float((verdicts(found.low, found.high, smallest) == "no_shift").mean())


def added_table(seed: int, datasets: int) -> pd.DataFrame:
    """How often an experiment without an effect excludes zero at some look where seeds are added while it does not.

    Columns: looks (replicates an arm), false (95% intervals at every look).
    """
    rows = []
    for looks in ((4, 6), (4, 8), (6, 12), (4, 6, 12), (3, 4, 5, 6, 8, 10)):
        rng = np.random.default_rng([seed, *looks])
        arms = rng.standard_normal((2, looks[-1], datasets))
        found = [difference(*(moments(arm[:count]) for arm in arms)) for count in looks]
        p = np.stack([t_p(one.effect, one.se, one.df) for one in found])
        rows.append({"looks": ", ".join(map(str, looks)), "false": (p.min(axis=0) < 0.05).mean()})
    return pd.DataFrame(rows)


def pairing_table(seed: int, datasets: int) -> pd.DataFrame:
    """False positives and power (at 2 SD between replicates) where arms share their seeds and correlate by r.

    Columns: replicates, r, and for each of welch, paired and own (seeds of its own for each arm, Welch): _false, _power.
    """
    rows = []
    for replicates in (3, 4, 6, 10):
        for r in (-0.9, -0.5, 0.0, 0.5, 0.9):
            rng = np.random.default_rng([seed, replicates, round(10 * r) + 10])
            one, rest, apart = rng.standard_normal((3, replicates, datasets))
            other = r * one + np.sqrt(1 - r * r) * rest
            row: dict[str, float] = {"replicates": replicates, "r": r}
            for name, effect in (("false", 0.0), ("power", 2.0)):
                for how, control in (("welch", other), ("own", apart)):
                    found = difference(moments(one + effect), moments(control))
                    row[f"{how}_{name}"] = float((t_p(found.effect, found.se, found.df) < 0.05).mean())
                change = moments(one + effect - other)
                row[f"paired_{name}"] = float((t_p(change.mean, change.se, change.replicates - 1) < 0.05).mean())
            rows.append(row)
    return pd.DataFrame(rows)


def questions_table(seed: int, datasets: int) -> pd.DataFrame:
    """Coverage of a mean over all questions of their kind; SD of the effect between questions .5 and 1, of a cell .3.

    Columns: replicates, questions, question_sd, replicate_sd, coverage, half_width (median), over_replicates (coverage of
    the interval over replicates alone, which is for these very questions).
    """
    rows = []
    for replicates in (3, 4, 6):
        for questions in (10, 28, 100):
            for question_sd, replicate_sd in ((0.5, 0.15), (1.0, 0.15), (0.5, 0.5)):
                rng = np.random.default_rng([seed, replicates, questions, round(10 * question_sd)])
                covered, widths, plain = [], [], []
                for _ in range(datasets):
                    arms = [
                        rng.normal(0, replicate_sd, (replicates, 1)) + rng.normal(0, 0.3, (replicates, questions))
                        for _ in range(2)
                    ]
                    arms[0] += rng.normal(0, question_sd, questions)
                    found = over_questions(arms[0], arms[1])
                    covered.append(found.low <= 0 <= found.high)
                    widths.append((found.high - found.low) / 2)
                    usual = difference(moments(arms[0].mean(axis=1)), moments(arms[1].mean(axis=1)))
                    plain.append(usual.low <= 0 <= usual.high)
                rows.append(
                    {
                        "replicates": replicates, "questions": questions, "question_sd": question_sd,
                        "replicate_sd": replicate_sd, "coverage": np.mean(covered), "half_width": np.median(widths),
                        "over_replicates": np.mean(plain),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)
