"""One chat request in OpenAI's dialect, and what comes back, read strictly.

In: a model's name and one user turn. Out: choices with their finish reason, whether they hold thinking, token counts. A setting
that a model refuses is learnt from its refusal and left out from then on (`Dialect`). Nothing is sent here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

PATH = "/chat/completions"
"""Behind a base URL. Requests go through the SDK's `post` and come back as plain JSON: its typed models take as long again,
and check nothing."""
INSTEAD = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""Setting → what it is called by models that do not take it by this name."""
OPTIONAL = ("top_logprobs", "logprobs", "temperature", "top_p", "seed")
"""Settings that are left out where a model refuses them."""
THOUGHTS = ("<think>", "</think>", "<|channel|>analysis", "<reasoning>")


class Choice(NamedTuple):
    text: str
    finish_reason: str
    """`stop`, `length` or `content_filter`."""
    thinking: bool
    """Whether the answer holds what the model wrote to itself."""
    logprobs: tuple[float, ...]
    """Of the tokens of the answer, in nats; empty where none are given."""


class Reply(NamedTuple):
    choices: list[Choice]
    prompt_tokens: int
    completion_tokens: int
    """Of all choices together, thinking included."""


@dataclass
class Dialect:
    """What one model takes of the protocol, as far as it has said."""

    renamed: dict[str, str | None] = field(default_factory=dict)

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
        """Whether a refusal names a setting of this request that can be left out or renamed, and was not yet."""
        for name in (*INSTEAD, *OPTIONAL):
            if name not in body or not re.search(rf"\b{name}\b", refusal):
                continue
            original = next((key for key, value in self.renamed.items() if value == name), name)
            if original != name:  # it has been renamed once already
                continue
            self.renamed[original] = INSTEAD.get(name)
            return True
        return False


def read(answer: Any, wanted: int = 1) -> Reply:
    """A response's JSON. Raises `ValueError` if it is not what the protocol says."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices:
        raise ValueError("an answer without choices")
    if len(choices) > wanted:
        raise ValueError(f"{len(choices)} choices instead of {wanted}")
    usage = _mapping(answer.get("usage"))
    counts = [usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")]
    if any(not isinstance(count, int) or count < 0 for count in counts):
        raise ValueError("token counts that are no numbers")
    thought = bool(_mapping(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return Reply([_choice(choice, thought) for choice in choices], *counts)


def _choice(choice: Any, thought: bool) -> Choice:
    message, reason = _mapping(_mapping(choice).get("message")), _mapping(choice).get("finish_reason")
    text, refusal = message.get("content"), message.get("refusal")
    if not message or not isinstance(text, str | None) or reason not in ("stop", "length", "content_filter"):
        raise ValueError(f"a choice with the finish reason {reason!r} and {type(text).__name__} as its text")
    text = text or (refusal if isinstance(refusal, str) else "")
    thinking = thought or bool(message.get("reasoning_content") or message.get("reasoning"))
    tokens = _mapping(choice.get("logprobs")).get("content") or []
    found = [_mapping(token).get("logprob") for token in tokens] if isinstance(tokens, list) else []
    logprobs = tuple(float(one) for one in found if isinstance(one, int | float))
    return Choice(text, reason, thinking or any(mark in text for mark in THOUGHTS), logprobs)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
