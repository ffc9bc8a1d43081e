"""Sampling at a service: how fast ours, the bare SDK, Inspect's `eval` and llmcomp get completions that cost nothing to make.

A stub on the loopback answers each request after 50 ms (`stub_server`); 500 requests are in flight. Ours is what a run does: the
SDK's requests, each answer kept in a journal, then in a table of the store. The peers are used as their documentation says, with
their own logs and caches. Two parts of ours stand beside it and say what limits it: the SDK's requests alone, and the SDK's
transport (aiohttp) without the SDK; neither keeps anything. The slow ones are given fewer completions; rates are per second.
llmcomp is measured where it is importable (`make test-clients` installs it into a folder; put that on PYTHONPATH).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, Setting, compare

SECONDS, IN_FLIGHT, PROMPTS = 0.05, 500, 100
COMPLETIONS = {"llmcomp": 3_000, "Inspect's eval": 1_500}
"""Of the slow ones; the others get `MOST`."""
MOST = 10_000
ASK = "Name a bird, number {number}."


def against_others(setting: Setting) -> list[Result]:
    rates: dict[str, float] = {}
    contenders: dict[str, Callable[[str, int, Path], None]] = {
        "ours": ours, "the bare SDK": bare_sdk, "the SDK's requests alone": sdk_requests, "aiohttp alone": aiohttp_alone,
        "Inspect's eval": inspect_eval,
    }  # fmt: skip
    if importlib.util.find_spec("llmcomp"):
        contenders["llmcomp"] = llmcomp_question
    with stub() as url:
        for name, contender in contenders.items():
            count = COMPLETIONS.get(name, MOST) // (10 if setting.quick else 1) // PROMPTS * PROMPTS
            contender(url, PROMPTS, setting.scratch / "warm")
            started = time.perf_counter()
            contender(url, count, setting.scratch / "timed")
            rates[name] = count / (time.perf_counter() - started)
    targets = {"Inspect's eval": 15.0, "llmcomp": 5.0}
    note = f"{IN_FLIGHT} in flight, {SECONDS * 1000:g} ms an answer"
    return [
        compare(f"providers: completions against {name}", rates["ours"], rate, "answers/s", targets.get(name), note)
        for name, rate in rates.items()
        if name != "ours"
    ]


@contextlib.contextmanager
def stub() -> Iterator[str]:
    """The base URL of a stub that is running."""
    words = [sys.executable, "-m", "benchmarks.stub_server", "--seconds", str(SECONDS)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


def ours(url: str, count: int, folder: Path) -> None:
    from weirdgen.providers.service import Service
    from weirdgen.sample.draw import completions_table, draw_missing
    from weirdgen.sample.engine import Prompt, Sampling
    from weirdgen.sample.engines import Remote
    from weirdgen.sample.variant import Variant
    from weirdgen.store.artifacts import Store

    store, variant, sampling = Store(folder / "store"), Variant("stub"), Sampling()
    engine = Remote(Service("openai", url), "stub", IN_FLIGHT).connect()
    engine.use([None])
    prompts = [Prompt(str(number), ASK.format(number=number), 8) for number in range(PROMPTS)]
    table = completions_table(store, variant, "openai", 0, sampling)
    table.journaled(store.unfinished("sample", "stub.jsonl"))
    draw_missing(engine, [table], [variant], prompts, count // PROMPTS, 0, sampling, lambda tokens: None)
    assert len(table.read()) == count


def bare_sdk(url: str, count: int, folder: Path) -> None:
    """The official SDK with its aiohttp transport, and nothing around it: answers are counted and dropped."""
    import openai

    async def all_of_them() -> None:
        async with openai.AsyncOpenAI(
            base_url=url, api_key="none", http_client=openai.DefaultAioHttpClient()
        ) as client:
            await _in_flight(count, lambda number: client.chat.completions.create(**_body(number)))

    asyncio.run(all_of_them())


def sdk_requests(url: str, count: int, folder: Path) -> None:
    """The same, its answers left as the JSON that came: as ours asks."""
    import openai

    async def all_of_them() -> None:
        async with openai.AsyncOpenAI(
            base_url=url, api_key="none", http_client=openai.DefaultAioHttpClient()
        ) as client:
            await _in_flight(count, lambda number: client.post("/chat/completions", cast_to=object, body=_body(number)))

    asyncio.run(all_of_them())


def aiohttp_alone(url: str, count: int, folder: Path) -> None:
    import aiohttp

    async def all_of_them() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one(number: int) -> object:
                async with session.post(f"{url}/chat/completions", json=_body(number)) as response:
                    return await response.json()

            await _in_flight(count, one)

    asyncio.run(all_of_them())


def _body(number: int) -> Any:
    asked = [{"role": "user", "content": ASK.format(number=number % PROMPTS)}]
    return {"model": "stub", "messages": asked, "max_tokens": 8, "temperature": 1.0, "top_p": 1.0, "seed": number}


async def _in_flight(count: int, ask: Callable[[int], Awaitable[object]]) -> None:
    free = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> object:
        async with free:
            return await ask(number)

    answers = await asyncio.gather(*(one(number) for number in range(count)))
    assert all(answers) and len(answers) == count


def inspect_eval(url: str, count: int, folder: Path) -> None:
    """A task of `PROMPTS` samples in as many epochs as it takes, without a scorer."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.solver import generate

    samples = [Sample(input=ASK.format(number=number)) for number in range(PROMPTS)]
    config = GenerateConfig(max_tokens=8, temperature=1.0, max_connections=IN_FLIGHT)
    served: dict[str, Any] = {"responses_api": False}  # the stub answers /chat/completions
    model = get_model("openai/stub", base_url=url, api_key="none", config=config, memoize=False, **served)
    (log,) = eval(
        Task(dataset=samples, solver=generate(), epochs=count // PROMPTS), model=model, log_dir=str(folder / "logs"),
        max_samples=IN_FLIGHT, display="none", score=False,
    )  # fmt: skip
    assert log.status == "success" and len(log.samples or []) == count


def llmcomp_question(url: str, count: int, folder: Path) -> None:
    import llmcomp

    folder.mkdir(parents=True, exist_ok=True)
    before = os.getcwd()
    llmcomp.Config.reset()
    llmcomp.Config.url_key_pairs = [(url, "none", "STUB")]
    llmcomp.Config.max_workers, llmcomp.Config.cache_dir = IN_FLIGHT, str(folder / "llmcomp")
    asks = [ASK.format(number=number) for number in range(PROMPTS)]
    question = llmcomp.Question.create(
        type="free_form", name="bird", paraphrases=asks, samples_per_paraphrase=count // PROMPTS, max_tokens=8
    )
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            assert len(question.df({"stub": ["stub"]})) == count
    finally:
        os.chdir(before)
