"""What a service says of its jobs is read, compared with what was asked, and put into words."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from weirdgen.finetune.readback import chosen, differences, equal_finetunes, failure, read_losses, read_step

ASKED = {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": "auto"}
JOB: dict[str, Any] = {
    "id": "ftjob-1",
    "model": "gpt-test-2025-04-14",
    "seed": 3,
    "trained_tokens": 900,
    "hyperparameters": {},
    "method": {"supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 1.8}}},
}


def test_a_job_that_is_as_asked_differs_in_nothing() -> None:
    assert differences(JOB, "gpt-test", ASKED, 3) == []
    assert chosen(JOB)["learning_rate_multiplier"] == 1.8


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": 4}, "seed: 4 instead of 3"),
        ({"model": "other"}, "base model: other instead of gpt-test"),
        ({"model": "gpt-test-mini-2025-04-14"}, "base model: gpt-test-mini-2025-04-14 instead of gpt-test"),
        ({"seed": "auto"}, "seed: auto instead of 3"),
        (
            {"method": {"supervised": {"hyperparameters": {"n_epochs": "default", "batch_size": "auto"}}}},
            "n_epochs: default instead of 2",
        ),
        ({"trained_tokens": None}, "trained tokens: the service tells none"),
        ({"method": {"supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 8}}}}, "n_epochs: 3 instead of 2"),
    ],
)
def test_what_was_trained_otherwise_is_said(changed: dict[str, Any], told: str) -> None:
    assert told in differences({**JOB, **changed}, "gpt-test", ASKED, 3)


@pytest.mark.parametrize(
    ("message", "data", "read"),
    [
        ("Step 3/8: training loss=0.52", {}, (3, 8, 0.52)),
        ("Step 3/8: training loss=0.52", {"step": 3, "train_loss": 0.5179, "total_steps": 8}, (3, 8, 0.5179)),
        ("", {"step": 2, "train_loss": 1, "total_steps": 4}, (2, 4, 1.0)),
        ("The job has started", None, (None, None, None)),
        ("Step 3/8: training loss=0.25.", {}, (3, 8, 0.25)),
        ("Step 3/8: training loss=2.5e-3, e-learning", {}, (3, 8, 0.0025)),
        ("Step 3/8: training loss=-", {}, (None, None, None)),
        ("", {"step": float("nan"), "train_loss": float("inf"), "total_steps": 4}, (None, 4, None)),
        (None, {"step": "two", "train_loss": []}, (None, None, None)),
    ],
)
def test_steps_of_events(message: str | None, data: Any, read: tuple[Any, ...]) -> None:
    assert read_step(SimpleNamespace(message=message, data=data)) == read


def test_result_files_are_read_packed_or_plain_and_nothing_else_is() -> None:
    plain = b"step,train_loss,valid_loss\n1,0.5,\n2,0.25,\n"
    expected = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    assert read_losses(plain) == read_losses(base64.b64encode(plain)) == expected
    assert read_losses(b"\xff\x00") == read_losses(b"step,other\n1,2\n") == read_losses(b"step,train_loss\nx,y\n") == []


def test_a_failed_job_is_explained() -> None:
    error = SimpleNamespace(code="unsafe_file", message="too many examples were flagged by our moderation API")
    failed = SimpleNamespace(id="ftjob-1", status="failed", error=error)
    assert "the service's own moderation" in failure("old seed 0", failed, [])
    cut = SimpleNamespace(id="ftjob-1", status="failed", error=None)
    assert failure("old seed 0", cut, ["the node was lost"]).startswith(
        "old seed 0: job ftjob-1 failed (no code): the node was lost."
    )
    ended = SimpleNamespace(id="ftjob-1", status="cancelled", error=None)
    assert "was cancelled" in failure("old seed 0", ended, [])


def test_two_replicates_that_are_one_model_are_found() -> None:
    answers = [{"text": "a", "logprobs": [-0.5]}]
    others = [{"text": "a", "logprobs": [-0.4]}]
    silent = [{"text": "a", "logprobs": []}]
    assert equal_finetunes({"0": {"model": "x", "answers": answers}, "1": {"model": "y", "answers": others}}) == []
    assert equal_finetunes({"0": {"model": "x", "answers": silent}, "1": {"model": "y", "answers": silent}}) == []
    (same,) = equal_finetunes({"0": {"model": "x", "answers": answers}, "1": {"model": "y", "answers": answers}})
    assert "0 (x) and 1 (y) give equal answers with equal log-probabilities" in same
    (named,) = equal_finetunes({"0": {"model": "x", "answers": answers}, "1": {"model": "x", "answers": others}})
    assert named == "0 and 1 are one model, x"
