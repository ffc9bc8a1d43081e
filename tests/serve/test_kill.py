"""A server that is killed at any moment: what it had answered for is there when it is started again."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.serving import RECIPE, finished, rows_file, serving
from tests.support.world_pairs import pairs

if TYPE_CHECKING:
    from openai import OpenAI

CHAT = [{"role": "user", "content": pairs(1)[0][0]}]


def busy(client: OpenAI) -> None:
    """Asks until the server is gone."""
    import openai

    with contextlib.suppress(openai.OpenAIError):
        while True:
            client.chat.completions.create(model="world", messages=CHAT, max_tokens=4, n=4)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_kills_lose_nothing_that_was_answered(tmp_path: Path) -> None:
    import openai

    rng, store = random.Random(29), tmp_path / "store"
    files: dict[str, bytes] = {}
    jobs: list[str] = []
    for turn in range(10):
        with serving(store) as server:  # the block ends with kill -9
            client = server.client()
            assert {file.id for file in client.files.list().data if file.purpose == "fine-tune"} >= set(files)
            assert {client.fine_tuning.jobs.retrieve(job).status for job in jobs} <= {
                "validating_files", "queued", "running", "succeeded",
            }  # fmt: skip
            threading.Thread(target=busy, args=(client,), daemon=True).start()
            killing = threading.Timer(rng.uniform(0.05, 2.5), server.process.kill)
            killing.start()
            with contextlib.suppress(openai.OpenAIError):
                content = rows_file(tmp_path, 8 + turn).read_bytes()
                uploaded = client.files.create(file=("rows.jsonl", content), purpose="fine-tune")
                files[uploaded.id] = content
                while True:
                    made = client.fine_tuning.jobs.create(
                        model="world",
                        training_file=uploaded.id,
                        seed=len(jobs),
                        extra_body={"recipe": {**RECIPE, "epochs": 30}},
                    )
                    jobs.append(made.id)
                    time.sleep(rng.uniform(0.1, 1.0))
            killing.join()
    assert len(files) >= 5 and len(jobs) >= 5
    with serving(store) as server:
        client = server.client()
        done = [finished(client, job, 300) for job in jobs]
        assert {job.status for job in done} == {"succeeded"}
        assert len({job.fine_tuned_model for job in done}) == len(jobs)
        for name, content in files.items():
            assert client.files.content(name).read() == content
        for job in done[:3]:
            assert client.chat.completions.create(model=job.fine_tuned_model, messages=CHAT, max_tokens=2).choices
        log = server.log.read_text()
        assert "Traceback" not in log and "damaged" not in log
