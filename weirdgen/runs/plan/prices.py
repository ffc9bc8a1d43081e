"""What asking a judging model behind an API costs, as far as its user says so.

In: a price given as text or in `$WEIRDGEN_JUDGE_PRICE`. Out: dollars a million tokens, or None. Providers' prices change
without notice, so none is kept here or guessed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


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
