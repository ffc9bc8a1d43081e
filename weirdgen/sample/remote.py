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
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from weirdgen.errors import ModelError
from weirdgen.models.remote import kept_name
from weirdgen.providers.background import Put, iterate_in_background
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
FIRST = 3
"""Failures before the first answer after which the service counts as out of reach."""
FAILURES_IN_A_ROW = 20
MISREAD = 2
"""Further tries of a request whose answer was not of the protocol's shape."""
NO_SEED = -1
"""In a row whose model takes no seed."""
TIMEOUT = 900.0
"""Seconds for one request, all tries together; for opening the client too."""


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


@dataclass
class _Flow:
    """Requests on their way, in one event loop."""

    waiting: list[Ask]
    """The next one last."""
    wanted: int
    arrived: Put[_Answered]
    stop: threading.Event
    under_way: int = 0
    answered: bool = False
    in_a_row: int = 0
    """Failures since the last answer."""


class RemoteEngine:
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
        self._service, self._base = service, base
        self._connections, self._choices = connections, choices
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
        items = iterate_in_background(partial(self._answer_all, asks, seeds, sampling), "remote")
        with contextlib.closing(items):
            for item in items:
                if isinstance(item, Failed):
                    yield item
                else:
                    yield from item

    async def _answer_all(
        self,
        asks: Sequence[Ask],
        seeds: Sequence[str],
        sampling: Sampling,
        arrived: Put[_Answered],
        stop: threading.Event,
    ) -> None:
        client = await asyncio.wait_for(asyncio.to_thread(self._open), TIMEOUT)
        flow = _Flow(list(reversed(asks)), len(asks), arrived, stop)
        whole = asyncio.create_task(self._work(client, flow, seeds, sampling))
        try:
            while not whole.done() and not stop.is_set():
                await asyncio.wait([whole], timeout=0.2)
            if not stop.is_set():
                whole.result()
        finally:
            whole.cancel()
            await asyncio.gather(whole, return_exceptions=True)
            await self._close(client)

    async def _work(self, client: Any, flow: _Flow, seeds: Sequence[str], sampling: Sampling) -> None:
        """Every request, as many at a time as there are connections; until one is answered they go one by one, so that a wrong
        key or name costs few. Raises `ModelError` after too many failures, `BudgetError` once nothing more may be paid."""

        async def in_turn(until_answered: bool) -> None:
            while flow.waiting and not flow.stop.is_set() and not (until_answered and flow.answered):
                ask = flow.waiting[-1]
                if not self._meter(ask).hold(self._most(ask)):
                    if not flow.under_way:  # else what is under way may cost less than was kept back for it
                        raise self._meter(ask).exhausted(f"one of {len(flow.waiting)} requests that are left")
                    await asyncio.sleep(0.05)
                    continue
                flow.waiting.pop()
                flow.under_way += 1
                try:
                    result = await self._asked(client, ask, seeds, sampling)
                    if not isinstance(result, Failed) and (rest := ask.samples[len(result) :]):
                        flow.waiting.append(ask._replace(samples=rest))  # what came is paid, and kept
                    self._count(flow, result)
                finally:
                    flow.under_way -= 1
                    self._meter(ask).release(self._most(ask))

        await in_turn(until_answered=True)
        workers = [asyncio.create_task(in_turn(False)) for _ in range(min(self._connections, len(flow.waiting)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _count(self, flow: _Flow, result: _Answered) -> None:
        flow.arrived(result)
        if not isinstance(result, Failed):
            flow.answered, flow.in_a_row = True, 0
            return
        flow.in_a_row += 1
        if flow.in_a_row >= (FAILURES_IN_A_ROW if flow.answered else min(FIRST, flow.wanted)):
            which = (
                f"{flow.in_a_row} requests failed in a row"
                if flow.answered
                else f"the first {flow.in_a_row} requests failed"
            )
            raise ModelError(
                f"{self._service.shown}: {which}: {result.why}. Answers so far are kept; the same command continues from there"
            )

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

    def _meter(self, ask: Ask) -> Meter:
        model = self._models[ask.variant]
        if model not in self._meters:
            price = find_price(self._service, self._base, model != self._base) if self.purse else None
            line = {"what": "sample", "provider": self._service.provider, "model": model}
            self._meters[model] = Meter(self.purse, price, **line)
        return self._meters[model]

    def _most(self, ask: Ask) -> float | None:
        return self._meter(ask).most(ask.prompt.text, ask.prompt.max_tokens, len(ask.samples))

    def _book(self, ask: Ask, usage: Usage | None) -> None:
        self._meter(ask).book(self._most(ask), usage)

    def _completions(self, ask: Ask, reply: Reply) -> list[tuple[int, Completion]]:
        """One row a choice. Several choices share what was read, written and sent as their seed: each is given an equal part of
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
