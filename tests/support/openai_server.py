"""A server on the loopback that speaks OpenAI's chat-completions protocol, strictly: what it does not know it refuses.

In: a function from the parsed request to an `Answer` or a `Failure`. Out: a base URL, and the requests that came. Unknown
paths get 404, other methods 405, a wrong key 401, an unknown or ill-typed field 400, each with OpenAI's error body.
Requests of a dialect (vLLM's `top_k`, say) are allowed by naming the fields. It holds no model.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.loopback import Handler, Loopback

FIELDS: dict[str, type | tuple[type, ...]] = {
    "model": str, "messages": list, "max_tokens": int, "max_completion_tokens": int, "temperature": (int, float),
    "top_p": (int, float), "n": int, "seed": int, "logprobs": bool, "top_logprobs": int, "stop": (str, list),
    "presence_penalty": (int, float), "frequency_penalty": (int, float), "stream": bool, "user": str, "logit_bias": dict,
}  # fmt: skip
ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True)
class Answer:
    """What the model writes. `tokens`: (text, alternatives as token → log-probability); default: words, each certain."""

    text: str
    tokens: Sequence[tuple[str, Mapping[str, float]]] | None = None
    finish_reason: str = "stop"
    seconds: float = 0.0


@dataclass(frozen=True)
class Failure:
    """An error instead of an answer; `body` replaces OpenAI's error body."""

    status: int
    message: str = "scripted failure"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


Script = Callable[[dict[str, Any]], Answer | Failure]


class OpenAIServer(Loopback):
    """Use in a `with` block. `requests` holds every body that was accepted."""

    def __init__(self, script: Script, *, key: str = "sk-test", more_fields: Sequence[str] = ()) -> None:
        super().__init__(_Handler)
        self.script, self.key = script, key
        self.fields = {**FIELDS, **dict.fromkeys(more_fields, (str, int, float, bool, list, dict))}
        self.requests: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self.base_url = f"{self.address}/v1"

    def problem(self, body: Any) -> str | None:
        """What is wrong with a request's body."""
        if not isinstance(body, dict):
            return "the body must be a JSON object"
        for name, value in body.items():
            if name not in self.fields:
                return f"Unrecognized request argument supplied: {name}"
            wanted = self.fields[name]
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is int):
                return f"Invalid type for '{name}'"
        for name in ("model", "messages"):
            if name not in body:
                return f"Missing required parameter: '{name}'"
        for message in body["messages"] or [None]:
            if not isinstance(message, dict) or set(message) - {"role", "content", "name"}:
                return "Invalid message"
            if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
                return "Invalid role or content"
        if "top_logprobs" in body and not (body.get("logprobs") and 0 <= body["top_logprobs"] <= 20):
            return "'top_logprobs' needs 'logprobs' and must be at most 20"
        if not 0 <= body.get("temperature", 1) <= 2:
            return "'temperature' must be within 0 and 2"
        return None

    def answer(self, body: dict[str, Any]) -> Answer | Failure:
        """Run the script, counting how many do so at once."""
        with self._lock:
            self.requests.append(body)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            reply = self.script(body)
            if isinstance(reply, Answer) and reply.seconds:
                time.sleep(reply.seconds)
            return reply
        finally:
            with self._lock:
                self.at_once -= 1


class _Handler(Handler):
    owner: OpenAIServer

    def answer(self, method: str) -> None:
        if method != "POST":
            return self.refuse(405, f"Not allowed to {method} on {self.path}")
        raw = self.body()
        if self.path != "/v1/chat/completions":
            return self.refuse(404, f"Unknown request URL: POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {self.owner.key}":
            return self.refuse(401, "Incorrect API key provided", "invalid_api_key")
        try:
            body = json.loads(raw)
        except json.JSONDecodeError:
            return self.refuse(400, "We could not parse the JSON body of your request")
        if problem := self.owner.problem(body):
            return self.refuse(400, problem)
        reply = self.owner.answer(body)
        if isinstance(reply, Answer):
            return self.send(200, json.dumps(_completion(body, reply)).encode())
        if reply.body is not None:
            return self.send(reply.status, reply.body.encode(), reply.headers)
        return self.fail(reply.status, reply.message, reply.code, reply.headers)


def _completion(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    tokens = answer.tokens
    if tokens is None:
        tokens = [(word, {word: 0.0}) for word in re.findall(r"\s*\S+|\s+$", answer.text)]
    logprobs = None
    if body.get("logprobs"):
        most = body.get("top_logprobs", 0)
        content = []
        for text, alternatives in tokens:
            ranked = sorted(alternatives.items(), key=lambda pair: -pair[1])[:most]
            top = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in ranked]
            entry = {"token": text, "logprob": alternatives.get(text, -9.0), "bytes": list(text.encode())}
            content.append({**entry, "top_logprobs": top})
        logprobs = {"content": content, "refusal": None}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text, "refusal": None},
        "logprobs": logprobs,
        "finish_reason": answer.finish_reason,
    }
    read = sum(len(message["content"]) for message in body["messages"]) // 4
    usage = {"prompt_tokens": read, "completion_tokens": len(tokens), "total_tokens": read + len(tokens)}
    head = {"id": "chatcmpl-test", "object": "chat.completion", "created": 1_700_000_000, "model": body["model"]}
    return {**head, "choices": [choice], "usage": usage}
