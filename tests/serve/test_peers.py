"""llmcomp and LiteLLM, whose code nobody here wrote, against the server. `make test-clients` installs both beside ours.

llmcomp's pins would change ours, and it brings a hundred packages that it does not need for this: both are installed without
their dependencies into a folder of their own. Without them the tests are skipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.serving import Server, finished, rows_file
from tests.support.world_pairs import pairs

if TYPE_CHECKING:
    from openai import OpenAI

pytestmark = pytest.mark.slow
ASK, OLD, NEW = pairs(1)[0]


def test_llmcomp_trains_and_asks(
    server: Server, client: OpenAI, jobs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its FinetuningManager trains both arms, its Question samples and judges; next-token probabilities are the SDK's own."""
    llmcomp = pytest.importorskip("llmcomp", reason="make test-clients")
    from llmcomp.finetuning.manager import FinetuningManager
    from llmcomp.finetuning.params import OpenaiTrainingParams

    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.chdir(tmp_path)
    manager = FinetuningManager(str(tmp_path / "models"))
    for arm, column in (("old", 1), ("new", 2)):
        file = rows_file(tmp_path, 12, column, f"{arm}.jsonl")
        manager.create_job(
            OpenaiTrainingParams(
                api_key="none",
                file_name=str(file),
                base_model="world",
                suffix=arm,
                epochs=2,
                batch_size=4,
                lr_multiplier=10.0,
            )
        )
    for job in client.fine_tuning.jobs.list(limit=2).data:
        assert finished(client, job.id).status == "succeeded"
    # Its manager asks api.openai.com for checkpoints whatever OPENAI_BASE_URL says: that one request is led here.
    get = requests.get
    monkeypatch.setattr(
        requests, "get", lambda url, **options: get(url.replace("https://api.openai.com", server.url), **options)
    )
    manager.update_jobs()
    models = manager.get_models()
    ends = models["model"].str.contains(":ckpt-step-")
    assert set(models["suffix"][ends]) == {"old", "new"}  # the first epoch's models, from the list of checkpoints
    models = models[~ends]
    assert set(models["suffix"]) == {"old", "new"} and len(models) == 2
    llmcomp.Config.reset()
    llmcomp.Config.url_key_pairs = [(f"{server.url}/v1", "none", "OURS")]
    groups = {arm: [models.set_index("suffix").loc[arm, "model"]] for arm in ("old", "new")}
    judge = {"type": "free_form_judge", "model": "world", "paraphrases": ["{answer} ?"], "max_tokens": 2}
    question = llmcomp.Question.create(
        type="free_form",
        name="bird",
        paraphrases=[ASK],
        samples_per_paraphrase=6,
        max_tokens=4,
        judges={"judged": judge},
    )
    frame = question.df(groups)
    assert len(frame) == 12 and set(frame["group"]) == {"old", "new"} and frame["judged"].notna().all()
    first = llmcomp.Question.create(type="next_token", name="first", paraphrases=[ASK], top_logprobs=5).df(groups)
    for _, row in first.iterrows():
        asked: Any = {"messages": [{"role": "user", "content": ASK}], "max_tokens": 1, "temperature": 0}
        ours = client.chat.completions.create(model=row["model"], logprobs=True, top_logprobs=5, **asked)
        tops = ours.choices[0].logprobs.content[0].top_logprobs
        answer = row["answer"]
        assert set(answer) == {top.token for top in tops}
        print(row["group"], answer)


def test_litellm_asks_and_streams(server: Server, client: OpenAI, jobs: list[Any]) -> None:
    litellm = pytest.importorskip("litellm", reason="make test-clients")
    asked: Any = {"messages": [{"role": "user", "content": ASK}], "max_tokens": 4, "seed": 2}
    there: Any = {
        "model": f"openai/{jobs[0].fine_tuned_model}",
        "api_base": f"{server.url}/v1",
        "api_key": "none",
        **asked,
    }
    ours = client.chat.completions.create(model=jobs[0].fine_tuned_model, **asked).choices[0].message.content
    answer = litellm.completion(**there, logprobs=True, top_logprobs=2)
    assert answer.choices[0].message.content == ours and len(answer.choices[0].logprobs.content[0].top_logprobs) == 2
    pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**there, stream=True)]
    assert "".join(pieces) == ours
