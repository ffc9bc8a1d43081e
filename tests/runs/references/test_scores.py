"""Scores of references: their files, the commands that make and list them, and those that are shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from tests.support.reference_sets import QUESTIONS, RECIPE, SETS, planned, rows
from weirdgen.config.traits import compact_questions, questions_digest
from weirdgen.data.reference_definitions import Use
from weirdgen.data.rows import read_jsonl
from weirdgen.errors import DataError, SpecError
from weirdgen.models.references import find_model
from weirdgen.runs.references.command import standard_recipe
from weirdgen.runs.references.plan import SEED, Build, plan_build
from weirdgen.runs.references.scores import (
    SHIPPED,
    VERSION,
    Origin,
    find_scores,
    library_scores,
    pair_differences,
    read_origin,
    read_scores,
    scores_folder,
    write_scores,
)
from weirdgen.runs.references.sets import ROWS, TrainingSet, pair_sets, reference_sets
from weirdgen.store.artifacts import Store


def test_a_file_is_read_only_for_what_made_it(made: tuple[Build, pd.DataFrame], tmp_path: Path) -> None:
    wanted, frame = made
    file = tmp_path / "scores.parquet"
    write_scores(frame, wanted.origin, file)
    kept, origin = read_scores(file, wanted.origin)
    assert origin == wanted.origin
    pd.testing.assert_frame_equal(kept[["set", "question", "trait"]], frame[["set", "question", "trait"]])
    assert (kept["shift"] - frame["shift"]).abs().max() < 1e-4
    two = planned(tmp_path / "none", SETS[:2])
    assert set(read_scores(file, two.origin)[0]["set"]) == {"old", "new"}, "sets that are there besides do not matter"
    changed = [*SETS[:2], TrainingSet("other", "reference", "fact", rows(slice(16, 24)))]
    with pytest.raises(DataError, match=r"scores\.parquet: .*set other has other rows now.*references build"):
        read_scores(file, planned(tmp_path / "none", changed).origin)
    with pytest.raises(DataError, match=r"recipe\.epochs is 2, wanted is 3"):
        read_scores(file, planned(tmp_path / "none", recipe=RECIPE.with_changes({"epochs": 3})).origin)
    fewer = plan_build(find_model("world"), RECIPE, SETS, Store(tmp_path / "none"), QUESTIONS[1:])
    with pytest.raises(DataError, match="questions is"):
        read_scores(file, fewer.origin)
    assert planned(tmp_path / "none", recipe=RECIPE.with_changes({"engine": "trl"})).origin == wanted.origin
    assert not (tmp_path / "none").exists()


def test_sets_kept_for_the_final_measurement_are_no_yardstick() -> None:
    """They are what false alarms are counted on: among a run's references they would be measured with themselves."""
    (one, *_), (kept, *_) = reference_sets(8), reference_sets(8, "final")
    sides = {use: pair_sets(8, use)[:2] for use in get_args(Use)}
    both = [one, kept, *sides["reference"], *sides["final"]]
    made = Origin("m", {}, 8, "q", {each.name: each.digest for each in both})
    assert made.singles == [one.name] and made.pairs == [sides["reference"][0].name.removesuffix(".left")]
    frame = pd.DataFrame(
        [(each.name, each.kind, "q1", 1.0) for each in both], columns=["set", "kind", "question", "shift"]
    )
    assert list(pair_differences(frame).index) == made.pairs


