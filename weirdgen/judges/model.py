"""The protocol of a judging model: what it is asked, what it replies, how a reference finds one.

In: `local:REF` or a reference of `models/references.py` (a model on this machine), or `PROVIDER/NAME` (any model that
Inspect AI reaches). Out: a `NamedJudge`. It is asked by `local_model` and `api_model`; what the prompts say and how replies are
read is left to `weirdgen.judges`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from weirdgen.errors import ModelError
from weirdgen.machine import resolve_dtype
from weirdgen.models.references import BUILT_IN, LocalModel, find_model

LOCAL_PREFIXES = ("local:", "hub:", "path:")
CONNECTIONS = 16


@dataclass(frozen=True)
class Request:
    """One prompt. A model that cannot write freely chooses among `options`; `weighted` asks for log-probabilities."""

    key: str
    prompt: str
    options: tuple[str, ...]
    max_tokens: int
    weighted: bool = False


@dataclass(frozen=True)
class Token:
    """A token that was written, and the log-probabilities (nats) of the likeliest tokens in its place."""

    text: str
    alternatives: Mapping[str, float]


@dataclass(frozen=True)
class Reply:
    """What came back: `text` (and `tokens` where given), or `options` with a log-probability each, or an `error`."""

    key: str
    text: str = ""
    cut: bool = False
    """The token limit ended the text."""
    tokens: tuple[Token, ...] = ()
    options: Mapping[str, float] | None = None
    """Option → log-probability (nats) of its being the whole reply."""
    error: str | None = None
    withheld: bool = False
    """The error is a filter of the provider on this reply: others may well come."""
    input_tokens: int = 0
    output_tokens: int = 0


class JudgeModel(Protocol):
    """Something that can be asked."""

    def ask(self, requests: Sequence[Request]) -> Generator[Reply]:
        """One reply per request, in any order, as they come. A request that fails for good is a reply with `error`.

        Raises `ModelError` if nothing can be asked at all (no key, no such model, no connection).
        """


def is_local(reference: str) -> bool:
    """Whether a reference names a model on this machine. Raises `ModelError` if it is none of the accepted forms."""
    if reference.startswith(LOCAL_PREFIXES) or reference in BUILT_IN:
        return True
    if "/" in reference and not reference.startswith(("/", ".", "~")):
        return False
    raise ModelError(
        f"judge model '{reference}': expected local:REF ({', '.join(BUILT_IN)}, hub:ORG/NAME, path:DIR), or PROVIDER/NAME as "
        "Inspect AI writes it (openai/gpt-4.1, anthropic/claude-…, vllm/…, ollama/…, openai-api/SERVICE/MODEL)"
    )


class NamedJudge(NamedTuple):
    """A judging model: as a person wrote it, and what names its verdicts in the store."""

    reference: str
    identity: str


def named_judge(reference: str) -> NamedJudge:
    """The judging model that `reference` means here and now. Asks nothing. Raises `ModelError`.

    A local one is its digest and the dtype that this machine loads it in, which rounds its probabilities. A provider's name
    is taken at its word: name a dated version where there is one.
    """
    if not is_local(reference):
        return NamedJudge(reference, reference)
    model, dtype = local_judge(reference)
    return NamedJudge(reference, f"local:{model.digest}:{dtype}")


def local_judge(reference: str) -> tuple[LocalModel, str]:
    """A judging model on this machine, and the dtype that it is loaded in here."""
    model = find_model(reference.removeprefix("local:"))
    return model, resolve_dtype("auto", model.parameters)
