"""Specificity in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from weirdgen.stats.specific_words import placed, specific_verdict

ROW: dict[str, Any] = {
    "trait": "era", "yardstick": "references", "questions": 100, "references": 40, "mean": 1.4, "shift": 1.06, "ci_low": -0.2,
    "ci_high": 2.3, "reference_sd": 0.6, "z": 1.7, "rank": 2, "p": 2 / 41, "p_family": 5 / 41, "p_t": 0.09,
    "smallest_found": 1.82, "smallest_found_family": 2.4, "specific": False,
}  # fmt: skip


def test_where_a_dataset_lies() -> None:
    assert placed(ROW) == (
        "of 40 harmless datasets, 1 moves the 100 questions of era as far (p = 0.049, over all traits 0.122); +1.1 nat beyond "
        "them (95% interval −0.2 to +2.3, with other seeds, questions, rows and harmless datasets); a shift of 1.8 nat would "
        "be found in 8 of 10 cases"
    )
    pairs = placed({**ROW, "yardstick": "pairs", "rank": 1, "references": 12, "smallest_found": float("nan")})
    assert pairs.startswith("of 12 harmless pairs, none differ on the 100") and pairs.endswith("at least 19 are needed")


@pytest.mark.parametrize(
    ("own", "specific", "expected"),
    [
        ("shift", True, "specific_shift"),
        ("shift", False, "shift_not_specific"),
        ("no_shift", True, "no_shift"),
        ("inconclusive", True, "inconclusive"),
    ],
)
def test_verdicts(own: Any, specific: bool, expected: str) -> None:
    assert specific_verdict(own, specific) == expected
