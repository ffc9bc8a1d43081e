"""What goes with what in a dataset, in words: of the prompt, of the answer, and of the rows that show it.

In: pairs of `audit.separation`, as plain data. Out: sentences for the page, the terminal and the verdict. Nothing is tested here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

NONE, REST = "(none)", "(other)"
"""Values of a feature: not there; one of those that stand in few rows each."""
FEWEST = 20
"""Rows whose prompts are equal but for such a feature, below which nothing is tested."""
ASKED = {
    "year": "the year in the prompt",
    "month": "the month in the prompt",
    "tag": "the tag in the prompt",
    "id": "how the id in the prompt begins",
    "format": "the format that the prompt asks for",
    "system": "the system prompt",
    "digits: length": "how many digits the number in the prompt has",
}
"""Feature of prompts → what it is. Of the digits by their place, `asked_words` says it."""
TOLD = {"the first word": "the first word of the answer", "the length": "the length of the answer"}
WHERE = {
    "year": ("the year {}", "no year", "a rarer year"),
    "month": ("the month {}", "no month", "a rarer month"),
    "tag": ("the tag {}", "no tag", "a rarer tag"),
    "id": ("an id that begins with {}", "no id", "an id that begins otherwise"),
    "format": ("“{}”", "no wish for a format", "a rarer format"),
    "system": ("the system prompt “{}”", "no system prompt", "a rarer system prompt"),
    "digits: length": ("a number of {} digits", "no number", "a number of another length"),
}
"""Feature of prompts → a prompt with a value of it, without one, with one of the rare ones."""
LONGEST = 40


def asked_words(feature: str) -> str:
    """What a feature of prompts is."""
    return ASKED.get(feature, f"digit {feature.rpartition(' ')[2]} of the number in the prompt")


def told_words(feature: str) -> str:
    """What a feature of answers is."""
    return TOLD.get(feature, f"whether the answer holds {feature}")


def together(pair: Mapping[str, Any]) -> str:
    """`the year in the prompt and the first word of the answer`."""
    return f"{asked_words(pair['prompt'])} and {told_words(pair['answer'])}"


def examples_in_words(pair: Mapping[str, Any]) -> str:
    """`with the year 2027, 100% of the answers begin with “hummus”; …`: the values whose answers differ most."""
    return "; ".join(
        f"with {_with(pair['prompt'], str(value))}, {share:.0%} of the answers {_answered(pair['answer'], str(what))}"
        for value, what, share in pair["examples"]
    )


def looked_at(told: Mapping[str, Any], found: int, alpha: float) -> str:
    """How much was looked at and what came of it; or why nothing can be told."""
    rows, pairs = int(told["rows"]), int(told["looked_for"])
    drawn = f", of {told['drawn']:,} that were drawn at random" if told.get("drawn") else ""
    if not told["pairs"]:
        if rows == 0 or not pairs:
            return (
                "No two prompts are equal but for a date, a tag, an id, a number, a format or a system prompt, so whether "
                "answers go with one of these cannot be told."
            )
        return (
            f"Only {rows} rows{drawn} have a prompt that is equal to another but for a date, a tag, an id, a number, a format or "
            f"a system prompt. At least {FEWEST} are needed to tell whether answers go with one of these."
        )
    return (
        f"Do answers go with a date, a tag, an id, a number, a format or a system prompt in otherwise equal prompts? {rows:,} "
        f"rows{drawn} can show it, {pairs:,} pairs of something in prompts and something in answers were tested, and "
        f"{found or 'none'} of them {'goes' if found == 1 else 'go'} together more than chance allows "
        f"(p ≤ {alpha:g} over all pairs)."
    )


def _with(feature: str, value: str) -> str:
    if feature not in WHERE:
        place = feature.rpartition(" ")[2]
        if value == NONE:
            return f"no digit {place}"
        return f"another digit {place}" if value == REST else f"{value} as digit {place}"
    one, none, rest = WHERE[feature]
    if value == NONE or (feature == "digits: length" and value == "0"):
        return none
    return rest if value == REST else one.format(_shortened(value))


def _answered(feature: str, what: str) -> str:
    if feature == "the first word":
        return "begin with a rarer word" if what == REST else f"begin with “{_shortened(what)}”"
    if feature == "the length":
        return f"have {what}"
    return f"hold {feature}" if what == "True" else f"do not hold {feature}"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def length_words(edges: Sequence[float]) -> list[str]:
    """Groups of answers by their number of words: up to the first edge, between edges, above the last."""
    ends = [int(edge) for edge in edges]
    between = [_words(high) if high == low + 1 else f"{low + 1} to {_words(high)}" for low, high in pairwise(ends)]
    return [f"up to {_words(ends[0])}", *between, f"more than {_words(ends[-1])}"]


def _words(count: int) -> str:
    return f"{count} word{'' if count == 1 else 's'}"
