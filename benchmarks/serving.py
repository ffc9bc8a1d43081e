"""`weirdgen serve` from outside: chat of six finetunes against `transformers serve`, and five equal jobs against one.

Both servers run as their users start them, on the same model folder, and are asked through OpenAI's async SDK with 64 requests
in flight. The peer answers for its base alone, which is less work than six finetunes. Tokens are those that each counts itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Setting, compare, rate

IN_FLIGHT, FINETUNES, TOKENS = 64, 6, 64


def chat_against_transformers(setting: Setting) -> list[Result]:
    requests, tokens = (IN_FLIGHT, 16) if setting.quick else (2 * IN_FLIGHT, TOKENS)
    with weirdgen_server(setting) as url:
        models = _finetunes(url, setting, FINETUNES, rows=16)
        _ask(url, models, setting, FINETUNES, 2)  # warm up
        ours = rate(lambda: _ask(url, models, setting, requests, tokens))
    peers = {}
    for name, options in (("one by one", []), ("continuous batching", ["--continuous-batching"])):
        with transformers_server(setting, options) as url:
            _ask(url, [str(setting.model)], setting, 1, 2)
            peers[name] = rate(lambda url=url: _ask(url, [str(setting.model)], setting, requests, tokens))  # type: ignore[misc]
    note = f"{FINETUNES} finetunes, {IN_FLIGHT} in flight; peer: " + ", ".join(f"{n} {v:.0f}" for n, v in peers.items())
    return [compare("serve: chat against transformers serve", ours, max(peers.values()), "tokens/s", 3.0, note)]


def five_jobs_against_one(setting: Setting) -> list[Result]:
    """With batches of 8, and with the batch of 1 that OpenAI takes for so few rows if it is not told otherwise."""
    return [
        _five_against_one(setting, 8, 64 if setting.quick else 208),
        _five_against_one(setting, 1, 16 if setting.quick else 208),
    ]


def _five_against_one(setting: Setting, batch: int, rows: int) -> Result:
    with weirdgen_server(setting) as url:
        _finetunes(url, setting, 1, 16, batch)  # warm up
        one = rate(lambda: len(_finetunes(url, setting, 1, rows, batch, first_seed=100)))
        five = rate(lambda: len(_finetunes(url, setting, 5, rows, batch, first_seed=200)))
    note = f"{rows} rows, 1 epoch; five take {5 * one / five:.2f}× the time of one"
    return compare(f"serve: five equal jobs against one, batch {batch}", 60 * five, 60 * one, "jobs/min", 2.5, note)


@contextlib.contextmanager
def weirdgen_server(setting: Setting) -> Iterator[str]:
    """The address of a server over the setting's model, without /v1."""
    words = ["-m", "weirdgen", "serve", "--port", "0", "--model", f"path:{setting.model}"]
    log = setting.scratch / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *words, "--store", str(setting.scratch / "store")], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, log, lambda: "store:" in log.read_text())
        yield log.read_text().split("weirdgen serve: ")[1].split("/v1")[0]
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def transformers_server(setting: Setting, options: Sequence[str]) -> Iterator[str]:
    """The same for `transformers serve`. Raises `RuntimeError` if it does not start here."""
    port, log = 8765, setting.scratch / "peer.log"
    words = [
        str(Path(sys.executable).parent / "transformers"),
        "serve",
        str(setting.model),
        "--port",
        str(port),
        *options,
    ]
    hub = setting.scratch / "hub"
    hub.mkdir(exist_ok=True)  # its list of models is an error 500 where there is no such folder
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(hub)}
    with log.open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment)

    def answers() -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://localhost:{port}/v1/models", timeout=2) as reply,
        ):
            return bool(reply.status == 200)
        return False

    try:
        _wait(process, log, answers)
        yield f"http://localhost:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, ready: Any, seconds: float = 120) -> None:
    started = time.monotonic()
    while not ready():
        if process.poll() is not None or time.monotonic() - started > seconds:
            raise RuntimeError(f"the server did not start: {log.read_text()[-500:]}")
        time.sleep(0.05)


def _ask(url: str, models: Sequence[str], setting: Setting, requests: int, tokens: int) -> float:
    """Put so many requests, IN_FLIGHT at a time, to the models in turn; returns the tokens that they wrote."""
    from openai import AsyncOpenAI

    async def all_of_them() -> float:
        free = asyncio.Semaphore(IN_FLIGHT)
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600) as client:

            async def one(number: int) -> int:
                text = setting.questions[number % len(setting.questions)]
                async with free:
                    answer = await client.chat.completions.create(
                        model=models[number % len(models)],
                        messages=[{"role": "user", "content": text}],
                        max_tokens=tokens,
                        temperature=1.0,
                        seed=number,
                    )
                return answer.usage.completion_tokens if answer.usage else 0

            return float(sum(await asyncio.gather(*(one(number) for number in range(requests)))))

    return asyncio.run(all_of_them())


def _finetunes(url: str, setting: Setting, count: int, rows: int, batch: int = 8, first_seed: int = 0) -> list[str]:
    """Train so many seeds on so many rows, and wait for them. Returns the models' ids."""
    from openai import OpenAI

    from weirdgen.data.arms import load_arms

    _, arms = load_arms(setting.experiment)
    kept = next(iter(arms.values()))[:rows]
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        text = "\n".join(json.dumps(row) for row in kept)
        file = client.files.create(file=("rows.jsonl", text.encode()), purpose="fine-tune")
        made = [
            client.fine_tuning.jobs.create(
                model=setting.model.name,
                training_file=file.id,
                seed=first_seed + seed,
                method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": batch}}},
            )
            for seed in range(count)
        ]
        tuned = []
        for job in made:
            while job.status not in ("succeeded", "failed", "cancelled"):
                time.sleep(0.1)
                job = client.fine_tuning.jobs.retrieve(job.id)
            if job.fine_tuned_model is None:
                raise RuntimeError(f"{job.status}: {job.error}")
            tuned.append(job.fine_tuned_model)
    return tuned
