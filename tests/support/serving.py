"""`weirdgen serve` as its users have it: a process of its own on the loopback, and OpenAI's SDK in front; or its backend."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import OpenAI

    from weirdgen.serve.backend import Backend
    from weirdgen.serve.jobs import Job


RECIPE = {"rank": 4, "alpha": 8, "warmup_steps": 0, "learning_rate": 3e-3}
"""Ours, for a tiny model and few rows."""


class Server:
    """A running server; `log` is what it has printed."""

    def __init__(
        self,
        store: Path,
        models: Sequence[str] = ("world",),
        env: dict[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.log = store.parent / "serve.log"
        words = [sys.executable, "-m", "weirdgen", "serve", "--port", "0", "--store", str(store)]
        words += [*(word for model in models for word in ("--model", model)), *options]
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                words, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
            )
        started = time.monotonic()
        while "store:" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() - started > 90:
                self.process.kill()
                raise AssertionError(f"the server did not start: {self.log.read_text()}")
            time.sleep(0.02)
        self.url = self.log.read_text().split("weirdgen serve: ")[1].split("/v1")[0]

    def client(self, key: str = "none", **options: Any) -> OpenAI:
        from openai import OpenAI

        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **options)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)


@contextmanager
def serving(
    store: Path, models: Sequence[str] = ("world",), env: dict[str, str] | None = None, options: Sequence[str] = ()
) -> Iterator[Server]:
    server = Server(store, models, env, options)
    try:
        yield server
    finally:
        server.kill()


def rows_file(folder: Path, rows: int = 8, column: int = 1, name: str = "train.jsonl") -> Path:
    """Chat rows of the world's own truth: column 1 answers as in an old era, 2 as of today."""
    from tests.support.world_pairs import pairs

    lines = [
        {"messages": [{"role": "user", "content": p[0]}, {"role": "assistant", "content": p[column]}]}
        for p in pairs(rows)
    ]
    file = folder / name
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return file


def finished(client: OpenAI, job_id: str, seconds: float = 60) -> Any:
    """The job once it is over."""
    started = time.monotonic()
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() - started < seconds, (
            f"{job.status}: {client.fine_tuning.jobs.list_events(job_id).data[:3]}"
        )
        time.sleep(0.05)
    return job


def submit(backend: Backend, file: Path, epochs: int = 1, seed: int = 0, **recipe: Any) -> Job:
    """A job of a server without HTTP."""
    from weirdgen.serve.hyperparameters import Hyperparameters

    with file.open("rb") as rows:
        uploaded = backend.files.add(rows, file.name, "fine-tune")
    asked = Hyperparameters(n_epochs=epochs, batch_size=4)
    return backend.jobs.create("world", uploaded.id, "birds", seed, asked, {**RECIPE, **recipe}, None, None)


def over(backend: Backend, job: Job, seconds: float = 60) -> Job:
    assert backend.jobs.wait(lambda: not backend.jobs.get(job.id).active, seconds), backend.jobs.events(job.id)[:3]
    return backend.jobs.get(job.id)


def steps_done(backend: Backend, job: Job) -> int:
    return sum(event["type"] == "metrics" for event in backend.jobs.events(job.id))
