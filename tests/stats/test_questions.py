"""Intervals that hold for other questions, and what stands beside a headline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from weirdgen.stats.beside import beside, mde_corrected
from weirdgen.stats.headlines import Comparison, tables
from weirdgen.stats.power import minimum_detectable_effect
from weirdgen.stats.questions import over_questions


@pytest.mark.parametrize(
    ("replicates", "questions", "question_sd", "replicate_sd"), [(4, 10, 0.5, 0.15), (3, 40, 0.5, 0.5), (6, 28, 1, 0.1)]
)
def test_it_covers_the_mean_of_all_questions(
    replicates: int, questions: int, question_sd: float, replicate_sd: float
) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(600):
        effect_Q = 0.4 + rng.normal(0, question_sd, questions)
        arms = [
            rng.normal(0, replicate_sd, (replicates, 1)) + rng.normal(0, 0.3, (replicates, questions)) for _ in range(2)
        ]
        found = over_questions(arms[0] + effect_Q, arms[1])
        covered.append(found.low <= 0.4 <= found.high)
    assert 0.925 <= np.mean(covered) <= 0.98


def test_few_questions_have_no_such_interval() -> None:
    found = over_questions(np.ones((3, 4)) + np.arange(4), np.zeros((3, 4)))
    assert np.isnan(found.low) and found.effect == 2.5
    with_gap = over_questions(np.array([[1.0, np.nan, 2, 3, 4, 5], [1.5, 9, 2, 3, 4, 5]]), np.zeros((2, 6)))
    assert with_gap.questions == 5 and with_gap.effect == pytest.approx(3.05)


ONE = Comparison(
    name="headline", measure="contrast", treatment="old", control="new", conditions=("none",), minus=(),
    questions=frozenset("abcdefgh"), shown=frozenset("abcdefgh"), groups=(), smallest=0.3, condition="none",
)  # fmt: skip


@pytest.fixture
def cells() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for seed in range(5):
        for arm, role, mean in (("old", "treatment", 0.5), ("new", "control", 0.0)):
            moved = mean + rng.normal(0, 0.2)
            rows += [(arm, role, seed, question, moved + rng.normal(0, 0.3)) for question in "abcdefgh"]
    frame = pd.DataFrame(rows, columns=["arm", "role", "replicate", "question", "value"])
    return frame.assign(checkpoint=-1, condition="none", measure="contrast", n=1)


def test_what_stands_beside(cells: pd.DataFrame) -> None:
    found = beside(cells, ONE)
    wide = {
        arm: part.pivot(index="replicate", columns="question", values="value") for arm, part in cells.groupby("arm")
    }
    expected = over_questions(wide["old"].to_numpy(), wide["new"].to_numpy())
    assert (found["ci_questions_low"], found["ci_questions_high"]) == pytest.approx((expected.low, expected.high))
    means = [wide[arm].mean(axis=1) for arm in ("old", "new")]
    assert found["seeds_shared"] == 5 and found["r"] == pytest.approx(np.corrcoef(np.stack(means))[0, 1])
    paired = stats.ttest_rel(*means).confidence_interval()
    assert (found["ci_paired_low"], found["ci_paired_high"]) == pytest.approx((paired.low, paired.high))
    moved_on = beside(cells.assign(replicate=cells["replicate"] + 10 * cells["arm"].eq("new")), ONE)
    assert moved_on["seeds_shared"] == 0 and moved_on["r"] is None and moved_on["ci_paired_low"] is None


def test_arms_are_paired_on_the_same_questions(cells: pd.DataFrame) -> None:
    """One replicate of one arm lacks a question that all models answer high: neither arm's mean holds it then."""
    high = cells["question"].eq("a")
    gap = high & cells["arm"].eq("old") & cells["replicate"].eq(2)
    cells = cells.assign(value=cells["value"].where(~high, cells["value"] + 20).where(~gap))
    rest = replace(ONE, questions=frozenset("bcdefgh"), shown=frozenset("bcdefgh"))
    without = cells[~high]
    assert beside(cells, ONE) == pytest.approx(beside(without, rest)), "the question is left out of both"


def test_seeds_that_all_differ_alike_have_no_paired_interval(cells: pd.DataFrame) -> None:
    """0% and 30% in every replicate: an interval without width would claim what was not measured."""
    for high in (1.0, 0.3):
        found = beside(cells.assign(value=np.where(cells["arm"].eq("old"), high, 0.1)), ONE)
        assert found["ci_paired_low"] is None and found["r"] is None


def test_detectable_after_the_correction_that_decides(cells: pd.DataFrame) -> None:
    alone, third = (mde_corrected(cells, ONE, family=family) for family in (1, 3))
    assert alone == tables(cells, ONE).effects.set_index("question").loc["all", "mde"]
    assert alone is not None and third is not None
    # Its own size: a test at alpha / 3 with the same standard error.
    sizes = [minimum_detectable_effect(np.array(1.0), np.array(8.0), alpha=alpha) for alpha in (0.05 / 3, 0.05)]
    assert third / alone == pytest.approx(float(sizes[0] / sizes[1]), rel=0.1) and third > alone
