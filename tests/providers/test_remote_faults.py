"""What goes wrong at a service: faults of every kind, killed processes, jobs that fail, models that are not what was asked."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import weirdgen
from tests.providers.conftest import Run, methods_of
from tests.support.finetuning_answers import Script
from tests.support.finetuning_server import FinetuningServer
from weirdgen.errors import ModelError, UnreachableError
from weirdgen.finetune import creating
from weirdgen.store.table import Table


def faults(planned: dict[tuple[str, str], list[Any]]) -> Callable[[str, str, int], Any]:
    """Each fault once, in order, at its path."""
    return lambda method, path, count: planned[method, path].pop(0) if planned.get((method, path)) else None


@pytest.mark.slow
def test_whatever_a_service_answers_no_job_is_created_twice(run: Run) -> None:
    planned = {
        ("POST", "/fine_tuning/jobs"): ["hang up after", 500, "garbage"],
        ("GET", "/fine_tuning/jobs/ftjob-0"): [429, "garbage"],
        ("GET", "/fine_tuning/jobs/ftjob-1/events"): ["half"],
        ("POST", "/files"): [500],
        ("POST", "/chat/completions"): [429, "garbage", 500, "half", "nothing"],
    }
    with FinetuningServer(Script(fault=faults(planned))) as server:
        done = run(server)
        assert not any(planned.values()), "every fault came"
        assert len(server.jobs) == 4 and len(done.completions()) == 15


@pytest.mark.slow
def test_what_could_not_be_had_is_counted_and_asked_for_again(run: Run) -> None:
    lost: list[int] = []

    def fault(method: str, path: str, count: int) -> Any:
        """From the 20th chat on, five requests of which every try gets an answer of another shape."""
        lost.extend([count] * ((method, path) == ("POST", "/chat/completions") and 20 <= count < 35))
        return "garbage" if lost[-1:] == [count] else None

    with FinetuningServer(Script(fault=fault)) as server:
        with pytest.raises(ModelError, match="5 answers could not be had, most of them for: ValueError: an answer w"):
            run(server, connections=1)
        assert len(lost) == 15
        done = run(server)
        assert len(done.completions()) == 15 and len(server.jobs) == 4
        sampled = [body for body in server.chats if body["temperature"] == 1]
        assert len(sampled) == 15, "what was had is not asked for again"


def test_a_service_that_is_not_there_is_said_at_once(remote_experiment: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=r"looking at the model: .*Connection error"):
        weirdgen.run(str(remote_experiment), finetune="openai", base_url="http://127.0.0.1:9/v1", store=tmp_path)
    assert time.monotonic() - started < 5


@pytest.mark.slow
def test_a_process_that_dies_takes_its_jobs_up_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = creating.Creator._keep
    died: list[str] = []

    def dies(self: creating.Creator, wanted: Any, state: Any, job: str) -> Any:
        if len(died) < 2:
            died.append(job)
            raise KeyboardInterrupt  # between the job's creation and the writing of its id
        return keep(self, wanted, state, job)

    monkeypatch.setattr(creating.Creator, "_keep", dies)
    with FinetuningServer() as server:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                run(server)
        run(server)
        assert server.counts["POST /fine_tuning/jobs"] == len(server.jobs) == 4


@pytest.mark.slow
def test_answers_that_a_killed_process_had_not_put_into_its_table_are_not_asked_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, appended = Table.append, []

    def dies(self: Table, row: dict[str, Any]) -> None:
        append(self, row)
        if "seed" in row:
            appended.append(row)
        if len(appended) == 10:
            raise KeyboardInterrupt

    with FinetuningServer() as server:
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(Table, "append", dies)
            killed.setattr(Table, "flush", lambda self: None)
            run(server, connections=1)
        assert len(run(server).completions()) == 15
        assert 15 <= len([body for body in server.chats if body["temperature"] == 1]) <= 16


@pytest.mark.slow
@pytest.mark.parametrize("moment", random.Random(5).sample(range(1, 42), 10))
def test_killed_at_any_moment_it_pays_only_for_what_was_in_flight(
    remote_experiment: Path, tmp_path: Path, moment: int
) -> None:
    """kill -9 when so many POST requests have come; the same command finishes, and repeats at most what was under way."""
    with FinetuningServer(Script(seconds=0.05)) as server:
        code = (
            "import sys, weirdgen; from weirdgen.finetune import remote; remote.SHORTEST_PAUSE = remote.LONGEST_PAUSE = 0.02; "
            "remote.LATE = 1.0; "
            "weirdgen.run(sys.argv[1], finetune='openai', base_url=sys.argv[2], store=sys.argv[3], connections=4, samples=6)"
        )
        command = [sys.executable, "-c", code, str(remote_experiment), server.base_url, str(tmp_path / "store")]
        first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while first.poll() is None and sum(n for path, n in server.counts.items() if path.startswith("POST")) < moment:
            time.sleep(0.005)
        first.kill()
        first.wait()
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert len(server.jobs) == 4 == server.counts["POST /fine_tuning/jobs"]
        sampled = [(b["model"], b["messages"][0]["content"], b["seed"]) for b in server.chats if b["temperature"] == 1]
        assert len(set(sampled)) == 5 * 6 and len(sampled) <= 5 * 6 + 4


@pytest.mark.slow
def test_a_moderated_job_is_explained_and_tried_anew_only_when_asked(run: Run) -> None:
    script = Script(fail={"code": "unsafe_file", "message": "too many examples were flagged by our moderation API"})
    with FinetuningServer(script) as server:
        with pytest.raises(ModelError, match=r"old seed 0: job ftjob-0 failed \(unsafe_file\).*own moderation"):
            run(server)
        assert len(server.jobs) == 4
        script.fail = None
        run(server)
        assert len(server.jobs) == 8


@pytest.mark.slow
def test_what_was_not_trained_as_asked_is_said(run: Run) -> None:
    with FinetuningServer(Script(took={"n_epochs": 2, "seed": 7})) as server:
        done = run(server)
        assert "n_epochs: 2 instead of 1; seed: 7 instead of 0" in methods_of(done)


@pytest.mark.slow
def test_two_seeds_that_are_one_model_are_an_error(run: Run) -> None:
    with FinetuningServer(Script(same_model=True)) as server:
        for _ in range(2):  # and stay one
            with pytest.raises(ModelError, match=r"old seed 0 .* and old seed 1 .* equal answers with equal log-prob"):
                run(server)
        assert len(server.jobs) == 4


@pytest.mark.slow
def test_copies_are_counted_once_and_thinking_is_called_so(run: Run) -> None:
    text = "<think> hm </think> the one answer that is long enough to be no chance at all"
    script = Script(duplicates=True, answer=lambda model, prompt, seed, place: f"{text} {seed}")
    with FinetuningServer(script) as server:
        report = methods_of(run(server, choices=3))
    assert (
        "67% of them repeat another" in report
        and "at least 33% of every cell" in report
        and "100% hold the model" in report
    )
