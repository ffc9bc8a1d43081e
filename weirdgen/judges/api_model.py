"""Judging models behind an API, through Inspect AI (`weirdgen.providers.inspect`).

In: requests. Out: replies as they come, with log-probabilities where the provider gives them. Keys and base addresses
are read from the environment by Inspect's providers (`OPENAI_API_KEY`, `VLLM_BASE_URL`, …). Rate limits and server
errors are tried again with growing pauses by Inspect; what fails for good is a `Reply` with an error. How many go out at a
time, and when the provider counts as down, is `weirdgen.providers.background`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from weirdgen.errors import ModelError
from weirdgen.judges.model import CONNECTIONS, Reply, Request, Token
from weirdgen.providers.background import Asker
from weirdgen.providers.inspect import answer, close_model, config_of, open_model, require_inspect
from weirdgen.providers.meter import Meter
from weirdgen.providers.prices import judge_price
from weirdgen.providers.purse import Purse

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model, ModelOutput

RETRIES = 6
TIMEOUT = 900
"""Seconds for one request, all attempts together."""
ALTERNATIVES = 20
"""Log-probabilities asked for each token: the most that OpenAI gives."""
UNSUPPORTED = (("logprobs", ("logprobs", "top_logprobs")), ("temperature", ("temperature",)))
"""Word in a provider's refusal → settings that are then left out."""


class ApiJudgeModel(Asker[Request, Reply]):
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
        super().__init__(f"judge model '{reference}'", connections)
        self.reference, self._retries = reference, retries
        self._learns, self._left_out = True, set[str]()
        provider, _, name = reference.partition("/")
        price = judge_price(reference) if purse else None
        self._only_meter = Meter(purse, price, what="judge", provider=provider, model=name)

    def ask(self, requests: Sequence[Request]) -> Generator[Reply]:
        """Replies in the order of their arrival. Closing the iterator (or Ctrl-C) cancels what is under way."""
        return self.ask_all(requests, self._ask)

    def _open(self) -> Model:
        return open_model(self.reference, self._shown)

    async def _close(self, client: Model) -> None:
        await close_model(client)

    def _meter(self, request: Request) -> Meter:
        return self._only_meter

    def _most(self, request: Request) -> float | None:
        return self._only_meter.most(request.prompt, request.max_tokens)

    def _failure(self, answer: Reply) -> str | None:
        return None if answer.withheld else answer.error

    def _next(self, left: int) -> str:
        return f"another question to {self.reference}"

    async def _ask(self, model: Model, request: Request) -> Reply:
        reply = await self._asked(model, request)
        # What the provider does not take is learnt from its first reply, and from then on left out.
        while self._learns and (culprits := self._refused(reply)):
            self._left_out |= culprits
            reply = await self._asked(model, request)
        self._learns = False
        return reply

    def _refused(self, reply: Reply) -> set[str]:
        refusal = (reply.error or "").lower()
        refused = (set(fields) for word, fields in UNSUPPORTED if word in refusal)
        return next((fields for fields in refused if not fields <= self._left_out), set())

    async def _asked(self, model: Model, request: Request) -> Reply:
        book = partial(self._only_meter.book, self._most(request))
        output = await answer(model, request.prompt, self._config(request), book)
        return Reply(request.key, error=output) if isinstance(output, str) else reply_of(request, output)

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
