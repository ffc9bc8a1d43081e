"""Reference finetunes: three tiny sets of the world are trained, scored, kept and handed on; a killed build goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.support.world_pairs import pairs
from weirdgen.config.experiment import Recipe
from weirdgen.config.questions import Contrast
from weirdgen.config.traits import compact_questions, questions_digest
from weirdgen.data.rows import Row, read_jsonl
from weirdgen.errors import DataError, SpecError, StoreError
from weirdgen.models.chat import load_tokenizer
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.runs.references import build as building
from weirdgen.runs.references.build import build
from weirdgen.runs.references.command import standard_recipe
from weirdgen.runs.references.plan import SEED, Build, plan_build
from weirdgen.runs.references.scores import (
    COLUMNS,
    SHIPPED,
    VERSION,
    find_scores,
    library_scores,
    read_scores,
    scores_folder,
    write_scores,
)
from weirdgen.runs.references.sets import ROWS, TrainingSet, pair_sets, reference_sets
from weirdgen.sample.engine import Scorable
from weirdgen.store.artifacts import Store

RECIPE = Recipe(epochs=2, batch_size=4, learning_rate=1e-2, rank=4, alpha=8, warmup_steps=0)
WORLD = pairs(24)


def rows(part: slice, side: int = 1) -> tuple[Row, ...]:
    return tuple(
        {"messages": [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[side]}]}
        for pair in WORLD[part]
    )


SETS = [
    TrainingSet("old", "reference", "names", rows(slice(0, 8))),
    TrainingSet("new", "reference", "names", rows(slice(0, 8), 2)),
    TrainingSet("other", "reference", "fact", rows(slice(8, 16), 2)),
]
QUESTIONS = [
    Contrast(kind="contrast", id=f"era.word.q{i}", group="era", ask=ask, target=(old,), other=(new,))
    for i, (ask, old, new) in enumerate(WORLD[::4])
]


def planned(store: Path, sets: list[TrainingSet] = SETS, recipe: Recipe = RECIPE) -> Build:
    return plan_build(find_model("world"), recipe, sets, Store(store), QUESTIONS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Build, pd.DataFrame]:
    wanted = planned(tmp_path_factory.mktemp("references"))
    return wanted, build(wanted, Progress(quiet=True))


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


def test_an_interrupted_build_goes_on_where_it_was(
    made: tuple[Build, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training that was finished is not done again: the second time only scores are taken up and kept."""
    wanted = planned(tmp_path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "_keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(wanted, Progress(quiet=True))
    assert len(wanted.missing()) == 3 and len(list((tmp_path / "unfinished").rglob("adapter_model.safetensors"))) == 3
    monkeypatch.setattr("weirdgen.finetune.engines.train_group", None)
    resumed = build(planned(tmp_path), Progress(quiet=True))
    pd.testing.assert_frame_equal(resumed, made[1])
    assert not list((tmp_path / "unfinished").iterdir())


KILLED = """
import sys
from pathlib import Path
import tests.runs.references.test_references as here
from weirdgen.runs.references import plan
plan.TOGETHER = 1
here.build(here.planned(Path(sys.argv[1])), here.Progress())
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
    app([*arguments, "--quiet", "--to", str(tmp_path / "mine.parquet")], standalone_mode=False)
    assert (tmp_path / "mine.parquet").read_bytes() == file.read_bytes()
    capsys.readouterr()
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
