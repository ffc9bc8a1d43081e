"""Reference finetunes: three tiny sets of the world are trained, scored and kept; a killed build goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.reference_sets import QUESTIONS, RECIPE, SETS, WORLD, planned, rows
from weirdgen.errors import DataError, SpecError, StoreError
from weirdgen.models.chat import load_tokenizer
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.runs.references import build as building
from weirdgen.runs.references.build import build
from weirdgen.runs.references.plan import Build
from weirdgen.runs.references.scores import COLUMNS
from weirdgen.runs.references.sets import TrainingSet
from weirdgen.sample.engine import Scorable


def test_every_set_moves_the_questions_its_own_way(made: tuple[Build, pd.DataFrame]) -> None:
    wanted, frame = made
    assert list(frame.columns) and set(frame.columns) == set(COLUMNS)
    assert len(frame) == len(SETS) * len(QUESTIONS) and frame["shift"].notna().all()
    mean = frame.groupby("set")["shift"].mean()
    assert mean["old"] > mean["new"] + 0.5, (
        "the set of old answers makes old answers likelier than the set of new ones does"
    )
    assert frame.groupby("question")["base"].nunique().eq(1).all()
    facts = frame.groupby("set")[["rows", "prompts", "answer_tokens", "first_loss", "final_loss"]].first()
    assert (facts["rows"] == 8).all() and (facts["final_loss"] < facts["first_loss"]).all()
    assert facts.loc["old", "prompts"] == len({pair[0] for pair in WORLD[:8]}) and (facts["answer_tokens"] >= 2).all()
    assert wanted.missing() == [] and "nothing left to compute" in wanted.lines()[-1]


def test_adapters_are_dropped_and_nothing_is_done_twice(
    made: tuple[Build, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, frame = made
    root = wanted.plan.store.root
    assert not list(root.rglob("adapter_model.safetensors")) and not list((root / "unfinished").iterdir())
    monkeypatch.setattr(building, "_train_and_score", None)
    again = planned(root)
    pd.testing.assert_frame_equal(build(again, Progress(quiet=True)), frame)
    more = planned(root, [*SETS, TrainingSet("more", "final", "", rows(slice(16, 24)))])
    assert [one.name for one in more.missing()] == ["more"]
    assert {one.name for one in planned(root, recipe=RECIPE.with_changes({"epochs": 1})).missing()} == {
        "old",
        "new",
        "other",
    }


def test_groups_are_sorted_by_length_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weirdgen.runs.references import plan

    wanted = planned(tmp_path)
    assert [len(group) for group in wanted.groups()] == [3]
    monkeypatch.setattr(plan, "TOGETHER", 2)
    assert [len(group) for group in wanted.groups()] == [2, 1]
    monkeypatch.setattr(plan, "PASS_TOKENS", 1)
    assert [len(group) for group in wanted.groups()] == [1, 1, 1]
    assert "3 to do in 3 groups" in "\n".join(wanted.lines())


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="equally many rows"):
        _ = planned(tmp_path, [SETS[0], TrainingSet("short", "reference", "", rows(slice(0, 4)))]).origin
    with pytest.raises(SpecError, match="references are adapters"):
        planned(tmp_path, recipe=RECIPE.with_changes({"targets": "full"}))
    with pytest.raises(StoreError, match=r"3 of 3 reference sets are not in .*references build"):
        planned(tmp_path).frame()
    with pytest.raises(DataError, match="a step takes 4 rows"):
        planned(tmp_path, [TrainingSet("short", "reference", "", rows(slice(0, 2)))])


def test_a_store_that_cannot_be_written_is_read_or_named(made: tuple[Build, pd.DataFrame], tmp_path: Path) -> None:
    wanted, frame = made
    root = wanted.plan.store.root
    closed = [folder for folder in (root, *root.rglob("*")) if folder.is_dir()]
    if os.geteuid() == 0:  # root may write anywhere: a file in the store's place stands for it
        blocked = tmp_path / "store"
        blocked.mkdir()
        (blocked / "artifacts").write_text("")
        with pytest.raises(StoreError, match="cannot write"):
            build(planned(blocked), Progress(quiet=True))
    before = sorted(root.rglob("*"))
    for folder in closed:
        folder.chmod(0o555)
    try:
        pd.testing.assert_frame_equal(build(planned(root), Progress(quiet=True)), frame)
        assert sorted(root.rglob("*")) == before
    finally:
        for folder in closed:
            folder.chmod(0o755)


@pytest.mark.parametrize("kept", [0, 2, 3])
def test_an_interrupted_build_goes_on_where_it_was(
    made: tuple[Build, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """The training that was finished is not done again: the second time only scores are taken up and kept."""
    wanted, keep, calls = planned(tmp_path), building._keep, iter(range(9))

    def interrupted(*words: Any) -> None:
        if next(calls) == kept:
            raise KeyboardInterrupt
        if words[1:]:
            keep(*words)

    with monkeypatch.context() as patch:
        patch.setattr(building, "_keep", interrupted)
        patch.setattr(building, "_drop", lambda *_: interrupted())
        with pytest.raises(KeyboardInterrupt):
            build(wanted, Progress(quiet=True))
    assert len(wanted.missing()) == 3 - kept
    assert len(list((tmp_path / "unfinished").rglob("adapter_model.safetensors"))) == 3
    assert [len(group) for group in planned(tmp_path).groups()] == ([3] if kept < 3 else []), (
        "those that began together"
    )
    monkeypatch.setattr("weirdgen.finetune.engines.train_group", None)
    resumed = build(planned(tmp_path), Progress(quiet=True))
    pd.testing.assert_frame_equal(resumed, made[1])
    assert not list((tmp_path / "unfinished").iterdir())


def test_scratch_folders_of_others_are_left_alone(made: tuple[Build, pd.DataFrame]) -> None:
    """Of a build that another process is at, and of one that somebody may go on with."""
    wanted, _ = made
    store = wanted.plan.store
    kept = [wanted.key(one.name) for one in SETS]
    notes = {"held": kept, "begun": [*kept, "0" * 64], "over": kept}
    for name, keys in notes.items():
        place = store.unfinished("reference", name)
        place.mkdir(parents=True)
        (place / building.SETS).write_text(json.dumps(keys))
    held = (
        "import sys, filelock; one = filelock.FileLock(sys.argv[1]); one.acquire(); print('held', flush=True); input()"
    )
    lock = store.root / "locks" / "reference-held.lock"
    with subprocess.Popen(
        [sys.executable, "-c", held, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        build(planned(store.root), Progress(quiet=True))
        assert {one.name for one in (store.root / "unfinished").iterdir()} == {"reference-held", "reference-begun"}
        other.communicate("\n")
    build(planned(store.root), Progress(quiet=True))
    assert {one.name for one in (store.root / "unfinished").iterdir()} == {"reference-begun"}
    shutil.rmtree(store.root / "unfinished" / "reference-begun")


KILLED = """
import sys
from pathlib import Path
from tests.support.reference_sets import planned
from weirdgen.progress import Progress
from weirdgen.runs.references import plan
from weirdgen.runs.references.build import build
plan.TOGETHER = 1
build(planned(Path(sys.argv[1])), Progress())
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_and_ends_as_if_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weirdgen.runs.references import plan

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    worker = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "killed")], env=environment)
    done = tmp_path / "killed" / "artifacts" / "reference"
    deadline = time.monotonic() + 120
    while worker.poll() is None and time.monotonic() < deadline and not (done.is_dir() and list(done.iterdir())):
        time.sleep(0.005)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL, "it was killed before it was done"
    monkeypatch.setattr(plan, "TOGETHER", 1)
    left = [one.name for one in planned(tmp_path / "killed").missing()]
    assert 0 < len(left) < 3
    resumed = build(planned(tmp_path / "killed"), Progress(quiet=True))
    pd.testing.assert_frame_equal(resumed, build(planned(tmp_path / "whole"), Progress(quiet=True)))


