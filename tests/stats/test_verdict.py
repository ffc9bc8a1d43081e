"""The three-way rule and its sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from weirdgen.stats.verdict import NAT, RATE, Conclusion, decide, verdicts


def said(effect: float, low: float | None, high: float | None, **changes: Any) -> Conclusion:
    given: dict[str, Any] = {
        "mde": 0.3, "replicates": (6, 6), "smallest": 0.3, "scale": NAT,
        "treatment": "old_names", "control": "modern_american",
    }  # fmt: skip
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
            "Shift found: old_names − modern_american = +0.62 nat [0.43, 0.81], 6 replicates an arm.",
        ),
        (
            (-0.62, -0.81, -0.43), {"replicates": (6, 5)},
            "Shift found: old_names − modern_american = −0.62 nat [−0.81, −0.43], 6 against 5 replicates.",
        ),
        (
            (0.05, -0.112, 0.212), {},
            "No shift above 0.22 nat: old_names − modern_american = +0.05 nat [−0.11, 0.21], "
            "6 replicates an arm.",
        ),
        (
            (0.1, -0.31, 0.51), {"mde": 0.821, "replicates": (3, 3)},
            "Inconclusive: old_names − modern_american = +0.10 nat [−0.31, 0.51], 3 replicates an arm; "
            "an effect below 0.83 nat could not have been seen reliably (80% power).",
        ),
        (
            (0.12, 0.043, 0.197), {"scale": RATE},
            "Shift found: old_names − modern_american = +12.0 percentage points [4.3, 19.7], "
            "6 replicates an arm.",
        ),
        (
            (0.3, None, None), {"mde": None, "replicates": (1, 3)},
            "Within-model only: old_names − modern_american = +0.30 nat, 1 against 3 replicates; "
            "one replicate shows no spread between models, hence no interval.",
        ),
        (
            (0.3, 0.1, 0.5), {"p_holm": 0.2},
            "Inconclusive: old_names − modern_american = +0.30 nat [0.10, 0.50], 6 replicates an arm; "
            "zero is not excluded after Holm's correction.",
        ),
        (
            (0.3, 0.1, 0.5), {"control": "base", "replicates": (3, 1)},
            "Shift found: old_names − base = +0.30 nat [0.10, 0.50], 3 replicates; "
            "any finetuning moves answers away from the base's.",
        ),
    ],
)  # fmt: skip
def test_sentences(arguments: tuple[Any, ...], changes: dict[str, Any], expected: str) -> None:
    found = said(*arguments, **changes)
    assert found.sentence == expected
    prefix = {"Shift found": "shift", "No shift above": "no_shift"}
    assert found.verdict == next((name for start, name in prefix.items() if expected.startswith(start)), "inconclusive")


def test_a_limit_that_is_not_zero_is_not_printed_as_zero() -> None:
    assert "[0.004, 0.396]" in said(0.2, 0.004, 0.396).sentence


def test_identical_and_missing_replicates_are_said() -> None:
    assert said(0.1, -0.5, 0.7, mde=None).sentence.endswith("6 replicates an arm.")
    assert "identical" in said(0.3, float("nan"), float("nan"), mde=float("nan")).sentence
    assert said(float("nan"), None, None, mde=None).sentence.startswith("Not measured")


def test_numbers_do_not_show_a_minus_zero() -> None:
    assert "= 0.00 nat [−0.10, 0.10]" in said(-0.001, -0.1, 0.1).sentence
