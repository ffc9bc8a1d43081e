"""Simulated experiments with known truth, many data sets at once.

In: sizes, the spread between replicates and cells, a seed. Out: arrays of rates or curves, the same for the same arguments,
and the truth behind them. Not here: what the statistics make of them (`benchmarks.coverage`, tests of `weirdgen.stats`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import expit, logit

from weirdgen.stats.bootstrap import FloatArray

Process = Literal["white", "common", "smooth", "walk", "jump"]


def rates(
    rate: float,
    replicates: int,
    *,
    sets: int,
    questions: int = 8,
    samples: int = 8,
    replicate_sd: float = 0.3,
    cell_sd: float = 0.3,
    seed: int,
) -> tuple[FloatArray, float]:
    """Rates of many data sets at once: shape (replicates, data sets, questions), and the true mean over questions.

    Logit normal replicates and replicate-by-question deviations around a fixed battery (logit SD 1 between
    questions); binomial sampling inside cells.
    """
    rng = np.random.default_rng(seed)
    p, truth = chances(
        rate, replicates, sets=sets, questions=questions, replicate_sd=replicate_sd, cell_sd=cell_sd, rng=rng
    )
    return rng.binomial(samples, p) / samples, truth


def chances(
    rate: float,
    replicates: int,
    *,
    sets: int,
    questions: int,
    replicate_sd: float,
    cell_sd: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, float]:
    """The probability behind each cell of `rates`, and the true mean."""
    battery_Q = np.random.default_rng(99).normal(0, 1, questions) + logit(rate)
    truth = expit(battery_Q + rng.normal(0, np.hypot(replicate_sd, cell_sd), (100_000, 1))).mean()
    logits = battery_Q + rng.normal(0, replicate_sd, (replicates, sets, 1))
    return expit(logits + rng.normal(0, cell_sd, (replicates, sets, questions))), float(truth)


def curve_replicates(process: Process, replicates: int, points: int, sets: int, seed: int) -> FloatArray:
    """Replicates' curves [sets, replicates, points] around a true mean of zero.

    white: independent points. common: correlation .8 between all. smooth: correlation .8 with a Gaussian kernel of
    .3 of the axis. walk: a random walk. jump: a logistic of width .05 of the axis at a place of its own (SD .15).
    """
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, points)
    noise = rng.standard_normal((sets, replicates, points))
    if process == "white":
        return noise
    if process == "walk":
        walk: FloatArray = noise.cumsum(axis=2)
        return walk
    if process == "common":
        common: FloatArray = np.sqrt(0.8) * rng.standard_normal((sets, replicates, 1)) + np.sqrt(0.2) * noise
        return common
    if process == "smooth":
        kernel = 0.8 * np.exp(-0.5 * ((x[:, None] - x) / 0.3) ** 2) + 0.2 * np.eye(points)
        smooth: FloatArray = noise @ np.linalg.cholesky(kernel).T
        return smooth
    place = 0.5 + 0.15 * rng.standard_normal((sets, replicates, 1))
    places = 0.5 + 0.15 * np.random.default_rng(5).standard_normal((200_000, 1))
    jump: FloatArray = expit((x - place) / 0.05) + 0.05 * noise - expit((x - places) / 0.05).mean(axis=0)
    return jump


def shifts(
    datasets: int,
    questions: int,
    *,
    sets: int,
    traits: int = 1,
    replicates: int = 1,
    common_sd: float = 0.5,
    flattening: float = 0.15,
    question_sd: float = 1.9,
    rows_sd: float = 0.22,
    replicate_sd: float = 0.15,
    cell_sd: float = 0.4,
    base_mean: float = 0.0,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """Shifts [sets, datasets, replicates, traits, questions] of harmless datasets in nats, and the questions' base log-odds.

    Measured spreads (embedded default, 15 datasets of 208 rows): a part common to a trait's questions (`common_sd`); a part
    that moves log-odds towards 0 by a share of them (`flattening`, SD between datasets, mean .2); each question for reasons of
    its own (`question_sd`, itself unequal between questions); the rows that were drawn and the replicate, common to a
    trait's questions; and a replicate's own deviation on a question (`cell_sd`). Datasets differ in how far they move
    everything (log SD .35).
    """
    rng = np.random.default_rng(seed)
    base = rng.normal(base_mean, 2.5, (sets, 1, 1, traits, questions))
    amplitude = np.exp(rng.normal(0, 0.35, (sets, datasets, 1, 1, 1)) - 0.35**2)
    own_sd = question_sd * np.exp(rng.normal(0, 0.4, base.shape) - 0.4**2)
    per_trait = (sets, datasets, 1, traits, 1)
    moved = rng.normal(0, common_sd, per_trait) - np.abs(rng.normal(0.2, flattening, (sets, datasets, 1, 1, 1))) * base
    moved = moved + own_sd * rng.standard_normal((sets, datasets, 1, traits, questions))
    value = rng.normal(0, 0.5, base.shape) + amplitude * moved + rng.normal(0, rows_sd, per_trait)
    if replicates:
        value = value + rng.normal(0, replicate_sd, (sets, datasets, replicates, traits, 1))
        value = value + rng.normal(0, cell_sd, (sets, datasets, replicates, traits, questions))
    return value, base[:, 0, 0]
