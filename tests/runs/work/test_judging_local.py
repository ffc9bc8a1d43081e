"""A judge on a model of this machine: what names its verdicts, and that a run keeps the ones it was reported with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import weirdgen
from weirdgen.errors import ModelError
from weirdgen.judges import model as judge_model
from weirdgen.judges.model import named_judge
from weirdgen.runs.results.results import load_run
from weirdgen.runs.results.verify import verify

LOCAL = "local:world"


@pytest.mark.slow
def test_verdicts_are_of_the_dtype_that_the_model_was_loaded_in(
    judged: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = weirdgen.run(str(judged), store=store, judge=LOCAL)
    tables = {folder.name for folder in (store / "artifacts" / "judge").iterdir()}
    monkeypatch.setattr(judge_model, "resolve_dtype", lambda wanted, parameters: "bf16")
    assert verify(run.id, store).differences == []  # a machine that would load it otherwise still reads these
    other = weirdgen.run(str(judged), store=store, judge=LOCAL)
    added = {folder.name for folder in (store / "artifacts" / "judge").iterdir()} - tables
    assert other.id != run.id and len(added) == 3  # the two judges of the experiment, and coherence
    assert named_judge("openai/gpt-4.1") == ("openai/gpt-4.1", "openai/gpt-4.1")


@pytest.mark.slow
def test_a_run_outlives_its_judge(judged: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = weirdgen.run(str(judged), store=store, judge=LOCAL)

    def gone(reference: str) -> Any:
        raise ModelError(f"{reference} has been withdrawn")

    monkeypatch.setattr(judge_model, "find_model", gone)
    assert load_run(run.id, store).verdicts().equals(run.verdicts())
    assert verify(run.id, store).differences == []
    with pytest.raises(ModelError, match="withdrawn"):
        weirdgen.run(str(judged), store=store, judge=LOCAL)
