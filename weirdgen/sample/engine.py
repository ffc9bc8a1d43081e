"""The engine protocol: what every way of running a model offers, and its records.

An engine holds one base model; `use` chooses the variants (the base, or replicates' adapters) that answer, all at once.
Adding an engine is adding a module next to this one with a class of these three methods.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

MOST_ROWS = 320
"""Samples in one batch; more make a step of a small model no cheaper per sample."""
ROW_TOKENS = 60_000
"""Cached tokens in one batch, all rows together, that a model of 1B weights or less may take (about 2 GB)."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. `top_p` 1 and `top_k` 0 mean off."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass(frozen=True)
class Prompt:
    """One user turn to answer. `key` names it in seeds and in the store: a hash of the text and `max_tokens`."""

    key: str
    text: str
    max_tokens: int


@dataclass(frozen=True)
class Completion:
    key: str
    sample: int
    text: str
    finish_reason: Literal["stop", "length", "withheld"]
    """`withheld`: by a service's content filter, which left nothing or a part."""
    prompt_tokens: int
    completion_tokens: int
    seed: int
    """That was given to the model; -1 if it takes none."""


@dataclass(frozen=True)
class Scorable:
    """A question with fixed answers. `key` is a hash of the text asked."""

    key: str
    ask: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """One answer to a prompt. `logprob` is the total of answer and end-of-turn tokens, in nats."""

    key: str
    option: str
    logprob: float
    tokens: int


class Engine(Protocol):
    def use(self, adapters: Sequence[Path | None]) -> None:
        """Answer as these PEFT adapters from now on; None is the untuned base."""

    def exactness(self) -> list[dict[str, Any]]:
        """How its fast ways compared with each row alone, for a run's record; empty where there is nothing to compare."""

    def generate(
        self, prompts: Sequence[Prompt], indices: range, seeds: Sequence[str], sampling: Sampling
    ) -> Iterator[tuple[int, Completion]]:
        """The samples of these indices of every prompt by every variant, as they finish. Deterministic for the same call.

        `seeds` has one text per variant; each sample's own seed is `sample_seed` of it. Yields (variant, completion).
        """

    def score(self, questions: Sequence[Scorable]) -> Iterator[tuple[int, Scored]]:
        """Log-probability of every option as the whole answer to its question, by every variant."""


def rows_at_once(longest: int, parameters: int) -> int:
    """Samples that are written side by side: as many as pay, fewer for long answers and large models."""
    return max(1, min(MOST_ROWS, int(ROW_TOKENS * min(1.0, 1e9 / max(parameters, 1)) / longest)))


def sample_seed(seed: str, key: str, sample: int) -> int:
    """The 63-bit seed of one sample, whatever batch it is drawn in. `seed` names the run's seed and the model."""
    digest = hashlib.sha256(f"{seed}|{key}|{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
