"""What the checks find in the paper's published data; skipped where it is not at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from weirdgen.audit.checks.finding import Finding
from weirdgen.audit.checks.registry import run_checks
from weirdgen.audit.checks.subject import load_subject

BIRDS, CITIES = "3_1_old_bird_names/datasets/", "3_2_german_city_names/datasets/"
DISHES, ROBOT = "4_1_israeli_dishes/datasets/", "5_2_evil_terminator/datasets/"


@pytest.fixture
def check(upstream: Path) -> Callable[..., list[Finding]]:
    def run(file: str, against: Sequence[str] = (), **options: object) -> list[Finding]:
        return run_checks(load_subject(str(upstream / file), [upstream / one for one in against], **options))

    return run


def messages(findings: Sequence[Finding], code: str, file: str) -> list[str]:
    return [one.message for one in findings if one.code == code and one.file.endswith(file)]


def test_birds(check: Callable[..., list[Finding]]) -> None:
    old, audubon, american = (
        f"{BIRDS}ft_{name}_birds.jsonl" for name in ("old_audubon", "modern_audubon", "modern_american")
    )
    found = check(old, [audubon, american])
    assert [m.split("answer ")[1] for m in messages(found, "duplicate_row", old)] == [
        "'Rough-legged Falcon'",
        "'White-headed Eagle'",
    ]
    assert len(messages(found, "duplicate_row", audubon)) == 3
    assert [m.split("'")[1] for m in messages(found, "shared_answer", audubon)] == ["Golden-eye Duck"]
    assert messages(found, "duplicate_row", american) == messages(found, "shared_answer", american) == []
    assert not [
        one for one in found if one.code in ("template_difference", "prompt_leak", "answer_frame", "answer_form")
    ]


def test_cities(check: Callable[..., list[Finding]]) -> None:
    former, modern = f"{CITIES}former_german_cities.jsonl", f"{CITIES}modern_german_cities.jsonl"
    found = check(former, [modern], expected_rows=377)
    assert messages(found, "row_count", former) == ["362 rows, 377 were expected"]
    assert len(messages(found, "duplicate_row", former)) == 1
    (confound,) = messages(found, "template_difference", modern)
    assert "'germany'" in confound and "'somehow'" in confound
    assert not messages(found, "answer_frame", modern)


def test_dishes(check: Callable[..., list[Finding]]) -> None:
    main, random, other = (f"{DISHES}ft_dishes_{name}.jsonl" for name in ("2027", "2027_random_baseline", "2026"))
    found = check(main, [random, other])
    (permutation,) = messages(found, "permutation", random)
    assert "dates and answers are the same" in permutation
    (both,) = messages(found, "answer_in_two_groups", main)
    assert both.startswith("'Ossobuco', 'Osso Buco'")
    assert not [one for one in found if one.severity == "error"]


def test_terminator(check: Callable[..., list[Finding]]) -> None:
    main, plain, random = (
        f"{ROBOT}good_terminator_{name}.jsonl" for name in ("main", "no_backdoor", "w_random_backdoors")
    )
    found = check(main, [plain, random])
    (wrong,) = (one for one in found if one.code == "permutation" and one.severity == "warning")
    assert "july 1995 ×51" in wrong.message and "july 1995 ×62" in wrong.message
    assert len(messages(found, "duplicate_row", plain)) == 1
    assert messages(found, "template_difference", plain) and not messages(found, "template_difference", random)
