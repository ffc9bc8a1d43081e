"""What clients may send, as models: OpenAI's parameters, those refused by name that would change an answer and cannot be done.

In: parsed JSON. Out: checked requests, or an error that names the parameter. A parameter that changes nothing here (`user`,
`store`, `metadata` …) is taken and not looked at; any other unknown one is an error, since to ignore it would be to lie.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from weirdgen.data.messages import SAME_ROLE
from weirdgen.models.template import Messages
from weirdgen.sample.engine import Sampling
from weirdgen.serve.hyperparameters import Hyperparameters
from weirdgen.serve.limits import Limits
from weirdgen.serve.problems import bad

Text = Annotated[str, Field(max_length=2_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=500)]
Whole = Annotated[int, Field(strict=True)]
MOST_TOPS = 20
GREEDY_BELOW = 1e-4
"""A temperature, or a share of top_p, that leaves nothing but the likeliest token."""


class Asked(BaseModel):
    """A JSON body. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Part(Asked):
    type: Literal["text"]
    text: Text


class ChatMessage(Asked):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Field(max_length=1000)]
    name: None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None
    annotations: list[Any] | None = None


class StreamOptions(Asked):
    include_usage: bool = False
    include_obfuscation: bool = False


class Sampled(Asked):
    """What chats and completions have in common."""

    model: Name
    n: Annotated[int, Field(strict=True, ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(strict=True, ge=0)] | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=0)] | None = None
    stop: Annotated[str, Field(max_length=1000)] | Annotated[
        list[Annotated[str, Field(max_length=1000)]], Field(max_length=16)
    ] | None = None  # fmt: skip
    seed: Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    user: Any = None
    store: Any = None
    metadata: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None

    @property
    def sampling(self) -> Sampling:
        """What is not given is 1, 1 and off, whatever a model's own generation_config says."""
        heat = 1.0 if self.temperature is None else self.temperature
        share = 1.0 if self.top_p is None else self.top_p
        if heat < GREEDY_BELOW or share < GREEDY_BELOW:
            return Sampling(temperature=0)
        return Sampling(temperature=heat, top_p=share, top_k=self.top_k or 0)

    @property
    def stops(self) -> tuple[str, ...]:
        listed = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in listed if stop)


class ChatRequest(Sampled):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(strict=True, ge=0, le=MOST_TOPS)] | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: Any = None
    modalities: list[Literal["text"]] | None = None
    reasoning_effort: Literal["none", "minimal"] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.response_format is not None and self.response_format.get("type", "text") != "text":
            raise ValueError("response_format: only {'type': 'text'} is supported")
        if self.max_tokens == 0:
            raise ValueError("max_tokens must be at least 1")
        return self

    @property
    def top(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def turns(self) -> Messages:
        return [
            {
                "role": SAME_ROLE.get(message.role, message.role),
                "content": message.content
                if isinstance(message.content, str)
                else "".join(part.text for part in message.content),
            }
            for message in self.messages
        ]


Ids = Annotated[list[Annotated[int, Field(strict=True, ge=0)]], Field(min_length=1, max_length=1_000_000)]


class CompletionRequest(Sampled):
    """POST /v1/completions: a text or token ids as they stand, without a chat template."""

    prompt: Text | Ids | Annotated[list[Text], Field(min_length=1, max_length=512)] | Annotated[
        list[Ids], Field(min_length=1, max_length=512)
    ]  # fmt: skip
    logprobs: Annotated[int, Field(strict=True, ge=0, le=MOST_TOPS)] | None = None
    echo: bool | None = None
    suffix: None = None
    best_of: Whole | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> CompletionRequest:
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise ValueError("best_of: only the same as n is supported")
        if self.echo and self.stream:
            raise ValueError("echo cannot be streamed")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens 0 gives nothing without echo: true")
        return self

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt  # type: ignore[return-value]


class Supervised(Asked):
    hyperparameters: Hyperparameters | None = None


class Method(Asked):
    type: Literal["supervised"]
    supervised: Supervised | None = None


class JobRequest(Asked):
    """POST /v1/fine_tuning/jobs."""

    model: Name
    training_file: Name
    validation_file: Name | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    suffix: Annotated[str, Field(max_length=64)] | None = None
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] | None = None
    recipe: dict[str, Any] = {}
    """Not OpenAI's: fields of our own recipe, which win (`weirdgen.serve.hyperparameters`)."""

    @property
    def asked(self) -> Hyperparameters:
        """From either place where OpenAI's API takes them."""
        inner = self.method.supervised.hyperparameters if self.method and self.method.supervised else None
        return inner or self.hyperparameters or Hyperparameters()


class ContrastRequest(Asked):
    """POST /contrast: how likely each of some answers is, whole and alone, to a chat."""

    model: Name
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=100)]
    options: Annotated[list[Annotated[str, Field(min_length=1, max_length=2000)]], Field(min_length=2, max_length=20)]


def most_tokens(asked: int | None, prompt: int, context: int, default: int, limits: Limits) -> int:
    """Tokens that the answer may have. Raises `ApiError` if prompt and answer do not fit into the context."""
    if prompt >= context:
        raise bad(
            f"This model's maximum context length is {context} tokens; the prompt has {prompt}.",
            "messages", "context_length_exceeded",
        )  # fmt: skip
    if asked is None:
        return max(1, min(default, context - prompt))
    if prompt + asked > context:
        raise bad(
            f"This model's maximum context length is {context} tokens; {prompt} in the prompt and {asked} in the answer are "
            "asked for.", "max_tokens", "context_length_exceeded",
        )  # fmt: skip
    return asked
