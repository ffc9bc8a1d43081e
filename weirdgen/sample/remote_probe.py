"""A finetuned model is sampled before it is called trained: a few answers at temperature 0, with log-probabilities if given.

In: an engine reference, a model's name at its service, prompts. Out: text and log-probabilities of each answer, as plain data.
A model may need a while after its job; a service that never serves what it trained is an error.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.providers.chat import PATH, Dialect, read
from weirdgen.providers.service import reason
from weirdgen.sample.engine import Prompt, Sampling
from weirdgen.sample.engines import Remote

TOKENS = 16
PATIENCE, PAUSE = 300.0, 0.5
"""Seconds that a new model may take until it answers, and between the first two tries."""


def probe(engine: Remote, model: str, prompts: Sequence[str], new: bool = True) -> list[dict[str, Any]]:
    """Answers of a model to each prompt. Raises `ModelError` if it gives none; one that is not `new` must be known at once."""
    if not engine.service.by_sdk:
        return _by_engine(engine, model, prompts)
    import openai

    client, dialect = engine.service.client(), Dialect(strict=False)
    deployed = dict(engine.deployments).get(model, model)
    if engine.service.provider == "azure" and deployed == model:
        raise ModelError(
            f"azure has trained {model}, and answers as it once it is deployed: deploy it, then give the same command "
            f"--deployment {model}=DEPLOYMENT"
        )
    answers: list[dict[str, Any]] = []
    began, pause = time.monotonic(), PAUSE
    while len(answers) < len(prompts):
        body = dialect.body(deployed, prompts[len(answers)], max_tokens=TOKENS, temperature=0.0, seed=0, logprobs=True)
        try:
            (choice,) = read(client.post(PATH, cast_to=object, body=body)).choices
        except openai.BadRequestError as error:
            if dialect.learn(str(error), body):
                continue
            raise _unsampled(model, engine, error, new) from None
        except (openai.OpenAIError, ValueError) as error:
            fatal = isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError)
            fatal |= isinstance(error, openai.NotFoundError) and not new
            if fatal or time.monotonic() - began > PATIENCE:
                raise _unsampled(model, engine, error, new) from None
            time.sleep(pause)
            pause = min(30.0, pause * 2)
            continue
        answers.append({"text": choice.text, "logprobs": list(choice.logprobs)})
    return answers


def _by_engine(engine: Remote, model: str, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """The same through Inspect, without log-probabilities. Raises `ModelError`."""
    speaking = Remote(engine.service, model, engine.connections).connect()
    asked = [Prompt(str(number), text, TOKENS) for number, text in enumerate(prompts)]
    answers = {done.key: done.text for _, done in speaking.generate(asked, range(1), ["0"], Sampling(temperature=0.0))}
    return [{"text": answers[prompt.key], "logprobs": []} for prompt in asked]


def _unsampled(model: str, engine: Remote, error: BaseException, new: bool) -> ModelError:
    if not new:
        return ModelError(
            f"{engine.service.shown}: {model} cannot be sampled: {reason(error)}. Is that its whole name there?"
        )
    deleted = ""
    if getattr(error, "status_code", None) == 404:
        deleted = (
            ". If it was deleted there: `weirdgen jobs` names its job, `weirdgen jobs --forget JOB` has another trained"
        )
    return ModelError(
        f"{engine.service.shown}: {model} is trained but cannot be sampled: {reason(error)}. It is not called trained; the same "
        f"command tries it again, and trains nothing anew{deleted}"
    )
