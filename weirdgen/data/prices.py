"""What training on a paid API costs, as far as it was read on the provider's own page; everything else is unknown.

In: a model's name. Out: dollars a million training tokens, with provider, day and address. Prices change without
notice, so each carries the day on which it was read; none is guessed or carried over from another model.
"""

from __future__ import annotations

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
