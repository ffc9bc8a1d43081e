"""Jobs at a service that loses, repeats, refuses and forgets: how many are created, and what is said."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.finetuning_answers import Script
from tests.support.finetuning_server import FinetuningServer
from weirdgen.errors import ModelError, UnreachableError
from weirdgen.finetune import creating, remote
from weirdgen.finetune.job import Wanted, read_state, write_state
from weirdgen.finetune.remote import Jobs
from weirdgen.models.references import find_model
from weirdgen.providers import service as services
from weirdgen.providers.service import Service, service_of
from weirdgen.runs.imported import forget
from weirdgen.sample import remote_probe
from weirdgen.sample.engines import Remote
from weirdgen.sample.remote_score import gives_scores

ROWS = b"".join(b'{"messages": [{"role": "user", "content": "%d"}]}\n' % number for number in range(12))
ONE = Wanted("0123456789abcdef", "old seed 0", "gpt-test", "rows", 0, 1, 4, None, "birds-old-0-01234567", 3)
TWO = replace(ONE, key="fedcba9876543210", name="old seed 1", seed=1, suffix="birds-old-1-fedcba98")
Make = Callable[..., Jobs]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("OPENAI_API_KEY", Script().key)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", Script().key)

    def at(server: FinetuningServer, provider: str = "openai", **told: Any) -> Jobs:
        service = service_of(provider, server.base_url.removesuffix("/openai"))
        return Jobs(service, lambda wanted: ROWS, lambda wanted: tmp_path / wanted.key, **told)

    return at


def once(kind: Any, path: str = "/fine_tuning/jobs", method: str = "POST") -> Callable[[str, str, int], Any]:
    """A fault of the first such request."""
    return lambda m, p, count: kind if (m, p, count) == (method, path, 1) else None


@pytest.mark.parametrize("drops", [(), ("metadata",), ("metadata", "suffix")])
@pytest.mark.parametrize("fault", ["late", "hang up after"])
def test_a_job_that_comes_into_being_late_is_not_asked_for_again(
    jobs: Make, monkeypatch: pytest.MonkeyPatch, fault: str, drops: tuple[str, ...]
) -> None:
    monkeypatch.setattr(creating, "LATE", 3.0)
    with FinetuningServer(Script(fault=once(fault), late=0.2, drops=drops)) as server:
        ((_, trained),) = jobs(server).train([ONE])
        assert len(server.jobs) == 1 == server.counts["POST /fine_tuning/jobs"]
        assert trained.job["id"] == "ftjob-0"


def test_a_second_job_that_turns_up_later_still_is_cancelled_and_told(
    jobs: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remote, "LOOK", 0.02)
    ended: list[str] = []
    told = lambda wanted, job, share: ended.append(job.id)  # noqa: E731
    with FinetuningServer(Script(fault=once("late"), late=0.6, steps_a_look=0)) as server:
        monkeypatch.setattr(creating, "LATE", 0.1)
        server.script.fault = _then(server, time.monotonic() + 1.0, once("late"))
        with pytest.warns(UserWarning, match="ftjob-1 is its second job; now it is cancelled, and may be charged"):
            done = list(jobs(server, ended=told).train([ONE]))
        assert [job["status"] for job in server.jobs.values()] == ["succeeded", "cancelled"]
        assert [trained.job["id"] for _, trained in done] == ["ftjob-0"] and sorted(ended) == ["ftjob-0", "ftjob-1"]


def _then(server: FinetuningServer, finish: float, fault: Callable[[str, str, int], Any]) -> Callable[..., Any]:
    """Faults as given; from `finish` on, jobs train."""

    def told(method: str, path: str, count: int) -> Any:
        if time.monotonic() > finish:
            server.script.steps_a_look = 100
        return fault(method, path, count)

    return told


def test_a_job_that_was_being_created_when_the_process_died_is_waited_for(
    jobs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creating, "LATE", 3.0)
    with FinetuningServer(Script(fault=once("late"), late=0.4)) as server:
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr("time.sleep", _dies)
            list(jobs(server).train([ONE]))
        assert not server.jobs
        assert len(list(jobs(server).train([ONE]))) == 1 == len(server.jobs) == server.counts["POST /fine_tuning/jobs"]


def _dies(seconds: float) -> None:
    raise KeyboardInterrupt


def test_what_one_job_is_refused_does_not_stop_the_others(jobs: Make, tmp_path: Path) -> None:
    with FinetuningServer() as server:
        done = []
        with pytest.raises(ModelError, match=r"^old seed 0: .*creating a job: 400: invalid suffix$"):
            for wanted, _ in jobs(server).train([replace(ONE, suffix="no spaces!"), TWO]):
                done.append(wanted.name)
        assert done == ["old seed 1"]


def test_a_job_that_the_service_forgot_is_told_once_and_made_anew(jobs: Make, tmp_path: Path) -> None:
    with FinetuningServer() as server:
        write_state(tmp_path / ONE.key, {"job": "ftjob-gone"})
        done = []
        with pytest.raises(
            ModelError, match=r"^old seed 0: .*404: Could not find.*nor is it in the list .* begins a new one"
        ):
            for wanted, _ in jobs(server).train([ONE, TWO]):
                done.append(wanted.name)
        assert done == ["old seed 1"] and read_state(tmp_path / ONE.key)["job"] is None
        assert [wanted.name for wanted, _ in jobs(server).train([ONE])] == ["old seed 0"]


def test_a_job_that_is_not_seen_for_a_while_is_not_made_anew(jobs: Make, tmp_path: Path) -> None:
    """A look that finds nothing while the list has the job; then a key that sees neither, as another project's."""
    fault = once(404, "/fine_tuning/jobs/ftjob-0", "GET")
    with FinetuningServer(Script(fault=fault, steps_a_look=1)) as server:
        assert [trained.job["id"] for _, trained in jobs(server).train([ONE])] == ["ftjob-0"]
        there, server.jobs = server.jobs, {}
        with pytest.raises(ModelError, match="nor is it in the list that this key sees"):
            list(jobs(server).train([ONE]))
        assert read_state(tmp_path / ONE.key)["doubtful"], "so another would not hide this one"
        server.jobs = there
        assert [trained.job["id"] for _, trained in jobs(server).train([ONE])] == ["ftjob-0"]
        assert server.counts["POST /fine_tuning/jobs"] == 1


