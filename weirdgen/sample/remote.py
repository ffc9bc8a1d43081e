"""The remote engine: answers of models at a service that speaks OpenAI's dialect, through the official SDK.

In: a service, the base's name there, folders that name finetuned models (`finetuned.json`). Out: completions as they come. Only
what is missing is asked for, each sample with a seed of its own, at most so many requests at a time. Rate limits, server errors
and cut connections are tried again (`providers.retries`); what fails for good is counted, and after many in a row the service
counts as down. Whatever may be charged is booked before it is looked at. It gives no log-probabilities of given texts: questions
that need them fall away before the run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from weirdgen.errors import ModelError
from weirdgen.models.remote import kept_name
from weirdgen.providers.background import FIRST, Asker
from weirdgen.providers.chat import PATH, Choice, Dialect, Reply, Usage, read, usage_of, withheld
from weirdgen.providers.meter import Meter
from weirdgen.providers.prices import find_price
from weirdgen.providers.purse import Purse
from weirdgen.providers.retries import Tries, maybe_charged, too_long
from weirdgen.providers.service import Service, reason
from weirdgen.sample.engine import Completion, Prompt, Sampling, Scorable, Scored, sample_seed

ENDINGS: dict[str, Literal["stop", "length", "withheld"]] = {
    "stop": "stop", "length": "length", "content_filter": "withheld",
}  # fmt: skip
"""What the protocol calls an answer's end → what we call it."""
MISREAD = 2
"""Further tries of a request whose answer was not of the protocol's shape."""
NO_SEED = -1
"""In a row whose model takes no seed."""
TIMEOUT = 900.0
"""Seconds for one request, all tries together."""


class Ask(NamedTuple):
    """One request: these samples of a prompt by a variant."""

    variant: int
    prompt: Prompt
    samples: tuple[int, ...]


@dataclass(frozen=True)
class Failed:
    ask: Ask
    why: str


_Answered = list[tuple[int, Completion]] | Failed


