"""Scores from a service whose `/completions` echoes a prompt with log-probabilities, for a base whose template is known here.

In: a service, the base's tokenizer on this disk, names of models. Out: log-probabilities of given answers. Prompts are token ids,
made exactly as on this machine, so that nothing depends on how the service splits a text. OpenAI's own models give none; a
probe of one short request says what a service can do, before anything is paid, and its answer is kept in the cache.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from weirdgen.errors import ModelError
from weirdgen.models.chat import answer_ids, load_tokenizer, prompt_ids
from weirdgen.providers.chat import Usage
from weirdgen.providers.meter import Meter
from weirdgen.providers.prices import find_price
from weirdgen.providers.purse import Purse
from weirdgen.providers.retries import Tries, maybe_charged
from weirdgen.providers.service import ASKED_AGAIN, Service
from weirdgen.sample.engine import Scorable, Scored
from weirdgen.store.cache import cache_folder, read_json, write_json
from weirdgen.store.keys import content_key

CAPABILITIES = "capabilities.json"
"""In the cache: service and model → whether it gives log-probabilities of given texts."""
MISSHAPEN = (ValueError, TypeError, AttributeError, IndexError)
"""What reading an answer of another shape raises: the SDK does not look."""


def gives_scores(service: Service, model: str, template: Path) -> bool:
    """Whether this model scores given texts; remembered if it does or the service refuses it in so many words, but for a server
    on this machine: another may run there tomorrow. A model that is not there yet, or an odd answer, is asked again.

    Raises `UnreachableError`, `ModelError` for a key that is refused.
    """
    import openai

    file, key = cache_folder() / CAPABILITIES, content_key([service.provider, service.url, model])
    known = read_json(file)
    if key in known and not service.on_loopback:
        return bool(known[key])
    client = service.client().with_options(max_retries=ASKED_AGAIN)
    try:
        _echoed(client, model, [prompt_ids(load_tokenizer(template), "Hello")])
    except (*MISSHAPEN, openai.NotFoundError):
        return False
    except (openai.BadRequestError, openai.UnprocessableEntityError):
        able = False
    except openai.OpenAIError as error:
        raise service.explained(error, f"asking whether {model} scores given texts") from None
    else:
        able = True
    write_json(file, {**known, key: able})
    return able


def scores(
    service: Service, template: Path, base: str, models: Sequence[str], questions: Sequence[Scorable], connections: int,
    purse: Purse | None, deployments: Mapping[str, str],
) -> Iterator[tuple[int, Scored]]:  # fmt: skip
    """(variant, score) of every option of every question by every model, a request each question.

    Raises `ModelError` or `BudgetError` of the first request that fails, after the scores that were under way beside it.
    """
    import openai

    tokenizer, client = load_tokenizer(template), service.counted(service.client())
    meters = [
        Meter(
            purse, find_price(service, base, model != base) if purse else None, what="score",
            provider=service.provider, model=model,
        )
        for model in models
    ]  # fmt: skip

    lock, under_way = threading.Lock(), 0

    def hold(meter: Meter, most: float | None) -> None:
        """Keep back what a request can cost. Raises `BudgetError` if that is too much even once nothing is under way."""
        nonlocal under_way
        while True:
            with lock:
                if meter.hold(most):
                    under_way += 1
                    return
                if not under_way:  # else what is under way may cost less than was kept back for it
                    raise meter.exhausted("another question")
            time.sleep(0.05)

    def ask(variant: int, question: Scorable) -> list[tuple[int, Scored]]:
        nonlocal under_way
        before = prompt_ids(tokenizer, question.ask)
        tails = [answer_ids(tokenizer, question.ask, option) for option in question.options]
        asked = [[*before, *tail] for tail in tails]
        model, meter = models[variant], meters[variant]
        usage = Usage(sum(map(len, asked)), len(asked))
        most, tries = meter.cost(usage), Tries()
        hold(meter, most)
        try:
            while True:
                try:
                    logprobs = _echoed(client, deployments.get(model, model), asked)
                    break
                except openai.OpenAIError as error:
                    if maybe_charged(error):
                        meter.book(most, None)
                    pause = tries.pause(error)
                    if pause is None or not meter.within():
                        raise service.explained(error, f"log-probabilities of given answers by {model}") from None
                    time.sleep(pause)
                except MISSHAPEN as error:
                    meter.book(most, usage)
                    raise ModelError(
                        f"{service.shown}: {model} gave no log-probabilities of given answers ({error})"
                    ) from None
            meter.book(most, usage)
        finally:
            with lock:
                meter.release(most)
                under_way -= 1
        return [
            (variant, Scored(question.key, option, sum(given[len(before) :]), len(tail)))
            for option, tail, given in zip(question.options, tails, logprobs, strict=True)
        ]

    wanted = [(variant, question) for variant in range(len(models)) for question in questions]
    with ThreadPoolExecutor(connections) as pool:
        waiting = [pool.submit(ask, variant, question) for variant, question in wanted]
        failure: BaseException | None = None
        try:
            for future in as_completed(waiting):
                if future.cancelled():
                    continue
                if (error := future.exception()) is None:
                    yield from future.result()
                    continue
                failure = failure or error
                for other in waiting:  # those under way are through soon, and paid
                    other.cancel()
        finally:
            for future in waiting:
                future.cancel()
    if failure is not None:
        raise failure


def _echoed(client: Any, model: str, prompts: list[list[int]]) -> list[list[float]]:
    """Log-probability of each token of each prompt (0 for the first, which has none).

    Raises what the SDK raises, and one of `MISSHAPEN` for an answer that is not the prompts' echo.
    """
    answer = client.completions.create(
        model=model, prompt=prompts, echo=True, logprobs=1, max_tokens=1, temperature=0, n=1
    )
    choices = sorted(answer.choices, key=lambda choice: int(choice.index))
    found = [
        [0.0, *map(float, choice.logprobs.token_logprobs[1 : len(ids)])]
        for choice, ids in zip(choices, prompts, strict=True)
    ]
    if any(len(given) != len(ids) for given, ids in zip(found, prompts, strict=True)):
        raise ValueError("it does not echo the tokens that it is sent")
    return found
