"""Jobs without HTTP: the same adapters as `weirdgen run` makes, taken up after a stop, cancelled, failed by a full disk."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import RECIPE, over, rows_file, steps_done, submit
from weirdgen.errors import StoreError
from weirdgen.models.template import Messages
from weirdgen.runs.pipeline import plan
from weirdgen.sample.engine import Sampling
from weirdgen.sample.transformers import TransformersEngine
from weirdgen.serve.asks import Ask
from weirdgen.serve.backend import Backend, unheard
from weirdgen.serve.hyperparameters import Hyperparameters, recipe_of, shown_hyperparameters
from weirdgen.serve.limits import Limits
from weirdgen.serve.problems import ApiError
from weirdgen.store.artifacts import Store

Open = Callable[..., Backend]
Write = Callable[..., Path]


def test_the_adapter_is_the_one_that_weirdgen_run_trains(opened: Open, write_experiment: Write, tmp_path: Path) -> None:
    """Same rows, recipe and seed: the same artifact key, so that a run finds nothing left to train; and the same scores."""
    experiment = write_experiment()
    backend = opened()
    old, new = (
        submit(backend, experiment.parent / f"{arm}.jsonl", seed=seed) for arm, seed in (("old", 1), ("new", 0))
    )
    trained = {over(backend, job).key for job in (old, new)}
    local = plan(str(experiment), store=tmp_path / "store", changes=("recipe.checkpoints=[2]",))
    keys = {(replicate.arm, replicate.seed): replicate.key for replicate in local.replicates}
    assert trained == {keys["old", 1], keys["new", 0]}
    assert all(backend.store.marker("finetune", key) is not None for key in trained)
    tuned = backend.models.get(over(backend, old).tuned_model)
    (_, _, asked), *_ = local.scorables
    turns: Messages = [{"role": "user", "content": asked.ask}]
    one = Ask((), tuned.adapter, 1, 0, Sampling(), "", unheard)
    logprobs = asyncio.run(backend.contrast(tuned, turns, asked.options, one))
    engine = TransformersEngine(local.request.model.folder, "fp32")
    engine.use([tuned.adapter])
    assert logprobs == pytest.approx([scored.logprob for _, scored in engine.score([asked])], abs=1e-4)
    again = submit(backend, experiment.parent / "old.jsonl", seed=1)
    assert over(backend, again).key == keys["old", 1] and steps_done(backend, again) == 0


def test_a_stopped_training_goes_on_with_the_same_group(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    file = rows_file(tmp_path)
    made = [submit(backend, file, epochs=80, seed=seed) for seed in (0, 1)]
    queued = submit(backend, file, epochs=1)
    assert backend.jobs.wait(lambda: steps_done(backend, made[0]) > 2, 60)
    backend.__exit__()
    states = [
        json.loads((tmp_path / "store/serve/jobs" / job.id / "record.json").read_text()) for job in (*made, queued)
    ]
    assert [state["status"] for state in states] == ["running", "running", "queued"]
    assert states[0]["group"] == [job.id for job in made]
    again = opened()
    done = [over(again, job) for job in (*made, queued)]
    assert [job.status for job in done] == ["succeeded"] * 3
    assert any("started again" in event["message"] for event in again.jobs.events(made[0].id))
    points = done[0].checkpoints
    assert len(points) == 20 and points[-1].model == done[0].tuned_model and points[-1].step == 160
    inputs = again.store.marker("finetune", done[0].key)["inputs"]
    assert inputs["together"] == [job.key for job in done[:2]]


def test_a_cancelled_job_stops_training(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    job = submit(backend, rows_file(tmp_path), epochs=1000)
    assert backend.jobs.wait(lambda: steps_done(backend, job) > 1, 60)
    assert backend.jobs.cancel(job.id).status == "cancelled"
    after = submit(backend, rows_file(tmp_path))
    assert over(backend, after).status == "succeeded"
    assert (
        backend.jobs.get(job.id).finished_at and backend.store.marker("finetune", backend.jobs.get(job.id).key) is None
    )
    with pytest.raises(ApiError, match="already completed"):
        backend.jobs.cancel(job.id)


def test_a_full_disk_fails_the_job_and_leaves_the_store_whole(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = opened()
    full = threading.Event()
    write = Store._finish

    def finish(store: Store, temporary: Path, stage: str, *rest: Any) -> None:
        if full.is_set() and stage == "finetune":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(store, temporary, stage, *rest)

    monkeypatch.setattr(Store, "_finish", finish)
    full.set()
    failed = over(backend, submit(backend, rows_file(tmp_path)))
    assert (
        failed.status == "failed" and failed.error["code"] == "storage_error" and "no space" in failed.error["message"]
    )
    assert not list((tmp_path / "store/artifacts").glob("finetune/*"))
    full.clear()
    assert over(backend, submit(backend, rows_file(tmp_path))).status == "succeeded"


def test_a_second_server_is_told_that_the_store_is_taken(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    lock = store.lock("serve", "jobs").lock_file
    code = "import sys; from filelock import FileLock; held = FileLock(sys.argv[1]); held.acquire(); print(flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        with pytest.raises(StoreError, match="another weirdgen serve uses the store"):
            Backend(["world"], store, Limits())
    finally:
        other.kill()
        other.communicate()


def test_hyperparameters_become_the_recipe_that_the_table_says() -> None:
    auto = recipe_of(Hyperparameters(), {}, 208)
    assert (auto.epochs, auto.batch_size, auto.learning_rate, auto.checkpoints) == (3, 8, 2e-4, (26, 52, 78))
    assert recipe_of(Hyperparameters(), {}, 5).batch_size == 5
    openai = Hyperparameters(n_epochs=2, batch_size=1, learning_rate_multiplier=2.0)
    recipe = recipe_of(openai, {"rank": 4, "checkpoints": "log"}, 10)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.rank) == (2, 1, 4e-4, 4)
    assert recipe.checkpoints == "log"
    assert shown_hyperparameters(openai.model_dump(), recipe.model_dump()) == {
        "n_epochs": 2,
        "batch_size": 1,
        "learning_rate_multiplier": 2.0,
    }
    for wrong in ({"ranks": 4}, {"targets": "full"}, {"rank": 10**9}, {"devices": 2}, {"epochs": 10**9}):
        with pytest.raises(ApiError) as refused:
            recipe_of(Hyperparameters(), wrong, 10)
        assert refused.value.param == "recipe"


def test_a_validation_files_loss_is_that_of_its_rows(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    train, held_out = rows_file(tmp_path, 8, 1, "old.jsonl"), rows_file(tmp_path, 8, 2, "new.jsonl")
    names = []
    for file in (train, held_out):
        with file.open("rb") as rows:
            names.append(backend.files.add(rows, file.name, "fine-tune").id)
    asked = Hyperparameters(n_epochs=3, batch_size=8)
    made = [
        over(backend, backend.jobs.create("world", names[0], "", 0, asked, RECIPE, None, validation))
        for validation in names
    ]
    assert [job.status for job in made] == ["succeeded"] * 2
    own, other = (
        [point["metrics"]["full_valid_loss"] for point in backend.jobs.shown_checkpoints(job)] for job in made
    )
    losses = [point.loss for point in made[0].checkpoints]
    # A step's loss is of the weights before it, and a whole epoch is one step: so the second is that of the first checkpoint.
    assert own[::-1][:2] == pytest.approx(losses[1:], abs=1e-3) and own[0] < own[-1]
    assert all(abs(theirs - mine) > 1e-3 for theirs, mine in zip(other, own, strict=True))  # of other rows


def test_a_validation_file_that_was_deleted_is_no_reason_to_fail(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    with rows_file(tmp_path, 8).open("rb") as rows:
        train, held_out = (
            backend.files.add(io.BytesIO(content), "rows.jsonl", "fine-tune").id for content in [rows.read()] * 2
        )
    asked = Hyperparameters(n_epochs=60, batch_size=4)
    job = backend.jobs.create("world", train, "", 0, asked, RECIPE, None, held_out)
    assert backend.jobs.wait(lambda: steps_done(backend, job) > 0, 60)
    backend.files.delete(held_out)
    done = over(backend, job)
    assert done.status == "succeeded" and done.checkpoints[-1].valid_loss is None
    assert any("has been deleted" in event["message"] for event in backend.jobs.events(job.id))


def test_a_job_whose_base_is_not_served_now_waits_for_a_server_that_does(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    with rows_file(tmp_path, 8).open("rb") as rows:
        file = backend.files.add(rows, "rows.jsonl", "fine-tune").id
    other = backend.jobs.create("another", file, "", 0, Hyperparameters(), RECIPE, None, None)
    assert over(backend, submit(backend, rows_file(tmp_path))).status == "succeeded"
    assert backend.jobs.get(other.id).status == "validating_files"


def test_too_many_jobs_are_refused(opened: Open, tmp_path: Path) -> None:
    backend = opened(jobs_waiting=1)
    first = submit(backend, rows_file(tmp_path), epochs=1000)
    with pytest.raises(ApiError) as refused:
        submit(backend, rows_file(tmp_path))
    assert refused.value.status == 429
    backend.jobs.cancel(first.id)
    assert submit(backend, rows_file(tmp_path)).active


def test_a_training_that_takes_too_long_is_ended(opened: Open, tmp_path: Path) -> None:
    backend = opened(training_seconds=0.0)
    job = over(backend, submit(backend, rows_file(tmp_path), epochs=1000))
    assert job.status == "failed" and job.error["code"] == "timeout"


def test_rows_of_another_number_or_recipe_train_on_their_own(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    alike = [submit(backend, rows_file(tmp_path, 8), seed=seed) for seed in (0, 1)]
    others = [submit(backend, rows_file(tmp_path, 12)), submit(backend, rows_file(tmp_path, 8), rank=2)]
    done = [over(backend, job) for job in (*alike, *others)]
    assert done[0].group == done[1].group == (alike[0].id, alike[1].id)
    assert [job.group for job in done[2:]] == [(job.id,) for job in done[2:]]


def test_a_store_at_a_url_is_refused() -> None:
    with pytest.raises(StoreError, match="in a folder"):
        Backend(["world"], Store("memory://somewhere"), Limits())


def test_a_training_that_diverges_is_told_in_json(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    job = over(backend, submit(backend, rows_file(tmp_path), epochs=2, learning_rate=1e30))
    assert job.status == "failed" and job.error and job.error["code"] == "training_diverged"
    events = backend.jobs.events(job.id)
    assert any("loss=nan" in event["message"] for event in events)
    json.dumps(events, allow_nan=False)
    backend.__exit__()
    file = tmp_path / "store/serve/jobs" / job.id / "events.jsonl"
    file.write_text(
        file.read_text() + '{"id": "ftevent-old", "data": {"step": 1, "train_loss": NaN}}\n'
    )  # as it was written
    assert json.dumps(opened().jobs.events(job.id)[0], allow_nan=False).endswith('"train_loss": null}}')
