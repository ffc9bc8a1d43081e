"""The kinds of judge: `match` and `classifier` ask no language model, `label` and `rating` do.

In: one entry of `judges:`, plain data. Out: a validated judge, told apart by `kind`, that knows how it judges. Adding a kind
is a module that derives from `OfflineJudge` or `PromptedJudge`, and one line of `JUDGE_KINDS`; no other module asks for a kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from weirdgen.config.base import OneOf
from weirdgen.config.judges.base import BaseJudge, OfflineJudge, PromptedJudge, Tools, Verdict
from weirdgen.config.judges.classifier import Classifier
from weirdgen.config.judges.label import Label
from weirdgen.config.judges.match import Match
from weirdgen.config.judges.rating import Rating

__all__ = [
    "JUDGE_KINDS",
    "BaseJudge",
    "Classifier",
    "Judge",
    "Label",
    "Match",
    "OfflineJudge",
    "PromptedJudge",
    "Rating",
    "Tools",
    "Verdict",
    "offline",
    "prompted",
]

JUDGE_KINDS: dict[str, type[BaseJudge]] = {
    "match": Match,
    "classifier": Classifier,
    "label": Label,
    "rating": Rating,
}
"""What `kind` may be, in the order that error messages name them."""
Judge = Annotated[BaseJudge, OneOf(JUDGE_KINDS)]


def offline(judges: Mapping[str, BaseJudge]) -> dict[str, OfflineJudge]:
    """The judges that ask no language model, by name."""
    return {name: judge for name, judge in judges.items() if isinstance(judge, OfflineJudge)}


def prompted(judges: Mapping[str, BaseJudge]) -> dict[str, PromptedJudge]:
    """The judges that ask a language model, by name."""
    return {name: judge for name, judge in judges.items() if isinstance(judge, PromptedJudge)}