def test_the_file_is_found_in_a_store_beside_others(made: tuple[Build, pd.DataFrame], tmp_path: Path) -> None:
    wanted, frame = made
    store = Store(tmp_path)
    assert find_scores(wanted.origin, store) is None
    with store.writing(scores_folder(store)) as folder:
        (folder / "a.parquet").write_bytes(b"not ours")
        write_scores(frame, wanted.origin, folder / "b.parquet")
    found = find_scores(wanted.origin, store)
    assert found is not None and found[1].name == "b.parquet" and len(found[0]) == len(frame)
    with pytest.raises(DataError, match=r"a\.parquet: no file of `weirdgen references build`"):
        read_scores(scores_folder(store) / "a.parquet")
    with pytest.raises(DataError, match="exactly the sets of their origin"):
        write_scores(frame[frame["set"] != "old"], wanted.origin, tmp_path / "c.parquet")


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from weirdgen.cli.main import app
    from weirdgen.runs.references import command

    monkeypatch.setattr(
        command, "reference_sets", lambda rows, only: [one for one in SETS if not only or one.name in only]
    )
    monkeypatch.setattr("weirdgen.runs.references.plan.compact_questions", lambda: QUESTIONS)
    store = ["--store", str(tmp_path / "store")]
    recipe = [f"--set=recipe.{name}={value}" for name, value in (("batch_size", 4), ("epochs", 1))]
    arguments = ["references", "build", "--model", "world", "--only", "old", "--only", "new", *recipe, *store]
    app([*arguments, "--dry-run"], standalone_mode=False)
    planned = capsys.readouterr()
    assert "2 sets, 0 of them in the store, 2 to do in 1 groups" in planned.err and planned.out == ""
    assert not (tmp_path / "store").exists()
    app([*arguments, "--quiet"], standalone_mode=False)
    out = capsys.readouterr().out
    file = Path(out.split(":")[0])
    assert f"2 sets × {len(QUESTIONS)} questions" in out and file.parent == tmp_path / "store" / "references"
    app([*arguments, "--dry-run"], standalone_mode=False)
    assert f"these scores are there: {file}" in capsys.readouterr().err
    app([*arguments, "--quiet", "--to", str(tmp_path / "mine.parquet")], standalone_mode=False)
    assert (tmp_path / "mine.parquet").read_bytes() == file.read_bytes()
    app(["references", "build", "--model", "world", "--only", "old", *recipe, *store, "--quiet"], standalone_mode=False)
    few = Path(capsys.readouterr().out.splitlines()[-1].split(":")[0])
    assert few != file and len(read_origin(file).sets) == 2 and len(read_origin(few).sets) == 1
    few.unlink()
    (file.parent / "zzz.parquet").write_text("")
    app(["references", "list", *store], standalone_mode=False)
    listed = capsys.readouterr().out
    assert "64 harmless sets, 16 more" in listed and f"{file}: 2 sets of 8 rows" in listed and "rivers, fish" in listed
    assert "zzz.parquet: no file of `weirdgen references build`" in listed
    with pytest.raises(SpecError, match="only recipe"):
        app([*arguments, "--set", "sampling.top_p=0.5"], standalone_mode=False)
    with pytest.raises(DataError, match="no reference set 'rivers2'"):
        reference_sets(only=["rivers2"])


def test_library_sets_and_pairs_as_training_sets() -> None:
    sets, final, sides = reference_sets(16), reference_sets(16, "final"), pair_sets(16)
    assert {one.kind for one in sets} == {"reference"} and {one.kind for one in final} == {"final"}
    assert not {one.digest for one in sets} & {one.digest for one in final}
    assert {len(one.rows) for one in [*sets, *final, *sides]} == {16}
    assert [one.name for one in sides[:2]] == [
        f"{sides[0].name.removesuffix('.left')}.{side}" for side in ("left", "right")
    ]
    assert {one.kind for one in pair_sets(16, "final")} == {"final_pair"}


def test_candidates_for_a_control(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from weirdgen.cli.main import app

    file, to = tmp_path / "train.jsonl", tmp_path / "twin.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(slice(0, 9))))
    arguments = ["data", "twin", str(file), "--to", str(to), "--model", "world", "--store", str(tmp_path / "s"), "-q"]
    app(arguments, standalone_mode=False)
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == [
        str(tmp_path / f"twin{name}.jsonl") for name in ("", "-half-1", "-half-2")
    ]
    made = read_jsonl(to)
    asked = [row["messages"][0] for row in rows(slice(0, 9))]
    assert made and all(row["messages"][0] in asked for row in made)
    assert len(read_jsonl(tmp_path / "twin-half-2.jsonl")) == 4
    with pytest.raises(DataError, match=r"twin\.jsonl: there is such a file"):
        app(arguments, standalone_mode=False)


SHIPPED_FILES = sorted(SHIPPED.glob("*.parquet"))


@pytest.mark.parametrize("file", SHIPPED_FILES, ids=lambda file: file.stem)
def test_shipped_scores_are_of_the_sets_and_questions_of_today(file: Path) -> None:
    frame, origin = read_scores(file)
    sets = pair_sets(origin.rows, only=origin.pairs) if origin.pairs else reference_sets(origin.rows)
    assert dict(origin.sets) == {one.name: one.digest for one in sets}, (
        "a set was changed: build and ship its scores again"
    )
    assert not origin.pairs or len(origin.pairs) >= 24
    assert origin.questions == questions_digest(compact_questions()), "the questions were changed"
    assert (origin.version, origin.seed) == (VERSION, SEED)
    assert len(frame) == len(sets) * len(compact_questions()) and frame["shift"].notna().all()
    assert set(frame["kind"]) == {"pair" if origin.pairs else "reference"}, "final sets are not shipped"
    assert file.stat().st_size < 1_000_000


def test_the_default_model_has_shipped_scores_at_the_standard_size(smollm2: Path) -> None:
    found = library_scores(find_model("smollm2-135m-instruct"), standard_recipe(), ROWS)
    assert found is not None and found[1].parent == SHIPPED and found[0]["set"].nunique() == 64
    assert library_scores(find_model("smollm2-135m-instruct"), standard_recipe(), 100) is None
    assert library_scores(find_model("world"), standard_recipe(), ROWS) is None
