"""The rule that stops sampling: decisions by hand, and what is covered at the stop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.coverage import sequential_table
from weirdgen.errors import WeirdgenError
from weirdgen.stats.estimate import estimate
from weirdgen.stats.sequential import Decision, decide, least_half_width, level_after, look_level

LOOKS = (8, 16, 32, 64)


def cells(samples: int, rate: float = 0.4, spread: float = 0.02, replicates: int = 6, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for arm, role in (("old", "treatment"), ("modern", "control")):
        for replicate in range(replicates):
            p = np.clip(rate * (1.5 if role == "treatment" else 1) + rng.normal(0, spread), 0, 1)
            for question in range(8):
                value = rng.binomial(samples, p) / samples
                rows.append((arm, role, replicate, -1, "none", f"q{question}", "past", value, samples, samples))
    columns = ["arm", "role", "replicate", "checkpoint", "condition", "question", "measure", "value", "n", "n_all"]
    return pd.DataFrame(rows, columns=columns)


def ask(frame: pd.DataFrame, target: float, looks: tuple[int, ...] = LOOKS) -> Decision:
    return decide(frame, looks, target, measure="past", treatment="old", control="modern")


def test_narrow_enough_stops_with_the_interval_of_its_level() -> None:
    found = ask(cells(16), 0.2)
    assert (found.done, found.reason, found.suggested_samples, found.samples) == (True, "reached", None, 16)
    row = estimate(cells(16), level=found.level).effects.query("question == 'all'").iloc[0]
    assert found.half_width == pytest.approx((row["ci_high"] - row["ci_low"]) / 2)
    assert found.effect == pytest.approx(row["effect"])
    assert 0.95 < found.level < 0.99


def test_the_rule_takes_the_level_of_the_report_against_the_base_too() -> None:
    """A base has one replicate, which is no reason for a milder level than the intervals of the run's report have."""
    base = cells(16, replicates=1).query("arm == 'modern'").assign(arm="base", role="base", replicate=-1)
    frame = pd.concat([cells(16).query("arm == 'old'"), base])
    found = decide(frame, LOOKS, 0.2, measure="past", treatment="old", control="base")
    assert found.level == level_after(LOOKS, 6) == ask(cells(16), 0.2).level > 0.95


def test_too_wide_goes_on_to_the_look_that_should_do() -> None:
    half = ask(cells(8), 9.0).half_width
    near, far = ask(cells(8), 0.97 * half), ask(cells(8), 0.6 * half)
    assert (near.done, near.reason, near.suggested_samples) == (False, "more_samples", 16)
    assert far.reason == "more_samples" and far.suggested_samples == 64


def test_the_last_look_ends_it() -> None:
    found = ask(cells(64), 0.001)
    assert (found.done, found.reason) == (True, "last_look")


def test_spread_between_replicates_is_not_sampled_away() -> None:
    found = ask(cells(32, spread=0.25), 0.02)
    assert (found.done, found.reason, found.suggested_samples) == (True, "replicates_needed", None)


def test_a_computed_measure_needs_replicates_not_samples() -> None:
    frame = cells(8).assign(measure="contrast", n=1, n_all=1)
    found = decide(frame, (1, 2), 1e-4, measure="contrast", treatment="old", control="modern")
    assert (found.done, found.reason) == (True, "replicates_needed")


def test_one_replicate_has_no_interval_and_samples_to_the_end() -> None:
    first, last = ask(cells(8, replicates=1), 0.1), ask(cells(64, replicates=1), 0.1)
    assert np.isnan(first.half_width) and (first.done, first.suggested_samples) == (False, 16)
    assert (last.done, last.reason) == (True, "last_look")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"looks": (16, 8)}, "ascending"),
        ({"looks": (10, 20)}, "no planned look"),
        ({"target_half_width": 0.0}, "positive"),
        ({"measure": "pirate"}, "no cells"),
        ({"condition": "year"}, "0 effects"),
    ],
)
def test_what_cannot_be_decided_is_refused(change: dict[str, object], message: str) -> None:
    options = {"looks": LOOKS, "target_half_width": 0.1, "measure": "past", "treatment": "old", "control": "modern"}
    with pytest.raises(WeirdgenError, match=message):
        decide(cells(8), **(options | change))  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_level_is_stricter_with_more_looks_and_the_same_twice() -> None:
    assert look_level((8,), 6, 6) == 0.95 and look_level((8, 16), 1, 6) == 0.95
    two, five = look_level((8, 16), 6, 6), look_level((8, 16, 32, 64, 128), 6, 6)
    assert 0.95 <= two <= five < 0.98
    look_level.cache_clear()
    assert look_level((8, 16), 6, 6) == two


def test_unlimited_samples_leave_the_spread() -> None:
    assert least_half_width(0.1, 0.0, 10.0, 0.95) < 0.1  # the lower end of the spread
    assert least_half_width(0.1, 1.0, 10.0, 0.95) == 0.0


@pytest.mark.slow
def test_stopped_experiments_are_covered_and_seldom_false() -> None:
    """`decide` itself, look after look, without an effect: the interval at the stop seldom misses zero."""
    rng = np.random.default_rng(2)
    names = [f"q{q}" for q in range(4)]
    missed = reached = 0
    sets, looks = 40, (8, 16, 32)
    for _ in range(sets):
        chance = np.clip(0.3 + rng.normal(0, 0.05, (2, 4, 1)) + rng.normal(0, 0.02, (2, 4, 4)), 0.01, 0.99)
        count, before = np.zeros((2, 4, 4)), 0
        for samples in looks:
            count += rng.binomial(samples - before, chance)
            before = samples
            frame = pd.DataFrame(
                {
                    "arm": np.repeat(["old", "modern"], 16), "role": np.repeat(["treatment", "control"], 16),
                    "replicate": np.tile(np.repeat(np.arange(4), 4), 2), "checkpoint": -1, "condition": "none",
                    "question": np.tile(names, 8), "measure": "past", "value": (count / samples).ravel(), "n": samples,
                }
            )  # fmt: skip
            found = ask(frame, 0.12, looks)
            if found.done:
                break
        missed += abs(found.effect) > found.half_width
        reached += found.reason == "reached"
    assert missed <= 4
    assert 0.2 < reached / sets < 1


@pytest.mark.slow
def test_table_of_stops() -> None:
    table = sequential_table(1, 4000)
    assert table["coverage"].between(0.935, 0.98).all()
    assert (table["false_positive"] <= 0.06).all()
    # What the stricter level is for.
    assert table["naive_coverage"].min() < table["coverage"].min()
    assert table["naive_false_positive"].max() > 0.055
