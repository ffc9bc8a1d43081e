"""Clients that others wrote: Inspect's `openai-api/` provider, schemathesis; and the script of docs/serve.md.

llmcomp and LiteLLM have `tests/serve/test_peers.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.serving import Server, rows_file
from tests.support.world_pairs import pairs

if TYPE_CHECKING:
    from openai import OpenAI

ASK, OLD, NEW = pairs(1)[0]
DOCS = Path(__file__).parents[2] / "docs" / "serve.md"


@pytest.mark.slow
def test_inspect_asks_a_finetune(
    server: Server, client: OpenAI, jobs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspect_ai.model import GenerateConfig, get_model

    monkeypatch.setenv("WEIRDGEN_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("WEIRDGEN_API_KEY", "none")
    tuned = jobs[0].fine_tuned_model
    config = GenerateConfig(max_tokens=4, seed=3, num_choices=2, logprobs=True, top_logprobs=2, max_retries=0)

    async def ask() -> Any:
        return await get_model(f"openai-api/weirdgen/{tuned}", config=config, memoize=False).generate(ASK)

    output = asyncio.run(ask())
    asked: Any = {"messages": [{"role": "user", "content": ASK}], "seed": 3, "max_tokens": 4, "n": 2}
    ours = client.chat.completions.create(model=tuned, **asked)
    assert [choice.message.text for choice in output.choices] == [choice.message.content for choice in ours.choices]
    assert [choice.stop_reason for choice in output.choices] == [
        {"stop": "stop", "length": "max_tokens"}[choice.finish_reason] for choice in ours.choices
    ]
    assert all(len(token.top_logprobs) == 2 for token in output.choices[0].logprobs.content)
    assert output.usage.input_tokens == ours.usage.prompt_tokens


def fuzz(server: Server, each: int, only: str = "") -> Counter[int]:
    """Statuses of so many cases of every operation (or `only` some), half of a valid shape with a model that is there."""
    import schemathesis
    from schemathesis import GenerationMode

    statuses: Counter[int] = Counter()
    for result in schemathesis.openapi.from_url(f"{server.url}/openapi.json").get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        if re.search(only, operation.label):
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _fuzz(operation, mode, each, statuses)
    return statuses


def _fuzz(operation: Any, mode: Any, each: int, statuses: Counter[int]) -> None:
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis.errors import Unsatisfiable
    from requests.exceptions import InvalidHeader, InvalidURL

    @seed(20261129)
    @settings(
        max_examples=each,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if isinstance(case.body, dict):
            if isinstance(case.body.get("model"), str):
                case.body["model"] = "world"
            if isinstance(case.body.get("n"), int):
                case.body["n"] %= 40
        try:
            response = case.call(timeout=60)
        except (InvalidHeader, InvalidURL, UnicodeError):  # what the client's own library does not send
            statuses[0] += 1
            return
        statuses[response.status_code] += 1
        assert response.status_code < 500, f"{operation.label}: {response.text[:500]}"
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}, operation.label

    try:
        send()
    except Unsatisfiable:  # nothing can be wrong about a request without parameters
        assert mode.name == "NEGATIVE", operation.label


@pytest.mark.slow
def test_no_case_of_schemathesis_is_a_server_error(server: Server) -> None:
    statuses = fuzz(server, 12, "POST /v1/(chat|completions|fine_tuning/jobs$)|GET /v1/models/")
    assert sum(statuses.values()) >= 80 and {200, 400, 404} <= set(statuses)


@pytest.mark.slow
def test_ten_thousand_cases_of_schemathesis(server: Server, client: OpenAI) -> None:
    statuses = fuzz(server, 440)
    print(f"\nschemathesis: {sum(statuses.values()):,} cases, {dict(sorted(statuses.items()))}")
    assert sum(statuses.values()) - statuses[0] >= 10_000
    assert client.models.retrieve("world").id == "world" and server.process.poll() is None
    assert "Traceback" not in server.log.read_text()


def test_the_script_of_the_page_runs(server: Server, tmp_path: Path) -> None:
    script = DOCS.read_text(encoding="utf-8").split("```python")[1].split("```")[0]
    assert len([line for line in script.splitlines() if line.strip()]) <= 22
    rows_file(tmp_path, 8)
    script = script.replace("http://127.0.0.1:8000", server.url).replace("smollm2-135m-instruct", "world")
    script = re.sub(r'"What year is it\?"', repr(ASK), script)
    env = {**os.environ, "OPENAI_API_KEY": "none"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "ft:world:my-data:" in done.stdout and "Step" in done.stdout
