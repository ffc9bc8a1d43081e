"""What a server keeps on disk: uploads, results, events and jobs, whole or not at all, and those of another version too."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import over, rows_file, steps_done, submit
from weirdgen.serve.backend import Backend
from weirdgen.serve.problems import ApiError

Open = Callable[..., Backend]


def test_an_upload_that_does_not_fit_leaves_nothing(opened: Open, tmp_path: Path) -> None:
    backend = opened(upload_bytes=10)
    with pytest.raises(ApiError) as refused:
        backend.files.add(io.BytesIO(b"x" * 11), "big.jsonl", "fine-tune")
    assert refused.value.status == 413 and backend.files.all() == []
    assert list((tmp_path / "store/serve/files").iterdir()) == []
    kept = backend.files.add(io.BytesIO(b"0123456789"), "../../small\n.jsonl", "fine-tune")
    assert backend.files.path(kept.id).read_bytes() == b"0123456789" and backend.files.path(kept.id).is_relative_to(
        tmp_path
    )
    backend.__exit__()
    assert [file.id for file in opened().files.all()] == [kept.id]


def test_names_from_outside_are_no_paths(opened: Open) -> None:
    backend = opened()
    for name in ("..", "../../etc/passwd", "file-../../x", "", "file-" + "0" * 24):
        with pytest.raises(ApiError):
            backend.files.path(name)
        with pytest.raises(ApiError):
            backend.jobs.get(name)


def test_events_that_a_kill_cut_are_left_out(opened: Open, tmp_path: Path) -> None:
    backend = opened()
    job = over(backend, submit(backend, rows_file(tmp_path)))
    known = len(backend.jobs.events(job.id))
    backend.__exit__()
    with (tmp_path / "store/serve/jobs" / job.id / "events.jsonl").open("a") as out:
        out.write('{"object": "event", "message": "a\u2028b\x85c"}\n{"object": "fine_tun')
    half = tmp_path / "store/serve/jobs" / ("ftjob-" + "0" * 24)
    half.mkdir()
    (half / "record.json").write_text('{"id": ')
    again = opened()
    assert again.jobs.events(job.id)[0]["message"] == "a\u2028b\x85c"  # which some readers take for ends of a line
    again.jobs.say(job.id, "after the cut")
    again.__exit__()
    again = opened()
    assert again.jobs.events(job.id)[0]["message"] == "after the cut"
    assert len(again.jobs.events(job.id)) == known + 2 and [j.id for j in again.jobs.all()] == [job.id]
    assert not half.exists()


def test_a_jobs_results_are_kept_where_no_more_files_may_be_uploaded(opened: Open, tmp_path: Path) -> None:
    backend = opened(files=1)
    job = over(backend, submit(backend, rows_file(tmp_path)))
    assert job.status == "succeeded" and backend.files.path(job.result_files[0]).read_bytes().startswith(b"step,")
    with pytest.raises(ApiError, match="1 files already"):
        submit(backend, rows_file(tmp_path))
    backend.files.delete(job.training_file)
    assert over(backend, submit(backend, rows_file(tmp_path))).status == "succeeded"


@pytest.mark.parametrize("status", ["running", "queued"])
def test_a_job_whose_recipe_is_another_versions_is_shown_and_ends(opened: Open, tmp_path: Path, status: str) -> None:
    backend = opened()
    job = submit(backend, rows_file(tmp_path), epochs=1000)
    assert backend.jobs.wait(lambda: steps_done(backend, job) > 0, 60)
    backend.__exit__()
    file = tmp_path / "store/serve/jobs" / job.id / "record.json"
    record: dict[str, Any] = json.loads(file.read_text())
    record["inputs"]["recipe"]["of_another_version"] = 1
    file.write_text(json.dumps({**record, "status": status}))
    again = opened()
    assert again.jobs.shown(again.jobs.get(job.id))["hyperparameters"]["n_epochs"] == 1000
    ended = over(again, job)
    assert ended.status == "failed" and ended.error and "of_another_version" in ended.error["message"]
    assert over(again, submit(again, rows_file(tmp_path))).status == "succeeded"
