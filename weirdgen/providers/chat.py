"""One chat request in OpenAI's dialect, and what comes back, read strictly.

In: a model's name and one user turn. Out: choices in their order with their finish reason, token counts. A setting that a model
refuses is learnt from its refusal and left out from then on (`Dialect`), but none that decides what is sampled. Nothing is sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from weirdgen.errors import ModelError
from weirdgen.providers.service import without_keys

PATH = "/chat/completions"
"""Behind a base URL. Requests go through the SDK's `post` and come back as plain JSON: its typed models take as long again,
and check nothing."""
INSTEAD = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""Setting → what it is called by models that do not take it by this name."""
OPTIONAL = ("logprobs", "temperature", "top_p", "seed")
"""Settings that are left out where a model refuses them."""
DEFAULTS = {"temperature": 1, "top_p": 1}
"""What the protocol takes where such a setting is left out: another value cannot be."""
THOUGHTS = ("<think>", "</think>", "<|channel|>analysis", "<reasoning>")


class Choice(NamedTuple):
    text: str
    finish_reason: str
    """`stop`, `length` or `content_filter`."""
    logprobs: tuple[float, ...]
    """Of the tokens of the answer, in nats; empty where none are given."""


class Usage(NamedTuple):
    """Tokens that a request is charged for."""

    read: int
    written: int
    """Of all choices together, thinking included."""


class Reply(NamedTuple):
    choices: list[Choice]
    usage: Usage | None = None
    """None: the service did not say."""
    seed: int | None = None
    """That was sent; None if the model takes none."""


@dataclass
class Dialect:
    """What one model takes of the protocol, as far as it has said."""

    renamed: dict[str, str | None] = field(default_factory=dict)
    strict: bool = True
    """Whether answers must be sampled as was asked."""

    def body(
        self, model: str, text: str, *, max_tokens: int, temperature: float, top_p: float = 1.0, seed: int | None = None,
        choices: int = 1, logprobs: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """A request. Everything is sent but what the model refuses, so that no default of a server decides."""
        settings: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        settings |= {"seed": seed} if seed is not None else {}
        settings |= {"n": choices} if choices > 1 else {}
        settings |= {"logprobs": True} if logprobs else {}
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
        for name, value in settings.items():
            taken = self.renamed.get(name, name)
            if taken is not None:
                body[taken] = value
        return body

    def learn(self, refusal: str, body: dict[str, Any]) -> bool:
        """Whether a refusal names a setting of this request that can be left out or renamed, and was not yet.

        Raises `ModelError` for a setting without which the model would sample otherwise than was asked.
        """
        for name in (*INSTEAD, *OPTIONAL):
            if name not in body or not re.search(rf"\b{name}\b", refusal):
                continue
            original = next((key for key, value in self.renamed.items() if value == name), name)
            if original != name:  # it has been renamed once already
                continue
            if self.strict and body[name] != DEFAULTS.get(name, body[name]):
                raise ModelError(
                    f"{body['model']} does not take {name} {body[name]} ({without_keys(refusal)[:200]}). Without it the "
                    f"protocol's {DEFAULTS[name]} holds: --set sampling.{name}={DEFAULTS[name]} asks for that"
                )
            self.renamed[original] = INSTEAD.get(name)
            return True
        return False


def usage_of(answer: Any) -> Usage | None:
    """What a response says that it is charged for; None if it does not say, or not in numbers. Its shape may be any."""
    usage = _mapping(_mapping(answer).get("usage"))
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    if any(not isinstance(count, int) or isinstance(count, bool) or count < 0 for count in counts):
        return None
    return Usage(*counts)  # type: ignore[arg-type]


def read(answer: Any, wanted: int = 1) -> Reply:
    """A response's JSON. Raises `ValueError` if it is not what the protocol says."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices:
        raise ValueError("an answer without choices")
    if len(choices) > wanted:
        raise ValueError(f"{len(choices)} choices instead of {wanted}")
    places = [_mapping(choice).get("index", place) for place, choice in enumerate(choices)]
    if any(isinstance(place, bool) or not isinstance(place, int) for place in places) or len({*places}) < len(places):
        raise ValueError(f"choices with the places {places}")
    ordered = sorted(zip(places, choices, strict=True), key=lambda pair: pair[0])
    return Reply([_choice(choice) for _, choice in ordered], usage_of(answer))


def withheld(error: BaseException) -> bool:
    """Whether a refusal is the service's content filter, on the prompt: another try of it would be refused too."""
    body = _mapping(getattr(error, "body", None))
    inner = _mapping(body.get("innererror"))
    return "content_filter" in (body.get("code"), getattr(error, "code", None)) or bool(
        inner.get("content_filter_result")
    )


def _choice(choice: Any) -> Choice:
    message, reason = _mapping(_mapping(choice).get("message")), _mapping(choice).get("finish_reason")
    text, refusal = message.get("content"), message.get("refusal")
    if not message or not isinstance(text, str | None) or reason not in ("stop", "length", "content_filter"):
        # A withheld choice may come without a message at all.
        if reason == "content_filter" and not message:
            return Choice("", reason, ())
        raise ValueError(f"a choice with the finish reason {reason!r} and {type(text).__name__} as its text")
    text = text or (refusal if isinstance(refusal, str) else "")
    tokens = _mapping(choice.get("logprobs")).get("content") or []
    found = [_mapping(token).get("logprob") for token in tokens] if isinstance(tokens, list) else []
    return Choice(text, reason, tuple(float(one) for one in found if isinstance(one, int | float)))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
