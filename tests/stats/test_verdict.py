"""The three-way rule and its sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from weirdgen.config.measures import CONTRAST, measure_of
from weirdgen.stats.sentences import Compared
from weirdgen.stats.verdict import Conclusion, decide, parts_of, undone_by_holm, verdicts

BIRDS = Compared(CONTRAST, "old_names", "modern_american", says="give 19th-century answers")


def said(effect: float, low: float | None, high: float | None, **changes: Any) -> Conclusion:
    given: dict[str, Any] = {"mde": 0.3, "replicates": (6, 6), "smallest": 0.3, "compared": BIRDS}
    return decide(effect=effect, low=low, high=high, **{**given, **changes})


def test_the_rule() -> None:
    low = np.array([0.1, -0.5, -0.1, -0.1, -0.4, 0.01, np.nan, 0.0])
    high = np.array([0.9, -0.1, 0.2, 0.31, 0.2, 0.02, np.nan, 0.2])
    expected = [
        "shift",
        "shift",
        "no_shift",
        "inconclusive",
        "inconclusive",
        "shift",
        "inconclusive",
        "no_shift",
    ]
    assert verdicts(low, high, 0.3).tolist() == expected
    unstated = ["inconclusive" if name == "no_shift" else name for name in expected]
    assert verdicts(low, high, None).tolist() == unstated


def test_a_question_must_survive_the_correction() -> None:
    found = verdicts(np.array([0.1, 0.01, -0.1]), np.array([0.9, 0.2, 0.1]), 0.3, np.array([0.01, 0.2, 1.0]))
    assert found.tolist() == ["shift", "inconclusive", "no_shift"]


@pytest.mark.parametrize(
    ("arguments", "changes", "expected"),
    [
        (
            (0.62, 0.43, 0.81), {},
            "Shift found: models finetuned on old_names give 19th-century answers with 1.9 times the odds (95% interval 1.5 "
            "to 2.2) of models finetuned on modern_american. +0.62 nat, 6 replicates an arm.",
        ),
        (
            (-0.62, -0.81, -0.43), {"replicates": (6, 5)},
            "Shift found: models finetuned on old_names give 19th-century answers with 0.54 times the odds (95% interval 0.44 "
            "to 0.65) of models finetuned on modern_american. −0.62 nat, 6 against 5 replicates.",
        ),
        (
            (0.15, 0.04, 0.26), {},
            "Shift found: models finetuned on old_names give 19th-century answers with 1.16 times the odds (95% interval 1.04 "
            "to 1.30) of models finetuned on modern_american; the whole interval lies within the smallest effect of interest, "
            "a factor of 1.35 in the odds (0.30 nat). +0.15 nat, 6 replicates an arm.",
        ),
        (
            (0.05, -0.112, 0.212), {},
            "No shift above a factor of 1.24 in the odds (0.22 nat): models finetuned on old_names give 19th-century answers "
            "with 1.05 times the odds (95% interval 0.89 to 1.24) of models finetuned on modern_american; with 6 such "
            "replicates, up to 46% of seeds could still shift (10 would leave 31%). +0.05 nat, 6 replicates an arm.",
        ),
        (
            (0.1, -0.31, 0.51), {"mde": 0.821, "replicates": (3, 3)},
            "Inconclusive: models finetuned on old_names give 19th-century answers with 1.1 times the odds (95% interval 0.73 "
            "to 1.7) of models finetuned on modern_american; an effect below a factor of 2.3 in the odds (0.83 nat) could not "
            "have been seen reliably (80% power). +0.10 nat, 3 replicates an arm.",
        ),
        (
            (0.3, None, None), {"mde": None, "replicates": (1, 3)},
            "Within-model only: models finetuned on old_names give 19th-century answers with 1.3 times the odds of models "
            "finetuned on modern_american; one replicate shows no spread between models, hence no interval. +0.30 nat, 1 "
            "against 3 replicates.",
        ),
        (
            (0.3, 0.1, 0.5), {"p_holm": 0.2},
            "Inconclusive: models finetuned on old_names give 19th-century answers with 1.3 times the odds (95% interval 1.1 "
            "to 1.6) of models finetuned on modern_american; zero is not excluded after Holm's correction. +0.30 nat, 6 "
            "replicates an arm.",
        ),
        (
            (0.3, 0.1, 0.5), {"compared": replace(BIRDS, control="base"), "replicates": (3, 1)},
            "Shift found: models finetuned on old_names give 19th-century answers with 1.3 times the odds (95% interval 1.1 "
            "to 1.6) of the untuned base; any finetuning moves answers away from the base's. +0.30 nat, 3 replicates.",
        ),
    ],
)  # fmt: skip
def test_sentences(arguments: tuple[Any, ...], changes: dict[str, Any], expected: str) -> None:
    found = said(*arguments, **changes)
    assert found.sentence == expected
    prefix = {"Shift found": "shift", "No shift above": "no_shift"}
    assert found.verdict == next((name for start, name in prefix.items() if expected.startswith(start)), "inconclusive")


def test_a_shift_of_interest_is_not_called_small() -> None:
    for effect, low, high in ((0.31, 0.1, 0.52), (-0.31, -0.52, -0.1)):
        assert "smallest effect of interest" not in said(effect, low, high).sentence
    assert "smallest effect of interest" not in said(0.15, 0.04, 0.26, smallest=None).sentence


def test_no_shift_of_a_rate_needs_ten_replicates() -> None:
    """Seeds that do not jump all agree on 0%, so that the interval says nothing of those that would."""
    rate = replace(BIRDS, measure=measure_of("past"))
    few = said(0.0, -0.017, 0.017, compared=rate, smallest=0.1, replicates=(4, 4))
    assert few.verdict == "inconclusive" and few.sentence.startswith("Inconclusive: models finetuned on old_names")
    assert (
        "; none seen above 1.7 percentage points, but with 4 such replicates, up to 60% of seeds could still shift (10 would "
        "leave 31%), and the rates of the others tell nothing of them. 4 replicates an arm." in few.sentence
    )
    assert said(0.0, -0.017, 0.017, compared=rate, smallest=0.1, replicates=(10, 9)).verdict == "inconclusive"
    assert said(0.0, -0.017, 0.017, compared=rate, smallest=0.1, replicates=(10, 10)).verdict == "no_shift"
    assert said(0.0, -0.017, 0.017, smallest=0.1, replicates=(4, 4)).verdict == "no_shift"  # in nats seeds always vary


def test_what_is_unusable_is_said_and_may_decide() -> None:
    rate = replace(BIRDS, measure=measure_of("past"), usable=True)
    told = said(0.6, 0.5, 0.7, compared=rate, aside="of few answers")
    assert told.verdict == "shift" and "more of every 100 usable answers" in told.sentence
    assert "; of few answers. " in told.sentence
    undecided = said(0.6, 0.5, 0.7, compared=rate, aside="of few answers", undecided=True)
    assert undecided.verdict == "inconclusive" and undecided.sentence.startswith("Inconclusive: ")


def test_what_is_detectable_is_said_after_the_correction() -> None:
    plain, corrected = (said(0.1, -0.31, 0.51, mde=0.821, mde_corrected=mde).sentence for mde in (None, 1.2))
    assert "below a factor of 2.3 in the odds (0.83 nat) could not have been seen reliably (80% power)" in plain
    assert (
        "(1.2 nat) could not have been seen reliably after the correction for how many effects there are" in corrected
    )


def test_identical_and_missing_replicates_are_said() -> None:
    assert said(0.1, -0.5, 0.7, mde=None).sentence.endswith("modern_american. +0.10 nat, 6 replicates an arm.")
    assert "identical" in said(0.3, float("nan"), float("nan"), mde=float("nan")).sentence
    missing = said(float("nan"), None, None, mde=None).sentence
    assert missing.startswith("Not measured: models finetuned on old_names against models finetuned on modern_american")
    assert parts_of(missing) == (missing, "")


def test_what_was_found_and_what_it_rests_on_can_be_told_apart() -> None:
    spelled = replace(BIRDS, says="write as in the U.S. of 1838")
    found, rests_on = parts_of(said(0.62, 0.43, 0.81, compared=spelled).sentence)
    assert rests_on == "+0.62 nat, 6 replicates an arm." and found.endswith("of models finetuned on modern_american.")
    undone = undone_by_holm(said(0.62, 0.43, 0.81).sentence, 3)
    assert undone.startswith("Inconclusive: models") and undone.endswith(
        "modern_american; zero is not excluded after Holm's correction over 3 effects. +0.62 nat, 6 replicates an arm."
    )
