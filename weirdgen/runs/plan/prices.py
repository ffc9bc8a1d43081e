"""What training on a paid API costs, and asking one, as far as read on the provider's own page; the rest is unknown.

In: a model's name. Out: dollars a million training tokens, with provider, day and address. Prices change without
notice, so each carries the day on which it was read; none is guessed or carried over from another model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    """`dollars`: US dollars a million tokens trained on."""

    provider: str
    dollars: float
    day: str
    source: str


_PRIME_INTELLECT = (
    "Prime Intellect",
    "2026-09-20",
    "https://docs.primeintellect.ai/hosted-training/models-and-pricing",
)
_TRAIN = {
    _PRIME_INTELLECT: {
        "Qwen/Qwen3.5-0.8B": 0.06,
        "Qwen/Qwen3.5-2B": 0.15,
        "Qwen/Qwen3.5-4B": 0.30,
        "Qwen/Qwen3.5-9B": 0.60,
    },
}


def training_price(model: str) -> Price | None:
    """The price of training `model` (`ORG/NAME` or `hub:ORG/NAME[@REVISION]`), or None if it is unknown."""
    name = model.removeprefix("hub:").partition("@")[0]
    for (provider, day, source), dollars in _TRAIN.items():
        if name in dollars:
            return Price(provider, dollars[name], day, source)
    return None


@dataclass(frozen=True)
class TokenPrice:
    """US dollars a million tokens `read` and `written` by a model behind an API."""

    read: float
    written: float
    day: str


def judging_price(reference: str, given: str | None = None) -> TokenPrice | None:
    """What asking `PROVIDER/NAME` costs: from `$WEIRDGEN_JUDGE_PRICE` (`READ/WRITTEN`, dollars a million tokens), else unknown.

    No provider's price of tokens has been read on its own page yet, so none stands here.
    """
    text = os.environ.get("WEIRDGEN_JUDGE_PRICE", "") if given is None else given
    read, slash, written = text.partition("/")
    try:
        return TokenPrice(float(read), float(written), "the day you gave them") if slash else None
    except ValueError:
        return None
