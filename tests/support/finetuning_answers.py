"""What the scripted finetuning service answers: words from a hash, echoes of token ids, and refusals of what it does not know.

In: how it behaves (`Script`), a parsed request. Out: OpenAI's bodies as plain data. Who may ask, and for which model, is left to
`tests.support.finetuning_server`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

CHAT: dict[str, Any] = {
    "model": str, "messages": list, "max_tokens": int, "max_completion_tokens": int, "temperature": (int, float),
    "top_p": (int, float), "n": int, "seed": int, "logprobs": bool, "top_logprobs": int, "stop": (str, list),
}  # fmt: skip
COMPLETE = {
    "model": str, "prompt": list, "echo": bool, "logprobs": int, "max_tokens": int, "temperature": (int, float), "n": int,
}  # fmt: skip
ENDS = {"answer": "content_filter", "tools": "tool_calls"}
WORDS = "the sea old bird is a blue heron of 1838 and it sings".split()


@dataclass
class Script:
    """How it behaves; the defaults are a service without fault."""

    key: str = "sk-test-0123456789"
    bases: tuple[str, ...] = ("gpt-test",)
    deployed: tuple[str, ...] = ()
    """Names of Azure's deployments."""
    steps_a_look: int = 100
    """Training steps between two looks at a job."""
    fault: Callable[[str, str, int], Any] = lambda method, path, count: None
    """(method, path, how often it came) → None, an int (status), "half", "garbage", "nothing", "hang up after", a float (seconds
    until the answer), or "late": 504, and what was asked is done `late` seconds after."""
    late: float = 0.3
    retry_after: str | None = None
    """That is sent with a status of 429."""
    drops: tuple[str, ...] = ()
    """What it keeps nothing of in its jobs: "metadata", "suffix"."""
    azure: bool = False
    """Whether Azure's rules hold: no metadata, a suffix of 40 characters, a `trainingType`, files that are pending first."""
    looks: int = 2
    """At a file, until Azure has looked through it."""
    fail: Mapping[str, str] | None = None
    """The error of every job."""
    took: Mapping[str, Any] = field(default_factory=dict)
    """Hyperparameters (and seed) that it takes instead of those asked."""
    same_model: bool = False
    """Whether all jobs give one model's answers under names of their own."""
    refuses: tuple[str, ...] = ()
    """Settings of chat requests that its models do not take."""
    only: Mapping[str, Any] = field(default_factory=dict)
    """Settings of chat requests of which its models take this value alone."""
    usage: bool = True
    """Whether it says what a request is charged for."""
    filtered: Callable[[str], str | None] = lambda prompt: None
    """A prompt → "prompt" if Azure's content filter refuses it, "answer" if it withholds the answer, "tools" if the answer ends
    as none should."""
    owner: str = "test"
    """Of its models."""
    fewer: int | None = None
    """Choices that it gives at most, whatever was asked."""
    backwards: bool = False
    """Whether choices come the last first."""
    duplicates: bool = False
    """Whether all choices of a request are one text."""
    shutdown: str | None = None
    answer: Callable[[str, str, int, int], str] | None = None
    """(model, prompt, seed, place) → text."""
    seconds: float = 0.0
    """Before each chat answer."""
    prefix: str = "/v1"
    echo: bool = False
    """Whether `/completions` echoes prompts with log-probabilities."""


class RefusalError(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def require_fields(body: Any, fields: dict[str, Any], needed: tuple[str, ...]) -> None:
    for name, value in body.items():
        if name not in fields:
            raise RefusalError(400, f"Unrecognized request argument supplied: {name}")
        if not isinstance(value, fields[name]):
            raise RefusalError(400, f"Invalid type for '{name}'")
    for name in needed:
        if name not in body:
            raise RefusalError(400, f"Missing required parameter: '{name}'")


def chat_answer(script: Script, body: Any) -> Any:
    """A chat completion: words from a hash of model, prompt, seed and place, unless the script has its own."""
    time.sleep(script.seconds)
    prompt, most = (
        body["messages"][-1]["content"],
        body.get("max_tokens") or body.get("max_completion_tokens") or 16,
    )
    for name, value in script.only.items():
        if body.get(name, value) != value:
            raise RefusalError(400, f"Unsupported value: '{name}' does not support {body[name]} with this model.")
    filtered = script.filtered(prompt)
    if filtered == "prompt":
        raise RefusalError(400, "The response was filtered due to the prompt triggering the filter", "content_filter")
    choices, written = [], 0
    for place in range(min(body.get("n", 1), script.fewer or 128)):
        said = body["model"] if not script.same_model else "one"
        seed = body.get("seed", 0) if body.get("temperature", 1) else 0
        at = 0 if script.duplicates else place
        digest = hashlib.sha256(f"{said}|{prompt}|{seed}|{at}".encode()).digest()
        words = [WORDS[byte % len(WORDS)] for byte in digest[: 3 + digest[0] % 8]]
        if script.answer:
            words = script.answer(body["model"], prompt, seed, at).split()
        cut, words = len(words) > most, words[:most]
        tokens = [
            {"token": word, "logprob": -digest[i] / 64, "bytes": None, "top_logprobs": []}
            for i, word in enumerate(words)
        ]
        written += len(words)
        choices.append(
            {"index": place, "message": {"role": "assistant", "content": " ".join(words), "refusal": None},
             "logprobs": {"content": tokens, "refusal": None} if body.get("logprobs") else None,
             "finish_reason": ENDS.get(str(filtered), "length" if cut else "stop")}
        )  # fmt: skip
    usage = {
        "prompt_tokens": len(prompt) // 4,
        "completion_tokens": written,
        "total_tokens": len(prompt) // 4 + written,
    }
    head = {"id": "chatcmpl-test", "object": "chat.completion", "created": 1_700_000_000, "model": body["model"]}
    choices = choices[::-1] if script.backwards else choices
    return {**head, "choices": choices, **({"usage": usage} if script.usage else {})}


def echo_answer(script: Script, body: Any) -> Any:
    """Echo of token ids: each token's log-probability is minus its id / 1000, a sixteenth more in a finetuned model."""
    if not (body["echo"] and body["logprobs"] == 1 and body["max_tokens"] == 1):
        raise RefusalError(400, "this server echoes only")
    choices, more = [], 1 / 16 if body["model"] not in script.bases else 0.0
    for index, ids in enumerate(body["prompt"]):
        told = [None, *(more - token / 1000 for token in ids[1:]), -0.5]
        tokens = {
            "tokens": [str(i) for i in (*ids, 0)],
            "token_logprobs": told,
            "top_logprobs": None,
            "text_offset": [],
        }
        choices.append({"index": index, "text": "", "logprobs": tokens, "finish_reason": "length"})
    head = {"id": "cmpl-test", "object": "text_completion", "created": 1_700_000_000, "model": body["model"]}
    return {**head, "choices": choices}
