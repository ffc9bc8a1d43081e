"""What the HTTP side asks of a sampler, and what it is told: the words between the two.

In and out: plain records. A sampler tells an `Ask` about each of its answers by calling `tell` from its own thread. Knows
neither HTTP nor torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from weirdgen.sample.engine import Sampling


@dataclass(frozen=True)
class Token:
    """A token with its log-probability in nats, before temperature, and the likeliest in its place."""

    id: int
    logprob: float
    tops: list[tuple[int, float]]


@dataclass(frozen=True)
class Piece:
    """More text of an answer that is still being written."""

    index: int
    text: str
    tokens: list[Token]


@dataclass(frozen=True)
class Answer:
    """A finished answer. `ends`: length of its text after each of `tokens`, which are empty unless asked for."""

    index: int
    text: str
    finish_reason: str
    written: int
    """Tokens written, that which ends the turn included."""
    tokens: list[Token]
    ends: list[int]


@dataclass(frozen=True)
class Given:
    """The prompt's own tokens; the first has no log-probability (None)."""

    ids: tuple[int, ...]
    logprobs: list[float | None]
    tops: list[list[tuple[int, float]]]


@dataclass(frozen=True)
class Failed:
    error: BaseException


Told = Piece | Answer | Given | Failed


@dataclass
class Ask:
    """`n` answers to one prompt by one model. `seed` with the answer's index decides each answer's randomness."""

    ids: tuple[int, ...]
    adapter: Path | None
    n: int
    max_tokens: int
    """0: only the prompt is scored."""
    sampling: Sampling
    seed: str
    tell: Callable[[Told], None]
    stops: tuple[str, ...] = ()
    top: int | None = None
    """How many likely tokens are told beside each written one; None: no log-probabilities."""
    streamed: bool = False
    echo: bool = False
    """Whether the prompt's own log-probabilities are wanted."""
    deadline: float = field(default_factory=lambda: time.monotonic() + 600)
    cancelled: bool = False
