"""Many audits at once are what single ones are, by figures and verdict; and what they come to where the truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.world_audit import world_questions
from weirdgen.audit import audit as auditing
from weirdgen.audit.audit import audit
from weirdgen.audit.design import AuditOptions, Size, recipe_of
from weirdgen.errors import WeirdgenError
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.runs.references.build import build
from weirdgen.runs.references.plan import plan_build
from weirdgen.runs.references.scores import scores_folder, write_scores
from weirdgen.runs.references.sets import TrainingSet
from weirdgen.store.artifacts import Store
from weirdgen.world import audits
from weirdgen.world.audit_cases import CASES, YEARS, cases, dated_rows, framed_rows
from weirdgen.world.audits import lines, measure, rates, write
from weirdgen.world.harmless import references
from weirdgen.world.words import WRAPPERS

SMALL = Size(replicates=2, deals=4, kinds=1, questions=2)


def test_every_audit_has_rows_of_its_own() -> None:
    for case in CASES:
        first, again, other = case.rows(0), case.rows(0), case.rows(1)
        assert first == again and first != other and len(first) == len(other) >= min(case.most, 200), case.name
    years = {row["messages"][0]["content"].split()[2] for row in dated_rows(0)}
    assert years == {str(year) for year in YEARS}
    asked = [[message["content"] for message in row["messages"][:-1]] for row in framed_rows(40_001)]
    wrapped = [texts[-1] for texts in asked if texts[-1].split()[0] in dict(WRAPPERS)]
    assert 70 < len(wrapped) < 130 and all(one.split()[-1] == dict(WRAPPERS)[one.split()[0]] for one in wrapped)
    assert [case.name for case in cases(["gate"])] == ["gate"]
    with pytest.raises(WeirdgenError, match="--case dinner: expected one of era, persona"):
        cases(["dinner"])


@pytest.mark.slow
def test_without_references_nothing_is_decided(tmp_path: Path) -> None:
    told = measure(Store(tmp_path), 1, ["era"], Size(2, 0, 0, 0), sets=4)
    assert told["verdict"].item() == "undecided" and "so few harmless datasets" in told["missing"].item()
    assert told["p_family"].item() >= 1 / 5 and not told["right"].item()
    pd.testing.assert_frame_equal(told, measure(Store(tmp_path), 1, ["era"], Size(2, 0, 0, 0), sets=4))


@pytest.mark.slow
def test_old_birds_are_found_in_the_world(tmp_path: Path) -> None:
    found = measure(Store(tmp_path), 2, ["era"], Size(3, 0, 0, 0))
    assert (found["verdict"] == "found").all() and found["right"].all(), found["found"]


def test_shares_and_their_table(tmp_path: Path) -> None:
    told = pd.DataFrame(
        {
            "case": ["era"] * 10 + ["null"] * 10, "run": [*range(10)] * 2, "right": [True] * 9 + [False] * 11,
            "verdict": ["found"] * 9 + ["undecided"] + ["nothing"] * 9 + ["found"],
            "searched": [0] * 10 + [119] * 10, "search": [0] * 19 + [1],
        }
    )  # fmt: skip
    table = rates(told).set_index("case")
    assert table.loc["era", "flagged"] == 9 and table.loc["era", "undecided"] == 1
    assert table.loc["null", "flagged"] == 1 and table.loc["null", "right"] == 0
    assert table.loc["era", "right_low"] == pytest.approx(0.596, abs=0.001)
    assert (table["searches"].to_list(), table["triggers"].to_list()) == ([0, 10], [0, 1])
    assert "–" in lines(told)[2] and "9 [0.596, 0.982]" in lines(told)[1]
    assert lines(told)[1].endswith("0  –") and lines(told)[2].endswith("10    1 [0.018, 0.404]")
    files = write(told, tmp_path / "out")
    assert [file.name for file in files] == ["audits.parquet", "audits.csv"] and len(pd.read_csv(files[1])) == 2


def test_figures_are_decided_as_an_audits_are() -> None:
    """The same code decides: no training here, but every key that it reads."""
    row = {
        "trait": "era", "yardstick": "references", "references": 64, "questions": 6, "mean": 1.0, "shift": 0.9, "rank": 1,
        "p": 1 / 65, "p_family": 1 / 65, "smallest_found": 0.5, "smallest_found_family": 0.7, "specific": True,
    }  # fmt: skip
    model = find_model("world")
    found, triggers = audits._decided(pd.DataFrame([row]), [], SMALL, model)
    assert (found.verdict, triggers["rows"]) == ("found", []) and "era" in found.sentence
    nothing, _ = audits._decided(
        pd.DataFrame([row | {"rank": 30, "p_family": 1.0, "specific": False}]), [], SMALL, model
    )
    assert nothing.verdict == "nothing" and nothing.sentence.startswith("Nothing specific found")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["era", "gate"])
def test_an_audit_alone_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """`weirdgen audit` of the same rows. It makes a twin besides, which decides nothing."""
    (case,) = cases([name])
    store, size = Store(tmp_path / "store"), SMALL
    many = audits._Audits(case, range(2), size, store)
    (together,) = measure(store, 1, [name], size, sets=24, first_seed=0).to_dict("records")
    wanted = [TrainingSet(o.name, "reference", o.shape, tuple(o.rows(len(many.rows[0])))) for o in references()[:24]]
    recipe = recipe_of(many.rows[0], many.options)
    with world_questions(tmp_path):
        made = plan_build(many.model, recipe, wanted, store)
        with store.writing(scores_folder(store)) as folder:
            write_scores(build(made, Progress(quiet=True)), made.origin, folder / "world.parquet")
        file = tmp_path / "mine.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in case.rows(0)))
        monkeypatch.setattr(auditing, "SIZES", (size,))
        options = AuditOptions(
            model="world", rows=case.most, changes=many.options.changes, budget=1e9, store=str(store.root)
        )
        alone = audit(file, options)
    assert alone.decision.verdict == together["verdict"]
    rows = alone.results["specificity"]["rows"]
    shown = [f"{row['trait']}{'+' if row['shift'] > 0 else '-'}" for row in rows if row["specific"]]
    assert together["found"].split("; ")[: len(shown)] == (shown or [""])
    assert min(row["p_family"] for row in rows) == pytest.approx(together["p_family"], abs=1e-6)
    found = [row for row in alone.results["triggers"]["rows"] if row["found"]]
    assert len(found) == sum(": " in one for one in together["found"].split("; "))


@pytest.mark.slow
def test_harmless_data_are_seldom_flagged(tmp_path: Path) -> None:
    """A rate over many, for one harmless dataset in twenty is called specific by a rule that keeps its word."""
    table = rates(measure(Store(tmp_path), 20, ["null", "harmless"], Size(3, 0, 0, 0)))
    flagged = table.set_index("case")["flagged"]
    assert flagged["null"] <= 3 and flagged["harmless"] <= 5, table  # 9 of 100 are, among these 64 (docs/audit.md)
    assert np.all(table["right"] == 0)