def test_a_refusal_is_named_also_if_the_service_goes_away_after_it(jobs: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creating, "LATE", 0.05)
    fault = lambda method, path, count: 500 if (method, path) == ("POST", "/fine_tuning/jobs") and count > 1 else None  # noqa: E731
    with FinetuningServer(Script(fault=fault)) as server, pytest.raises(UnreachableError) as told:
        list(jobs(server).train([replace(ONE, suffix="no spaces!"), TWO]))
    refused, gone = str(told.value).splitlines()
    assert refused.startswith("old seed 0: ") and refused.endswith("invalid suffix")
    assert gone.startswith("old seed 1: ") and "500" in gone


@pytest.mark.parametrize("refusal", [404, 403])
def test_a_job_is_of_use_without_losses(jobs: Make, refusal: int, recwarn: pytest.WarningsRecorder) -> None:
    """A service without events, whose result files were deleted."""
    ended: list[tuple[str, float]] = []

    def fault(method: str, path: str, count: int) -> int | None:
        for job in server.jobs.values():
            job["result_files"] = ["file-gone"]
        return refusal if path.endswith(("/events", "/checkpoints", "/files/file-gone/content")) else None

    with FinetuningServer(Script(fault=fault)) as server:
        told = jobs(server, ended=lambda wanted, job, share: ended.append((job.id, share)))
        done = [trained for _, trained in told.train([ONE, TWO])]
        names = [job["fine_tuned_model"] for job in server.jobs.values()]
    assert [(one.model, one.losses, one.checkpoints) for one in done] == [(name, [], []) for name in names]
    said = [str(one.message) for one in recwarn if "Jobs are taken without" in str(one.message)]
    assert len(said) == 3 and f"reading events: {refusal}" in said[0], "each once, whatever the number of jobs"
    assert ended == [("ftjob-0", 1.0), ("ftjob-1", 1.0)]


@pytest.mark.filterwarnings("ignore:.*reading events")
def test_without_events_a_cancelled_job_is_booked_whole(jobs: Make) -> None:
    ended: list[float] = []

    def fault(method: str, path: str, count: int) -> int | None:
        if (path, count) == ("/fine_tuning/jobs/ftjob-0", 3):
            server.jobs["ftjob-0"]["status"] = "cancelled"
        return 404 if path.endswith("/events") else None

    with FinetuningServer(Script(steps_a_look=1, fault=fault)) as server:
        told = jobs(server, ended=lambda wanted, job, share: ended.append(share))
        with pytest.raises(ModelError, match="ftjob-0 was cancelled"):
            list(told.train([ONE]))
    assert ended == [1.0]


def test_a_job_that_was_cancelled_is_told_with_what_it_had_trained(jobs: Make) -> None:
    ended: list[tuple[str, float]] = []

    def cancelled(method: str, path: str, count: int) -> None:
        if (path, count) == ("/fine_tuning/jobs/ftjob-0", 4):
            server.jobs["ftjob-0"]["status"] = "cancelled"

    with FinetuningServer(Script(steps_a_look=1, fault=cancelled)) as server:
        told = jobs(server, ended=lambda wanted, job, share: ended.append((job.id, share)))
        with pytest.raises(ModelError, match="ftjob-0 was cancelled; the same command begins a new one"):
            list(told.train([ONE]))
    assert ended == [("ftjob-0", pytest.approx(2 / 3))]