class RemoteEngine(Asker[Ask, _Answered]):
    """`Engine` over one service."""

    def __init__(
        self,
        service: Service,
        base: str,
        connections: int = 16,
        choices: int = 1,
        deployments: Mapping[str, str] | None = None,
    ) -> None:
        """`deployments`: model → the name under which Azure answers as it."""
        super().__init__(service.shown, connections)
        self._service, self._base, self._choices = service, base, choices
        self._deployments = deployments or {}
        self._dialects: dict[str, Dialect] = {}
        self._models = [base]
        self._require_ready()
        self._meters: dict[str, Meter] = {}
        self.purse: Purse | None = None
        """What may be spent; without one nothing is counted. Set before anything is asked."""

    def exactness(self) -> list[dict[str, Any]]:
        """A service's own ways are not tried."""
        return []

    def use(self, adapters: Sequence[Path | None]) -> None:
        self._models = [self._base if folder is None else kept_name(folder) for folder in adapters]

    def generate(
        self, prompts: Sequence[Prompt], indices: range, seeds: Sequence[str], sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        """Every sample of `indices`. Raises `ModelError` if one cannot be had."""
        wanted = [(variant, prompt) for variant in range(len(self._models)) for prompt in prompts]
        asks = [ask for variant, prompt in wanted for ask in self.asks(variant, prompt, list(indices))]
        failed: list[Failed] = []
        for answered in self.answer(asks, seeds, sampling):
            if isinstance(answered, Failed):
                failed.append(answered)
            else:
                yield answered
        self.require_answered(failed)

    def score(self, questions: Sequence[Scorable]) -> Iterator[tuple[int, Scored]]:
        raise ModelError(
            f"{self._service.shown} gives no log-probabilities of given answers; ask it free-form questions"
        )

    def asks(self, variant: int, prompt: Prompt, samples: Sequence[int]) -> list[Ask]:
        """Requests for these samples."""
        size = self._choices
        return [Ask(variant, prompt, tuple(samples[at : at + size])) for at in range(0, len(samples), size)]

    def require_answered(self, failed: Sequence[Failed]) -> None:
        """Raises `ModelError` that counts what could not be had, by reason."""
        if not failed:
            return
        samples = sum(len(one.ask.samples) for one in failed)
        why = max({one.why for one in failed}, key=[one.why for one in failed].count)
        raise ModelError(
            f"{self._service.shown}: {samples} answers could not be had, most of them for: {why}. The others are kept; the same "
            "command asks for what is missing"
        )

    def answer(
        self, asks: Sequence[Ask], seeds: Sequence[str], sampling: Sampling
    ) -> Iterator[tuple[int, Completion] | Failed]:
        """Completions and failures in the order of their arrival. Closing the iterator cancels what is under way.

        Raises `ModelError` if the first requests fail, or many in a row.
        """
        ask = partial(self._asked, seeds=seeds, sampling=sampling)
        with contextlib.closing(self.ask_all(asks, ask, min(FIRST, len(asks)))) as items:
            for item in items:
                if isinstance(item, Failed):
                    yield item
                else:
                    yield from item

    async def _asked(self, client: Any, ask: Ask, seeds: Sequence[str], sampling: Sampling) -> _Answered:
        model = self._models[ask.variant]
        # As large a seed as a double holds exactly: some servers read JSON's numbers so.
        seed = sample_seed(seeds[ask.variant], ask.prompt.key, ask.samples[0]) >> 10
        reply = await self._send(client, self._deployments.get(model, model), ask, seed, sampling)
        return Failed(ask, reply) if isinstance(reply, str) else self._completions(ask, reply)

    def _require_ready(self) -> None:
        """Raises `ModelError` for a missing package, key or address: now, rather than at the first request."""
        self._service.client()

    def _open(self) -> Any:
        return self._service.counted(self._service.async_client())

    async def _close(self, client: Any) -> None:
        await client.close()

    def _failure(self, answer: _Answered) -> str | None:
        return answer.why if isinstance(answer, Failed) else None

    def _next(self, left: int) -> str:
        return f"one of {left} requests that are left"

    def _rest(self, request: Ask, answer: _Answered) -> Ask | None:
        if isinstance(answer, Failed) or len(answer) >= len(request.samples):
            return None
        return request._replace(samples=request.samples[len(answer) :])

    async def _send(self, client: Any, model: str, ask: Ask, seed: int, sampling: Sampling) -> Reply | str:
        """The reply to one request, all tries together; a text that says why there is none."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._tried(client, model, ask, seed, sampling)
        except TimeoutError:
            return f"no answer in {TIMEOUT:,.0f} s, all tries together"

    async def _tried(self, client: Any, model: str, ask: Ask, seed: int, sampling: Sampling) -> Reply | str:
        import openai

        dialect = self._dialects.setdefault(model, Dialect())
        misread, tries = 0, Tries()
        while True:
            body = dialect.body(
                model, ask.prompt.text, max_tokens=ask.prompt.max_tokens, temperature=sampling.temperature,
                top_p=sampling.top_p, seed=seed, choices=len(ask.samples),
            )  # fmt: skip
            sent = body.get("seed")
            try:
                return read(await self._posted(client, ask, body), len(ask.samples))._replace(seed=sent)
            except openai.BadRequestError as error:
                if withheld(error):
                    self._book(ask, None)  # Azure charges for what it filters
                    return Reply([Choice("", "content_filter", ())] * len(ask.samples), Usage(0, 0), sent)
                if not dialect.learn(str(error), body):
                    return reason(error)
            except (ValueError, openai.APIResponseValidationError) as error:  # of another shape than the protocol's
                misread += 1
                if misread > MISREAD:
                    return reason(error)
            except openai.OpenAIError as error:
                pause = tries.pause(error)
                if pause is None:
                    return reason(error) + too_long(error)
                await asyncio.sleep(pause)
            if not self._meter(ask).within():
                return "its tries so far may have been charged, and another could pass the budget"

    async def _posted(self, client: Any, ask: Ask, body: dict[str, Any]) -> Any:
        """One response, whatever its shape. What it may be charged is booked, also if it does not come."""
        try:
            answer = await client.post(PATH, cast_to=object, body=body)
        except BaseException as error:
            if maybe_charged(error):
                self._book(ask, None)
            raise
        self._book(ask, usage_of(answer))
        return answer

    def _meter(self, request: Ask) -> Meter:
        model = self._models[request.variant]
        if model not in self._meters:
            price = find_price(self._service, self._base, model != self._base) if self.purse else None
            line = {"what": "sample", "provider": self._service.provider, "model": model}
            self._meters[model] = Meter(self.purse, price, **line)
        return self._meters[model]

    def _most(self, request: Ask) -> float | None:
        prompt = request.prompt
        return self._meter(request).most(prompt.text, prompt.max_tokens, len(request.samples))

    def _book(self, ask: Ask, usage: Usage | None) -> None:
        self._meter(ask).book(self._most(ask), usage)

    def _completions(self, ask: Ask, reply: Reply) -> list[tuple[int, Completion]]:
        """One row per choice. Several choices share what was read, written and sent as their seed: each is given an equal part of
        what was written (0 if the service tells no counts)."""
        usage = reply.usage or Usage(0, 0)
        counts = {"prompt_tokens": usage.read, "completion_tokens": -(-usage.written // len(reply.choices))}
        seed = NO_SEED if reply.seed is None else reply.seed
        return [
            (
                ask.variant,
                Completion(ask.prompt.key, sample, choice.text, ENDINGS[choice.finish_reason], seed=seed, **counts),
            )
            for sample, choice in zip(ask.samples, reply.choices, strict=False)
        ]
