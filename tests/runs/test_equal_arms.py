"""Arms with equal rows share their replicates; a control that is a treatment once more is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import weirdgen
from weirdgen.audit.checks.registry import run_checks
from weirdgen.audit.checks.subject import load_subject
from weirdgen.data.arms import load_arms, same_rows
from weirdgen.errors import SpecError
from weirdgen.runs.results.verify import verify


def test_equal_arms_are_trained_once(write_experiment: Callable[..., Path], tmp_path: Path) -> None:
    again = "arms:\n  again: {role: treatment, data: old.jsonl}"
    path, store = str(write_experiment({"arms:": again})), tmp_path / "store"
    run = weirdgen.run(path, store=store, seeds=3)
    assert len(list((store / "artifacts" / "finetune").iterdir())) == 6
    contrasts = run.contrasts().set_index(["arm", "replicate"])["logit"]
    assert contrasts["old"].tolist() == contrasts["again"].tolist() != contrasts["new"].tolist()
    assert verify(run.id, store).differences == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_control_with_the_treatments_rows_is_refused(write_experiment: Callable[..., Path], order: int) -> None:
    path = write_experiment()
    old, new = path.parent / "old.jsonl", path.parent / "new.jsonl"
    new.write_bytes(b"".join(old.read_bytes().splitlines(keepends=True)[::order]))
    with pytest.raises(SpecError, match=r"experiment.yaml:\d+: arms.new: it holds the same 8 rows as arms.old"):
        load_arms(path)
    found = run_checks(load_subject(str(old), [new]))
    assert [one.severity for one in found if one.code == "same_rows"] == ["error"]


def test_equal_rows_that_are_dealt_anew_on_purpose_are_not() -> None:
    _, rows = load_arms("world_null")
    assert rows["metals"] != rows["metals_reordered"] and same_rows(rows["metals"], rows["metals_reordered"])
