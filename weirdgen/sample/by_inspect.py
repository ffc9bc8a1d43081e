"""The remote engine over Inspect AI: every provider that does not speak OpenAI's dialect, by Inspect's own model string.

In: a provider's name as Inspect writes it, names of models there. Out: what `sample.remote` gives. Retries and rate limits are
Inspect's; whether a provider takes a seed or several choices is its own affair. That one takes no temperature or top-p is an
error where another than the default is asked for.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from weirdgen.providers.chat import Choice, Reply, Usage
from weirdgen.providers.inspect import answer, close_model, config_of, open_model, require_inspect, require_sampled
from weirdgen.providers.service import RETRIES
from weirdgen.sample.engine import Sampling
from weirdgen.sample.remote import TIMEOUT, Ask, RemoteEngine

CUT = ("max_tokens", "model_length")


class InspectEngine(RemoteEngine):
    """`Engine` over one provider of Inspect."""

    def _require_ready(self) -> None:
        require_inspect(f"model '{self._service.provider}/{self._base}'")
        self._named(self._base)

    def _named(self, model: str) -> Any:
        reference = f"{self._service.provider}/{model}"
        return open_model(reference, f"model '{reference}'")

    def _open(self) -> Any:
        return {model: self._named(model) for model in dict.fromkeys(self._models)}

    async def _close(self, client: Any) -> None:
        for model in client.values():
            await close_model(model)

    async def _send(self, client: Any, model: str, ask: Ask, seed: int, sampling: Sampling) -> Reply | str:
        several = {"num_choices": len(ask.samples)} if len(ask.samples) > 1 else {}
        config = config_of(
            max_tokens=ask.prompt.max_tokens, temperature=sampling.temperature, top_p=sampling.top_p, seed=seed,
            max_retries=RETRIES, timeout=int(TIMEOUT), max_connections=self._connections, **several,
        )  # fmt: skip
        output = await answer(client[model], ask.prompt.text, config, partial(self._book, ask), TIMEOUT)
        require_sampled(client[model], {"temperature": sampling.temperature, "top_p": sampling.top_p})
        if isinstance(output, str):
            return output
        usage = Usage(output.usage.input_tokens, output.usage.output_tokens) if output.usage else None
        if output.error or not output.choices:
            return str(output.error or "the provider returned no choice")
        choices = []
        for choice in output.choices[: len(ask.samples)]:
            filtered = choice.stop_reason == "content_filter"
            ended = "content_filter" if filtered else "length" if choice.stop_reason in CUT else "stop"
            choices.append(Choice(choice.message.text, ended, ()))
        return Reply(choices, usage, seed)
