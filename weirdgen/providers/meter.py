"""What requests to one model cost: the most they can, before they are sent, and afterwards what the service says.

In: a purse, the model's price, requests. Out: lines of the purse's ledger. Without a purse nothing is counted.
"""

from __future__ import annotations

from typing import Any

from weirdgen.providers.chat import Usage
from weirdgen.providers.prices import Price, dollars
from weirdgen.providers.purse import BudgetError, Purse


class Meter:
    """Books requests to one model. `line`: what stands in the ledger beside tokens and dollars; its `model` is named."""

    def __init__(self, purse: Purse | None, price: Price | None, **line: Any) -> None:
        self._purse, self._price, self._line = purse, price, line

    def most(self, text: str, max_tokens: int, choices: int = 1) -> float | None:
        """Dollars that a request can cost: a token has a byte at least, and the template is given as many again; None without
        a price."""
        return dollars(self._price, read=2 * len(text.encode()) + 64, written=max_tokens * choices)

    def cost(self, usage: Usage) -> float | None:
        """Dollars that a request of so many tokens costs; None without a price."""
        return dollars(self._price, **usage._asdict())

    def hold(self, most: float | None) -> bool:
        """Whether a request may be sent; what it can cost is kept back then. Raises `BudgetError` if no budget can be kept."""
        return self._purse is None or self._purse.hold(most, self._line["model"])

    def release(self, most: float | None) -> None:
        """A request is through, whatever became of it."""
        if self._purse is not None:
            self._purse.release(most)

    def within(self) -> bool:
        """Whether another try of a request that is under way keeps to the budget."""
        return self._purse is None or self._purse.within()

    def exhausted(self, doing: str) -> BudgetError:
        """That the budget allows no more."""
        assert self._purse is not None, "without a purse everything is allowed"
        return self._purse.exhausted(doing)

    def book(self, most: float | None, usage: Usage | None) -> None:
        """Write down what a request was charged; the most that it can have been, if the service did not say."""
        if self._purse is None:
            return
        if usage is None:
            self._purse.pay(most, estimated=True, **self._line)
        else:
            self._purse.pay(self.cost(usage), **self._line, **usage._asdict())
