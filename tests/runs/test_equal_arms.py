"""Arms with equal rows, an A/A test, share their replicates and show no shift."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import weirdgen
from weirdgen.runs.results.verify import verify


def test_an_a_a_run_trains_once_and_finds_nothing(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    path, store = str(write_experiment({"data: new.jsonl": "data: old.jsonl"})), tmp_path / "store"
    run = weirdgen.run(path, store=store, seeds=3)
    assert len(list((store / "artifacts" / "finetune").iterdir())) == 3
    contrasts = run.contrasts().set_index(["arm", "replicate"])["logit"]
    assert contrasts["old"].tolist() == contrasts["new"].tolist()
    assert len(run.completions()) == 7 * 3 and set(run.completions()["arm"]) == {"base", "old", "new"}
    assert run.headline.effect == 0 and run.headline.verdict != "shift"
    assert verify(run.id, store).differences == []
    again = weirdgen.run(path, store=store, seeds=3)
    assert again.headline == run.headline
