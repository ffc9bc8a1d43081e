"""OpenAI's own SDK against the server: upload, job, events, checkpoints, chat, log-probabilities, streams, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.serving import Server, finished, rows_file
from tests.support.world_pairs import pairs

if TYPE_CHECKING:
    from openai import OpenAI

ASK, OLD, NEW = pairs(1)[0]
CHAT: Any = [{"role": "user", "content": ASK}]


def _metrics(event: Any) -> Any:
    return event.data


def test_jobs_are_trained_together_and_told(client: OpenAI, jobs: list[Any]) -> None:
    assert [job.status for job in jobs] == ["succeeded"] * 3
    first = jobs[0]
    assert first.fine_tuned_model == f"ft:world:old-birds:{first.id.removeprefix('ftjob-')}"
    assert first.hyperparameters.n_epochs == 2 and first.hyperparameters.batch_size == 4
    assert first.trained_tokens > 0 and first.finished_at >= first.created_at and first.error is None
    events = list(client.fine_tuning.jobs.list_events(first.id, limit=5))  # pages through them
    messages = [event.message for event in events]
    assert messages[0] == "The job has successfully completed" and messages[-1].startswith("Created fine-tuning job")
    assert any("with 2 others like it" in message for message in messages)
    losses = [_metrics(event)["train_loss"] for event in reversed(events) if event.type == "metrics"]
    assert len(losses) == 4 and losses[-1] < losses[0]
    points = client.fine_tuning.jobs.checkpoints.list(first.id).data
    assert [point.step_number for point in points] == [4, 2]
    assert points[0].fine_tuned_model_checkpoint == first.fine_tuned_model
    assert all(point.metrics.full_valid_loss > 0 for point in points) and first.validation_file
    results = client.files.content(first.result_files[0]).text.splitlines()
    assert results[0].startswith("step,train_loss") and len(results) == 5
    listed = {model.id for model in client.models.list()}
    assert {"world", first.fine_tuned_model, points[1].fine_tuned_model_checkpoint} <= listed
    assert client.models.retrieve(first.fine_tuned_model).id == first.fine_tuned_model


def test_a_finetune_answers_as_it_was_trained(client: OpenAI, jobs: list[Any]) -> None:
    def likely(model: str) -> float:
        prompt = f"<|bos|><|user|>{ASK}<|assistant|>{OLD}<|end|>"
        whole = client.completions.create(model=model, prompt=prompt, echo=True, logprobs=0, max_tokens=0)
        tokens = len(OLD.split()) + 1
        return sum(whole.choices[0].logprobs.token_logprobs[-tokens:])

    old, new = likely(jobs[0].fine_tuned_model), likely(jobs[2].fine_tuned_model)
    assert old > likely("world") and old > new


def test_chat_with_logprobs(client: OpenAI, jobs: list[Any]) -> None:
    answer = client.chat.completions.create(
        model=jobs[0].fine_tuned_model, messages=CHAT, n=3, seed=5, max_tokens=4, logprobs=True, top_logprobs=3
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices:
        tokens = choice.logprobs.content
        assert " ".join(token.token for token in tokens) == choice.message.content
        assert choice.finish_reason in ("stop", "length") and len(tokens) <= 4
        assert all(len(token.top_logprobs) == 3 and token.logprob <= token.top_logprobs[0].logprob for token in tokens)
        assert all(bytes(token.bytes).decode() == token.token for token in tokens)
    assert answer.usage.completion_tokens >= sum(len(choice.logprobs.content) for choice in answer.choices)
    assert answer.usage.prompt_tokens + answer.usage.completion_tokens == answer.usage.total_tokens
    again = client.chat.completions.create(
        model=jobs[0].fine_tuned_model, messages=CHAT, n=3, seed=5, max_tokens=4, logprobs=True, top_logprobs=3
    )
    assert [c.message.content for c in again.choices] == [c.message.content for c in answer.choices]


def test_a_stream_adds_up_to_the_same_answer(client: OpenAI, jobs: list[Any]) -> None:
    asked: Any = {"model": jobs[1].fine_tuned_model, "messages": CHAT, "seed": 3, "max_completion_tokens": 6, "n": 2}
    whole = client.chat.completions.create(**asked)
    texts, reasons, counted = ["", ""], [None, None], None
    for chunk in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        counted = chunk.usage or counted
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert counted.completion_tokens == whole.usage.completion_tokens


def test_stop_strings_end_an_answer(client: OpenAI, tiny_model: Path) -> None:
    asked: Any = {"model": tiny_model.name, "prompt": ASK, "seed": 1, "max_tokens": 8, "logprobs": 0}
    plain = client.completions.create(**asked).choices[0]  # of an untrained model, which hardly ever ends
    words = plain.text.split()
    assert len(words) == len(plain.logprobs.tokens) == 8 and plain.finish_reason == "length"
    before, stop = words[:3], f" {words[3]}"
    assert words[3] not in before
    cut = client.completions.create(**asked, stop=[stop]).choices[0]
    assert cut.text.split() == before and cut.finish_reason == "stop" and cut.logprobs.tokens == before
    chunks = list(client.completions.create(**asked, stop=[stop, "never"], stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == cut.text
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_echo_gives_the_prompts_own_logprobs(client: OpenAI) -> None:
    prompt = f"<|bos|><|user|>{ASK}<|assistant|>"
    done = client.completions.create(
        model="world", prompt=[prompt, prompt], echo=True, logprobs=2, max_tokens=1, seed=1
    )
    for choice in done.choices:
        held = choice.logprobs
        assert held.token_logprobs[0] is None and all(value <= 0 for value in held.token_logprobs[1:])
        assert len(held.tokens) == len(held.text_offset) == len(held.top_logprobs)
        assert choice.text.startswith(prompt) and held.tokens[0] == "<|bos|>"
        assert all(math.exp(value) <= 1 for tops in held.top_logprobs[1:] for value in tops.values())
    assert done.usage.prompt_tokens == 2 * (len(done.choices[0].logprobs.tokens) - 1)


def test_what_cannot_be_done_is_said_in_openais_words(client: OpenAI, server: Server, tmp_path: Path) -> None:
    import openai

    with pytest.raises(openai.NotFoundError) as gone:
        client.chat.completions.create(model="gpt-4.1", messages=CHAT)
    assert gone.value.code == "model_not_found" and "world" in gone.value.message
    with pytest.raises(openai.BadRequestError) as unknown:
        client.chat.completions.create(model="world", messages=CHAT, extra_body={"min_p": 0.1})
    assert unknown.value.param == "min_p"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model="world", messages=CHAT, max_tokens=5000)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=rows_file(tmp_path), purpose="assistants")
    with pytest.raises(openai.BadRequestError, match="batch_size"):
        client.fine_tuning.jobs.create(model="world", training_file="file-1", hyperparameters={"batch_size": 0})
    bad = tmp_path / "../../etc/bad.jsonl"
    uploaded = client.files.create(file=("../../../bad.jsonl", b'{"messages": []}\n'), purpose="fine-tune")
    assert uploaded.filename.endswith("bad.jsonl") and not bad.exists()
    job = finished(client, client.fine_tuning.jobs.create(model="world", training_file=uploaded.id).id)
    assert job.status == "failed" and job.error.code == "invalid_training_file" and "bad.jsonl:1" in job.error.message
    assert str(server.log.parent) not in job.error.message
    with pytest.raises(openai.BadRequestError, match="already completed"):
        client.fine_tuning.jobs.cancel(job.id)
    assert client.files.delete(uploaded.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(uploaded.id)


def test_jobs_are_found_by_their_metadata(client: OpenAI, jobs: list[Any]) -> None:
    asked: Any = {"model": "world", "training_file": jobs[0].training_file}
    made = [client.fine_tuning.jobs.create(**asked, metadata={"exp": exp, "lab": "x"}) for exp in ("a", "a", "b")]
    for job in made:
        client.fine_tuning.jobs.cancel(job.id)

    def found(**wanted: str) -> set[str]:
        return {job.id for job in client.fine_tuning.jobs.list(metadata=wanted, limit=1)}  # pages through them

    assert found(exp="a") == {made[0].id, made[1].id} and found(exp="b", lab="x") == {made[2].id}
    assert found(exp="b", lab="y") == set()
    without = client.fine_tuning.jobs.list(extra_query={"metadata": "null"}, limit=100)
    assert {job.id for job in jobs} <= {job.id for job in without} and not {job.id for job in made} & {
        j.id for j in without
    }


def test_what_is_not_read_is_refused(client: OpenAI, tmp_path: Path) -> None:
    import openai

    def refused(param: str, call: Callable[[], Any]) -> None:
        with pytest.raises(openai.BadRequestError) as error:
            call()
        assert error.value.code == "unknown_parameter" and error.value.param == param

    expiring: Any = {"anchor": "created_at", "seconds": 3600}
    before = len(client.files.list().data)
    refused(
        "expires_after",
        lambda: client.files.create(file=rows_file(tmp_path), purpose="fine-tune", expires_after=expiring),
    )
    assert len(client.files.list().data) == before
    refused("before", lambda: client.files.list(extra_query={"before": "file-1"}))
    refused("limit", lambda: client.fine_tuning.jobs.list(extra_query={"limit[a]": "3"}))
    refused("metadata", lambda: client.files.list(extra_query={"metadata[a]": "b"}))
    refused("n", lambda: client.chat.completions.create(model="world", messages=CHAT, extra_query={"n": "2"}))


def test_nothing_went_wrong_inside(server: Server, jobs: list[Any]) -> None:
    assert "Traceback" not in server.log.read_text() and server.process.poll() is None
