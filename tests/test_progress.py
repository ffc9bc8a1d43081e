"""The rate and the time left are of what is being done now."""

from __future__ import annotations

import pytest

from weirdgen.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a test sets."""
    now = [100.0]
    monkeypatch.setattr("weirdgen.progress.time.monotonic", lambda: now[0])
    return now


def test_steps_that_a_resumed_training_tells_at_once_are_no_part_of_its_rate(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress().stage("finetune", 1000, "steps", before=600) as bar:
        clock[0] += 8.0  # the model is loaded
        for _ in range(600):
            bar.advance()
        for _ in range(20):
            clock[0] += 1.0
            bar.advance(2)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "finetune: 604/1000 steps, 2.0/s, 3 min 18 s left", told
    assert told[-1] == "finetune: 40 steps done after 28 s; 600 were done before"


def test_what_came_with_the_first_is_no_part_of_the_rate(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress().stage("traits", 400, "questions") as bar:
        clock[0] += 60.0  # the model is loaded, and the first of them is slow
        bar.advance(10)
        clock[0] += 20.0
        bar.advance(100)
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == [
        "traits: 10/400 questions, ?/s, ? left",
        "traits: 110/400 questions, 5.0/s, 58 s left",
    ]


def test_before_anything_is_done_no_time_is_guessed(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress().stage("finetune", 400, "steps") as bar:
        clock[0] += 20.0
        bar.advance(0, "the job is queued")
    assert capsys.readouterr().err.splitlines()[0] == "finetune: 0/400 steps, ?/s, ? left  the job is queued"