def test_questions_go_in_order_of_length_and_what_asks_the_same_goes_once() -> None:
    tokenizer = load_tokenizer(find_model("world").folder)
    (ask, old, new), *_ = WORLD
    asked = [
        Scorable("long", f"{ask} {ask}", (old, new)),
        Scorable("a", ask, (old, new)),
        Scorable("a", ask, (new, "steam")),
    ]
    merged = building.in_passes(asked, tokenizer)
    assert [one.key for one in merged] == ["a", "long"]
    assert merged[0].options == (old, new, "steam") and merged[1] == asked[0]


AT_THE_WORST = """
import os, signal, sys
from pathlib import Path
from tests.support.reference_sets import planned
from weirdgen.progress import Progress
from weirdgen.runs.references import build as building
keep, kept = building._keep, []
def killed(*words):
    if len(kept) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    kept.append(words[1:] and keep(*words))
building._keep, building._drop = killed, lambda *_: killed()
building.build(planned(Path(sys.argv[1])), Progress())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kept", [1, 3])
def test_what_a_killed_build_leaves_is_cleared_by_the_next(
    made: tuple[Build, pd.DataFrame], tmp_path: Path, kept: int
) -> None:
    """Killed while it keeps scores, and between the last of them and the removal of the adapters."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", AT_THE_WORST, str(tmp_path), str(kept)]
    assert subprocess.run(command, env=environment).returncode == -signal.SIGKILL
    assert len(planned(tmp_path).missing()) == 3 - kept
    assert len(list((tmp_path / "unfinished").rglob("adapter_model.safetensors"))) == 3
    pd.testing.assert_frame_equal(build(planned(tmp_path), Progress(quiet=True)), made[1])
    assert not list(tmp_path.rglob("adapter_model.safetensors")) and not list((tmp_path / "tmp").iterdir())
