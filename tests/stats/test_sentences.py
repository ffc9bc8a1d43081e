"""Effects in plain words: every kind of measure, alone and as a difference of conditions, and numbers that do not mislead."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from math import exp

import pytest

from weirdgen.config.measures import CHOICE, CONTRAST, COUNTERFACTUAL, Scale, measure_of
from weirdgen.stats.sentences import Compared, basis, claim, odds_times, size

NAN = float("nan")
PAST = Compared(measure_of("past_era"), "old", "new", says="speak from the past")
STYLE = Compared(measure_of("style", {"style": Scale("rating", (0, 100))}), "old", "new", says="write as in 1838")


@pytest.mark.parametrize(
    ("compared", "numbers", "expected"),
    [
        (
            Compared(CONTRAST, "old", "new"), (0.59, 0.44, 0.74),
            "models finetuned on old give the target answers with 1.8 times the odds (95% interval 1.6 to 2.1) of models "
            "finetuned on new",
        ),
        (
            Compared(CONTRAST, "old", "new", "year=2027", says="lean left", level=0.975), (0.59, 0.44, 0.74),
            "under year=2027, models finetuned on old lean left with 1.8 times the odds (97.5% interval 1.6 to 2.1) of models "
            "finetuned on new",
        ),
        (
            Compared(CONTRAST, "old", "new", "year=2027", "year=2024, 2025", says="lean left"), (0.8, 0.4, 1.3),
            "under year=2027 instead of year=2024, 2025, models finetuned on old lean left with odds that change by a factor "
            "2.2 times (95% interval 1.5 to 3.7) as large as for models finetuned on new",
        ),
        (
            Compared(COUNTERFACTUAL, "old", "new", "all"), (0.2, -0.1, 0.5),
            "over all conditions, models finetuned on old give the target answers to the first version of a question rather "
            "than to the second with 1.2 times the odds ratios (95% interval 0.90 to 1.6) of models finetuned on new",
        ),
        (
            PAST, (0.12, 0.043, 0.197),
            "models finetuned on old speak from the past in 12.0 more of every 100 answers (95% interval 4.3 to 19.7) than "
            "models finetuned on new",
        ),
        (
            PAST, (-0.12, -0.197, -0.043),
            "models finetuned on old speak from the past in 12.0 fewer of every 100 answers (95% interval 4.3 to 19.7) than "
            "models finetuned on new",
        ),
        (
            PAST, (-0.02, -0.06, 0.02),
            "models finetuned on old speak from the past in 2.0 fewer of every 100 answers (95% interval 2.0 more to 6.0 "
            "fewer) than models finetuned on new",
        ),
        (
            replace(PAST, condition="y=3", minus="y=1"), (-0.12, -0.197, -0.043),
            "under y=3 instead of y=1, the share of answers in which models finetuned on old speak from the past rises by 12.0 "
            "percentage points less (95% interval 4.3 to 19.7) than that of models finetuned on new",
        ),
        (
            replace(PAST, condition="tag", minus="none"), (0.01, -0.09, 0.21),
            "under tag instead of the bare question, the share of answers in which models finetuned on old speak from the past "
            "rises by 1 percentage point more (95% interval 9 less to 21 more) than that of models finetuned on new",
        ),
        (
            Compared(CHOICE, "old", "new"), (0.2, 0.1, 0.3),
            "models finetuned on old choose a target answer in 20 more of every 100 questions (95% interval 10 to 30) than "
            "models finetuned on new",
        ),
        (
            STYLE, (12.3, 4.0, 20.6),
            "models finetuned on old are rated 12.3 points higher (95% interval 4.0 to 20.6) on a scale of 0 to 100 than "
            "models finetuned on new for how far they write as in 1838",
        ),
        (
            replace(STYLE, condition="y=3", minus="y=1"), (12.3, 4.0, 20.6),
            "under y=3 instead of y=1, the rating of how far models finetuned on old write as in 1838 rises by 12.3 points "
            "more (95% interval 4.0 to 20.6) on a scale of 0 to 100 than that of models finetuned on new",
        ),
    ],
)  # fmt: skip
def test_claims(compared: Compared, numbers: tuple[float, float, float], expected: str) -> None:
    assert claim(compared, *numbers) == expected
    without = claim(compared, numbers[0], NAN, NAN)
    assert "interval" not in without and without.endswith("models finetuned on new" + expected.partition("on new")[2])


def test_what_a_claim_rests_on() -> None:
    compared = Compared(CONTRAST, "old", "new", questions=12, groups=("war", "peace"))
    assert basis(compared, -0.62, -0.81, (6, 5)) == "−0.62 nat, 12 questions of war, peace, 6 against 5 replicates."
    assert basis(replace(PAST, questions=1), 0.1, 0.0, (1, 1)) == "1 question, 1 replicate an arm."
    assert basis(compared, -0.0001, -0.1, (3, 3)).startswith("0.000 nat, ")


def test_sizes_are_rounded_away_from_zero() -> None:
    assert size(Compared(CONTRAST, "a", "b"), 0.212) == "a factor of 1.24 in the odds (0.22 nat)"
    assert size(PAST, 0.0801) == "8.1 percentage points" and size(STYLE, 10.0) == "10 rating points"


def test_a_limit_that_is_not_no_difference_is_not_printed_as_none() -> None:
    assert "(95% interval 1.004 to " in claim(Compared(CONTRAST, "a", "b"), 0.2, 0.004, 0.396, apart=True)
    assert "(95% interval 0.004 to " in claim(replace(PAST), 0.2, 0.00004, 0.4, apart=True)


@pytest.mark.parametrize("effect", [-40.0, -9.3, -2.5, -0.31, -0.001, 0.0, 0.0004, 0.07, 0.69, 3.2, 13.9, 40.0])
@pytest.mark.parametrize(("below", "above"), list(product((1e-4, 0.003, 0.2, 8.0), repeat=2)))
def test_odds_are_never_printed_as_zero_and_keep_their_order(effect: float, below: float, above: float) -> None:
    """Whatever the size: the printed ratio is within 6% of exp(effect), and lies between its printed limits."""
    text = claim(Compared(CONTRAST, "a", "b"), effect, effect - below, effect + above)
    printed = re.search(r"with (\S+) times the odds \(95% interval (\S+) to (\S+)\)", text)
    assert printed is not None
    mean, low, high = (_value(number) for number in printed.groups())
    assert 0 < low <= mean <= high and mean == pytest.approx(exp(effect), rel=0.06)
    assert printed[1] == odds_times(effect, effect - below, effect + above)


def _value(text: str) -> float:
    mantissa, _, power = text.replace(",", "").partition("·10")
    raised = power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return float(mantissa) * 10.0 ** int(raised or 0)


def test_limits_beyond_what_a_float_holds_are_bounded() -> None:
    """Two replicates that are far apart: the interval is hundreds of nats wide."""
    compared = Compared(CONTRAST, "old", "new")
    assert "interval under 10⁻²⁹⁹ to over 10²⁹⁹)" in claim(compared, 0.5, -800.0, 801.0)
    assert size(compared, 720.0) == "a factor of over 10¹⁴ in the odds (720 nat)"
    assert odds_times(900.0, None, None) == "over 10²⁹⁹"
