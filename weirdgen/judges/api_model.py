"""Judging models behind an API, through Inspect AI (`weirdgen.providers.inspect`).

In: requests. Out: replies as they come, with log-probabilities where the provider gives them. Keys and base addresses
are read from the environment by Inspect's providers (`OPENAI_API_KEY`, `VLLM_BASE_URL`, …). Rate limits and server
errors are tried again with growing pauses by Inspect; what fails for good is a `Reply` with an error. The first request
goes out alone, and two more if it fails, so that a wrong key or name costs three calls and stops the run.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from weirdgen.errors import ModelError
from weirdgen.judges.model import CONNECTIONS, Reply, Request, Token
from weirdgen.providers.background import Put, iterate_in_background
from weirdgen.providers.chat import Usage
from weirdgen.providers.inspect import close_model, config_of, open_model, reason, require_inspect
from weirdgen.providers.meter import Meter
from weirdgen.providers.prices import judge_price
from weirdgen.providers.purse import Purse
from weirdgen.providers.retries import maybe_charged

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model, ModelOutput

FIRST = 3
"""Failures before the first reply after which the model counts as out of reach; a single one may be due to its prompt."""
RETRIES = 6
TIMEOUT = 900
"""Seconds for one request, all attempts together."""
ALTERNATIVES = 20
"""Log-probabilities asked for each token: the most that OpenAI gives."""
FAILURES_IN_A_ROW = 20
"""After so many the provider is taken to be down and the run stops; nothing that came before is lost."""
UNSUPPORTED = (("logprobs", ("logprobs", "top_logprobs")), ("temperature", ("temperature",)))
"""Word in a provider's refusal → settings that are then left out."""


class ApiJudgeModel:
    """A `JudgeModel` behind any provider of Inspect. Temperature is 0 where the model accepts one."""

    def __init__(
        self, reference: str, connections: int = CONNECTIONS, retries: int = RETRIES, purse: Purse | None = None
    ) -> None:
        """`purse`: what may be spent; without one nothing is counted."""
        require_inspect(f"judge model '{reference}'")
        if reference.startswith("vllm/") and not os.environ.get("VLLM_BASE_URL"):
            raise ModelError(
                f"judge model '{reference}': set VLLM_BASE_URL to a running server (vllm serve NAME), or use local:hub:NAME"
            )
        self.reference = reference
        self._connections, self._retries = max(1, connections), retries
        self._left_out: set[str] = set()
        provider, _, name = reference.partition("/")
        price = judge_price(reference) if purse else None
        self._meter = Meter(purse, price, what="judge", provider=provider, model=name)
        self._under_way = 0

    def ask(self, requests: Sequence[Request]) -> Generator[Reply]:
        """Replies in the order of their arrival. Closing the iterator (or Ctrl-C) cancels what is under way."""
        return iterate_in_background(partial(self._ask_all, requests), "judge")

    async def _ask_all(self, requests: Sequence[Request], arrived: Put[Reply], stop: threading.Event) -> None:
        model = self._open()
        waiting = list(reversed(requests))
        pending: set[asyncio.Task[Reply]] = set()
        failed = 0
        try:
            if waiting:
                for reply in await self._first(model, waiting):
                    arrived(reply)
            while (waiting or pending) and not stop.is_set():
                while waiting and len(pending) < self._connections:
                    pending.add(asyncio.create_task(self._ask(model, waiting.pop())))
                done, pending = await asyncio.wait(pending, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    reply = task.result()
                    failed = failed + 1 if reply.error and not reply.withheld else 0
                    arrived(reply)
                    if failed >= FAILURES_IN_A_ROW:
                        raise ModelError(
                            f"judge model '{self.reference}': {failed} requests failed in a row, the last with: {reply.error}. "
                            "Verdicts so far are kept; the same command continues from there"
                        )
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            await close_model(model)

    def _open(self) -> Model:
        return open_model(self.reference, f"judge model '{self.reference}'")

    async def _first(self, model: Model, waiting: list[Request]) -> list[Reply]:
        """The first replies, taken off the end of `waiting`. Raises `ModelError` if `FIRST` requests fail."""
        first = await self._without_unsupported(model, waiting.pop())
        if first.error is None or first.withheld:
            return [first]
        more = [waiting.pop() for _ in range(min(FIRST - 1, len(waiting)))]
        replies = [first, *await asyncio.gather(*(self._ask(model, request) for request in more))]
        if len(replies) == FIRST and all(reply.error and not reply.withheld for reply in replies):
            raise ModelError(f"judge model '{self.reference}': the first {FIRST} requests failed: {first.error}")
        return replies

    async def _without_unsupported(self, model: Model, request: Request) -> Reply:
        """A reply to this request, from now on leaving out the settings that the provider does not take."""
        while True:
            reply = await self._ask(model, request)
            refused = (reply.error or "").lower()
            culprits = [fields for word, fields in UNSUPPORTED if word in refused and not set(fields) <= self._left_out]
            if not culprits:
                return reply
            self._left_out |= set(culprits[0])

    async def _ask(self, model: Model, request: Request) -> Reply:
        most = self._meter.most(request.prompt, request.max_tokens)
        while not self._meter.hold(most):
            if not self._under_way:  # else what is under way may cost less than was kept back for it
                raise self._meter.exhausted(f"another question to {self.reference}")
            await asyncio.sleep(0.05)
        self._under_way += 1
        try:
            output = await model.generate(request.prompt, config=self._config(request))
        except BaseException as error:
            if maybe_charged(error):
                self._meter.book(most, None)
            if not isinstance(error, Exception):
                raise
            return Reply(request.key, error=reason(error))  # counted by the caller: one must not end a run of thousands
        finally:
            self._under_way -= 1
            self._meter.release(most)
        usage = output.usage
        self._meter.book(most, Usage(usage.input_tokens, usage.output_tokens) if usage else None)
        return reply_of(request, output)

    def _config(self, request: Request) -> GenerateConfig:
        wanted: dict[str, Any] = {"temperature": 0.0}
        if request.weighted:
            wanted |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
        return config_of(
            max_tokens=request.max_tokens,
            max_retries=self._retries,
            timeout=TIMEOUT,
            max_connections=self._connections,
            **{name: value for name, value in wanted.items() if name not in self._left_out},
        )


def reply_of(request: Request, output: ModelOutput) -> Reply:
    """What Inspect's model wrote, as judges read it."""
    if output.error or not output.choices:
        return Reply(request.key, error=output.error or "the provider returned no choice")
    choice = output.choices[0]
    if choice.stop_reason == "content_filter":
        return Reply(request.key, error="the provider's content filter withheld the reply", withheld=True)
    content = choice.logprobs.content if choice.logprobs else []
    tokens = tuple(Token(t.token, {a.token: a.logprob for a in t.top_logprobs or []}) for t in content)
    usage = output.usage
    return Reply(
        request.key,
        text=choice.message.text,
        cut=choice.stop_reason in ("max_tokens", "model_length"),
        tokens=tokens,
        input_tokens=usage.input_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
    )
