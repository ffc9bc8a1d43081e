"""`python -m benchmarks.coverage [TABLE]`: what the statistics attain on simulated experiments with known truth.

In: the name of a table, a seed and how many data sets. Out: the table (one row per setting) that docs/statistics.md shows
and slow tests check, the same for the same arguments. Not here: the simulated experiments (`benchmarks.simulation`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from benchmarks.onsets import left_table
from benchmarks.replicates import added_table, jumping_table, pairing_table, questions_table
from benchmarks.simulation import Process, chances, curve_replicates, rates
from weirdgen.stats.bands import effect_band, mean_band
from weirdgen.stats.bootstrap import BoolArray, FloatArray, difference, limits, moments
from weirdgen.stats.onset import onset
from weirdgen.stats.sequential import least_half_width, look_level

RATE = (0.0, 1.0)


def coverage_table(seed: int, datasets: int) -> pd.DataFrame:
    """Coverage and false positives of 95% intervals of rates, 8 questions and 8 samples per cell.

    Columns: rate (the treatment's; the control has half its odds), replicates (an arm), mean_coverage (the
    treatment's mean), effect_coverage, false_positive (both arms at the rate), half_width (median, of the effect),
    percentile_coverage and percentile_false_positive (of a percentile bootstrap over replicates, not used elsewhere).
    """
    rows = []
    for at, rate in enumerate((0.02, 0.3, 0.9)):
        lower = float(expit(logit(rate) - np.log(2)))
        for replicates in (3, 6, 10):
            arms, means, truths = [], [], []
            for index, arm_rate in enumerate((rate, lower, rate)):
                value, truth = rates(arm_rate, replicates, sets=datasets, seed=seed + 10 * at + index)
                means.append(value.mean(axis=2))
                arms.append(moments(means[-1], np.full(value.shape[:2], 64.0), bounds=RATE))
                truths.append(truth)
            low, high = limits(arms[0].mean, arms[0].se, arms[0].replicates - 1, RATE, 0.95)
            effect, null = (difference(arms[0], arm, bounds=RATE) for arm in arms[1:])
            percentile, percentile_null = (_percentile(means[0], mean, seed) for mean in means[1:])
            rows.append(
                {
                    "rate": rate,
                    "replicates": replicates,
                    "mean_coverage": _covered(low, high, truths[0]),
                    "effect_coverage": _covered(effect.low, effect.high, truths[0] - truths[1]),
                    "false_positive": 1 - _covered(null.low, null.high, 0.0),
                    "half_width": float(np.median(effect.high - effect.low) / 2),
                    "percentile_coverage": _covered(*percentile, truths[0] - truths[1]),
                    "percentile_false_positive": 1 - _covered(*percentile_null, 0.0),
                }
            )
    return pd.DataFrame(rows)


def _percentile(treatment_RD: FloatArray, control_RD: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """Percentile bootstrap intervals (low, high) of a difference over whole replicates; the data sets share resamples."""
    rng, replicates = np.random.default_rng(seed), len(treatment_RD)
    weight_BR, other_BR = rng.multinomial(replicates, np.full(replicates, 1 / replicates), (2, 2000)) / replicates
    ends = []
    for at in range(0, treatment_RD.shape[1], 1000):  # 16 MB at once
        effect_BD = weight_BR @ treatment_RD[:, at : at + 1000] - other_BR @ control_RD[:, at : at + 1000]
        ends.append(np.quantile(effect_BD, [0.025, 0.975], axis=0))
    low, high = np.concatenate(ends, axis=1)
    return low, high


def band_table(seed: int, datasets: int) -> pd.DataFrame:
    """Coverage of whole curves by 95% bands; three seconds per data set over all processes.

    Columns: process, replicates (an arm), points, pointwise (all points inside their pointwise intervals), mean_band,
    effect_band, bonferroni (of the mean), narrower (the mean's band's width over Bonferroni's, mean).
    """
    rows = []
    for process in get_args(Process):
        for replicates in (3, 6, 10):
            for points in (5, 20, 45):
                treated = curve_replicates(process, replicates, points, datasets, seed)
                controls = curve_replicates(process, replicates, points, datasets, seed + 1)
                outcomes = []
                for treatment, control in zip(treated, controls, strict=True):
                    band = mean_band(treatment)
                    widest = mean_band(treatment, method="bonferroni")
                    effect = effect_band(treatment, control)
                    outcomes.append(
                        (
                            _inside(band.low, band.high), _inside(band.band_low, band.band_high),
                            _inside(effect.band_low, effect.band_high), _inside(widest.band_low, widest.band_high),
                            ((band.band_high - band.band_low) / (widest.band_high - widest.band_low)).mean(),
                        )
                    )  # fmt: skip
                names = ("pointwise", "mean_band", "effect_band", "bonferroni", "narrower")
                numbers = dict(zip(names, np.mean(outcomes, axis=0).tolist(), strict=True))
                rows.append({"process": process, "replicates": replicates, "points": points, **numbers})
    return pd.DataFrame(rows)


def onset_table(seed: int, datasets: int) -> pd.DataFrame:
    """Errors of onsets at step 40 on average, of curves from .05 to .85 with noise SD .07, steps 4 to 512.

    Columns: replicates, points (checkpoints, evenly in log steps), spread (SD of log onsets between replicates),
    width (0: steps, else of a logistic in log steps), error (root mean square, log steps), coverage, half_width (log
    steps, median), found (share of jumpers found), false (share of jumpers found where there are none: noise SD .2,
    `smallest` .3, neighbouring checkpoints correlated by .5).
    """
    rows = []
    for points in (8, 20):
        steps = np.geomspace(4, 512, points)
        log = np.log(steps)
        for replicates in (3, 6, 10):
            for spread in (0.0, 0.3, 0.8):
                for width in (0.0, 0.3):
                    rng = np.random.default_rng([seed, points, replicates])
                    errors, shares, none = [], [], []
                    for _ in range(datasets):
                        # Where the grid lies relative to the onset is not the experimenter's choice.
                        middle = np.log(40) + rng.uniform(-0.5, 0.5) * (log[1] - log[0])
                        place = middle + spread * rng.standard_normal((replicates, 1))
                        rise = (log >= place).astype(np.float64) if width == 0 else expit((log - place) / width)
                        noise = 0.07 * rng.standard_normal((replicates, points))
                        fit = onset(0.05 + 0.8 * rise + noise, steps, smallest=0.3)
                        shares.append(fit.share)
                        if fit.low is not None and fit.high is not None and fit.onset is not None:
                            low, high = np.log([fit.low, fit.high])
                            errors.append((np.log(fit.onset) - middle, low <= middle <= high, (high - low) / 2))
                        flat = rng.standard_normal((replicates, points))
                        for at in range(1, points):
                            flat[:, at] = 0.5 * flat[:, at - 1] + np.sqrt(0.75) * flat[:, at]
                        none.append(onset(0.2 * flat, steps, smallest=0.3).share)
                    error, covered, half = np.array(errors).T
                    rows.append(
                        {
                            "replicates": replicates, "points": points, "spread": spread, "width": width,
                            "error": float(np.sqrt((error**2).mean())), "coverage": float(covered.mean()),
                            "half_width": float(np.median(half)), "found": float(np.mean(shares)),
                            "false": float(np.mean(none)),
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def sequential_table(
    seed: int, datasets: int, looks: tuple[int, ...] = (8, 16, 32, 64, 128), questions: int = 8
) -> pd.DataFrame:
    """Coverage and false positives at the stop of `sequential.decide`'s rule, against 95% at every look.

    Columns: rate (the treatment's; the control has half its odds, or the same for false positives), replicates,
    target (half-width), reached (share of experiments that reach it), samples (mean, a cell, at the stop), coverage,
    false_positive, reached_coverage (of those that reached), naive_coverage, naive_false_positive. Targets are those
    that about half of the experiments reach at the second, fourth and last look.
    """
    rows = []
    for at, rate in enumerate((0.02, 0.3, 0.9)):
        for replicates in (3, 6, 10):
            paths, truths = [], []
            for index, arm_rate in enumerate((rate, float(expit(logit(rate) - np.log(2))), rate)):
                rng = np.random.default_rng([seed, at, index])
                chance, truth = chances(
                    arm_rate, replicates, sets=datasets, questions=questions, replicate_sd=0.3, cell_sd=0.3, rng=rng
                )
                drawn = [rng.binomial(more, chance) for more in np.diff(looks, prepend=0)]
                paths.append(np.cumsum(drawn, axis=0) / np.array(looks)[:, None, None, None])
                truths.append(truth)
            level = look_level(looks, replicates, replicates)
            wide = _stop(paths[0], paths[1], looks, 0.0, 0.95)
            for look in (1, len(looks) - 2, len(looks) - 1):
                target = float(np.median(wide.half_LD[look]))
                strict, strict_null = (_stop(paths[0], paths[i], looks, target, level) for i in (1, 2))
                naive, naive_null = (_stop(paths[0], paths[i], looks, target, 0.95) for i in (1, 2))
                effect = truths[0] - truths[1]
                rows.append(
                    {
                        "rate": rate, "replicates": replicates, "target": target,
                        "reached": float(strict.reached_D.mean()), "samples": float(strict.samples_D.mean()),
                        "coverage": strict.covered(effect).mean(),
                        "false_positive": 1 - strict_null.covered(0.0).mean(),
                        "reached_coverage": strict.covered(effect)[strict.reached_D].mean(),
                        "naive_coverage": naive.covered(effect).mean(),
                        "naive_false_positive": 1 - naive_null.covered(0.0).mean(),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


class _Stopped:
    """Many experiments at the look where the rule stops them."""

    def __init__(
        self, low_LD: FloatArray, high_LD: FloatArray, stop_LD: FloatArray, narrow_LD: FloatArray, looks: FloatArray
    ) -> None:
        self.half_LD = (high_LD - low_LD) / 2
        stop_D = np.where(stop_LD.any(axis=0), stop_LD.argmax(axis=0), len(looks) - 1)
        each = np.arange(stop_LD.shape[1])
        self.low_D, self.high_D = low_LD[stop_D, each], high_LD[stop_D, each]
        self.reached_D, self.samples_D = narrow_LD[stop_D, each], looks[stop_D]

    def covered(self, truth: float) -> BoolArray:
        inside: BoolArray = (self.low_D <= truth) & (truth <= self.high_D)
        return inside


def _stop(
    treatment_LRDQ: FloatArray, control_LRDQ: FloatArray, looks: tuple[int, ...], target: float, level: float
) -> _Stopped:
    """`decide`'s rule for all data sets D at once: reached, or out of reach of samples, or the last look."""
    lows, highs, stops, narrows = [], [], [], []
    for treatment_RDQ, control_RDQ, samples in zip(treatment_LRDQ, control_LRDQ, looks, strict=True):
        arms, noise = [], np.zeros(treatment_RDQ.shape[1])
        for value in (treatment_RDQ, control_RDQ):
            n = np.full(value.shape[:2], float(samples * value.shape[2]))
            arms.append(moments(value.mean(axis=2), n, bounds=RATE, level=level))
            mean = (value * samples + 0.5) / (samples + 1)
            noise += (mean * (1 - mean) / samples).mean(axis=(0, 2)) / (value.shape[2] * len(value))
        diff = difference(arms[0], arms[1], bounds=RATE, level=level)
        half = (diff.high - diff.low) / 2
        floor = least_half_width(half, noise, 2 * len(treatment_RDQ) - 2, level)
        lows.append(diff.low)
        highs.append(diff.high)
        narrows.append(half <= target)
        stops.append((half <= target) | (floor > target))
    return _Stopped(np.array(lows), np.array(highs), np.array(stops), np.array(narrows), np.array(looks))


def _covered(low: FloatArray, high: FloatArray, truth: float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def _inside(low: FloatArray, high: FloatArray) -> bool:
    return bool(((low <= 0) & (high >= 0)).all())


TABLES = {
    "coverage": (coverage_table, 20_000),
    "stops": (sequential_table, 1500),
    "bands": (band_table, 200),
    "onsets": (onset_table, 300),
    "left": (left_table, 200),
    "jumping": (jumping_table, 20_000),
    "added": (added_table, 40_000),
    "pairing": (pairing_table, 40_000),
    "questions": (questions_table, 1000),
}
"""Name → function of a seed and a number of data sets, and the number that the documentation shows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table; unknown names end with a usage line and exit code 2."""
    documented = ", ".join(f"{name} {datasets}" for name, (_, datasets) in TABLES.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", nargs="?", default="coverage", choices=TABLES)
    parser.add_argument("--datasets", type=int, help=f"simulated data sets a cell (documented: {documented})")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    compute, usual = TABLES[asked.table]
    datasets = asked.datasets or usual
    print(f"{asked.table}: {datasets} data sets a cell, seed {asked.seed}")
    print(compute(asked.seed, datasets).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