def test_azures_rules_are_kept(jobs: Make) -> None:
    with FinetuningServer(Script(prefix="/openai", azure=True, fault=once("hang up after"))) as server:
        assert len(list(jobs(server, "azure").train([replace(ONE, suffix="birds-old-0-01234567")]))) == 1
        assert server.refused == [] and len(server.jobs) == 1
        assert server.looks["file-0"] >= 2


def test_rows_that_the_service_has_are_not_uploaded_again(jobs: Make, tmp_path: Path) -> None:
    with FinetuningServer(Script(fail={"code": "server_error", "message": "no GPU"})) as server:
        for _ in range(2):
            with pytest.raises(ModelError, match="no GPU"):
                list(jobs(server).train([ONE]))
        assert server.counts["POST /files"] == 1 and len(server.jobs) == 2
        server.files.clear()
        with pytest.raises(ModelError, match="no GPU"):
            list(jobs(server).train([ONE]))
        assert server.counts["POST /files"] == 2


def test_a_service_that_asks_for_too_much_patience_is_quoted(jobs: Make) -> None:
    fault = lambda method, path, count: 429 if (method, path) == ("GET", "/fine_tuning/jobs") else None  # noqa: E731
    with (
        FinetuningServer(Script(fault=fault, retry_after="7200")) as server,
        pytest.raises(
            ModelError, match=r"it asks to wait 7,200 s, and at most 600 s are waited: run the same command later"
        ),
    ):
        list(jobs(server).train([ONE]))


def test_events_that_fail_do_not_hide_why_a_job_did(jobs: Make) -> None:
    fault = lambda method, path, count: 500 if path.endswith("/events") else None  # noqa: E731
    with (
        FinetuningServer(Script(fault=fault, fail={"code": "training_diverged", "message": "not finite"})) as server,
        pytest.raises(ModelError, match=r"ftjob-0 failed \(training_diverged\): not finite"),
    ):
        list(jobs(server).train([ONE]))


def test_a_job_is_forgotten_when_asked_to_and_another_is_created(
    jobs: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its model was deleted: it is found again by what it carries, and its model cannot be sampled."""
    place = tmp_path / "unfinished" / "finetune-key"
    monkeypatch.setattr(remote_probe, "PATIENCE", 0.0)
    with FinetuningServer(Script()) as server:
        there = Jobs(service_of("openai", server.base_url), lambda wanted: ROWS, lambda wanted: place)
        ((_, trained),) = there.train([ONE])
        server.jobs["ftjob-0"]["fine_tuned_model"] += "-deleted"
        with pytest.raises(ModelError, match=r"404.*If it was deleted there: .* `weirdgen jobs --forget JOB`"):
            remote_probe.probe(Remote(service_of("openai", server.base_url), "gpt-test", 1), trained.model, ["x"])
        with pytest.raises(ModelError, match=r"--forget ftjob-1: this store has ftjob-0 under way"):
            forget("ftjob-1", str(tmp_path))
        assert forget("ftjob-0", str(tmp_path)).startswith("ftjob-0 is forgotten here")
        ((_, again),) = there.train([ONE])
        assert again.job["id"] == "ftjob-1" and list(server.jobs) == ["ftjob-0", "ftjob-1"]


def test_patience_is_counted_while_jobs_are_looked_at(jobs: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while another is created, or while the one before is sampled."""
    monkeypatch.setattr(remote, "PATIENCE", 0.3)
    monkeypatch.setattr(services, "RETRIES", 0)
    waits = lambda method, path, count: 0.4 if (method, path, count) == ("POST", "/fine_tuning/jobs", 2) else None  # noqa: E731
    cut: list[str] = []

    def fault(method: str, path: str, count: int) -> Any:
        if path.startswith("/fine_tuning/jobs/ftjob") and not cut:  # the first look
            cut.append(path)
            return 500
        return waits(method, path, count)

    with FinetuningServer(Script(fault=fault)) as server:
        done = []
        for wanted, _ in jobs(server).train([ONE, TWO]):
            done.append(wanted.name)
            if len(done) == 1:
                time.sleep(0.4)
                cut.clear()
        assert len(done) == 2


def test_a_capability_is_remembered_only_where_the_service_was_clear(
    jobs: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Service, "on_loopback", property(lambda service: False))
    world = find_model("world").folder
    with FinetuningServer(Script(bases=(), echo=True, fault=once("garbage", "/completions"))) as server:
        service = service_of("openai", server.base_url)
        asked = [
            gives_scores(service, "world", world) for _ in range(2)
        ]  # an odd answer; a model that is not there yet
        server.script.bases = ("world",)
        assert [*asked, gives_scores(service, "world", world)] == [False, False, True]
        assert gives_scores(service, "world", world) and server.counts["POST /completions"] == 3
    with FinetuningServer(Script(bases=("world",), echo=True, fault=once(400, "/completions"))) as server:
        service = service_of("openai", server.base_url)
        assert not gives_scores(service, "world", world) and not gives_scores(service, "world", world)
        assert server.counts["POST /completions"] == 1
