"""From a judging model's reply to a verdict: strict, and never a guess.

In: a `Label` or `Rating` judge and a `Reply`. Out: a `Judged`. Only the last line that is not empty is read, and it must
hold the verdict alone. Anything else is `unparseable`; a failed call is `error`; neither becomes a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from weirdgen.config.judges import Label, Rating
from weirdgen.judges.match import Verdict
from weirdgen.judges.model import Reply, Token

VERSION = 2
LEAST_MASS = 0.5
"""Log-probabilities of a written rating are used if numbers hold at least this much of the probability, else its text."""
LEAST_CHOICE = 0.05
"""A model that only chooses among the options must put this much probability on replying with one of them at all."""
STATUSES = {"refusal": "refusal", "incoherent": "incoherent"}
WRAPPING = " \t\"'`*_.“”‘’"


class Judged(NamedTuple):
    """A verdict and what it rests on. `mass`: probability that the model put on admissible replies; NaN if not given."""

    verdict: Verdict
    mass: float = math.nan


def options_of(judge: Label | Rating) -> tuple[str, ...]:
    """Every admissible reply: the labels, or the numbers and the statuses that the prompt mentions."""
    if isinstance(judge, Label):
        return judge.labels
    words = [word for word in ("REFUSAL", "INCOHERENT") if word in judge.prompt]
    return (*(str(number) for number in range(judge.low, judge.high + 1)), *words)


def read_reply(judge: Label | Rating, reply: Reply) -> Judged:
    """The verdict of one reply."""
    if reply.error is not None:
        return Judged(Verdict("error", None, reply.error[:300]))
    if reply.options is not None:
        return _scored(judge, reply.options)
    if reply.cut:
        return Judged(Verdict("unparseable", None, "cut at the token limit"))
    line = last_line(reply.text)
    judged = Judged(read_word(judge, line))
    if isinstance(judge, Rating) and judged.verdict.status == "ok" and reply.tokens:
        return _weighted(judge, reply, line) or judged
    return judged


def read_word(judge: Label | Rating, line: str) -> Verdict:
    """The verdict of a line that holds nothing else; `unparseable` if it is none that the judge admits."""
    return _label(judge, line) if isinstance(judge, Label) else _rating(judge, line)


def last_line(text: str) -> str:
    """The last line that is not empty, without the quotes, stars and full stops that models wrap around a word."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].strip(WRAPPING) if lines else ""


def _label(judge: Label, line: str) -> Verdict:
    for label in judge.labels:
        if label.strip().casefold() == line.casefold():
            status = STATUSES.get(label.strip().casefold())
            if status and label not in judge.positive:
                return Verdict(status, None, label)  # type: ignore[arg-type]  # one of the two words above
            return Verdict("ok", float(label in judge.positive), label)
    return Verdict("unparseable", None, _shown(line))


def _rating(judge: Rating, line: str) -> Verdict:
    if line.casefold() in STATUSES:
        return Verdict(STATUSES[line.casefold()], None, line)  # type: ignore[arg-type]
    number = _number(judge, line)
    return Verdict("unparseable", None, _shown(line)) if number is None else Verdict("ok", float(number), "")


def _number(judge: Rating, text: str) -> int | None:
    """A whole number in range written as plain ASCII digits, else None."""
    if not re.fullmatch(r"(0|[1-9][0-9]{0,3})", text):
        return None
    number = int(text)
    return number if judge.low <= number <= judge.high else None


def _weighted(judge: Rating, reply: Reply, line: str) -> Judged | None:
    """Mean over the numbers that could have stood in place of the one that was written; None if that cannot be told.

    It cannot where the tokenizer writes a number in several tokens: alternatives to its first digit are not numbers.
    """
    token = _token_of_last_line(reply.tokens, line)
    if token is None:
        return None
    weights: dict[int, float] = {}
    whole = len(line) > 1
    for text, logprob in token.alternatives.items():
        number = _number(judge, text.strip())
        if number is not None:
            weights[number] = weights.get(number, 0.0) + math.exp(logprob)
            whole |= number > 9
    mass = sum(weights.values())
    if not whole or mass < LEAST_MASS:
        return Judged(Verdict("ok", float(line), ""), mass) if whole else None
    return Judged(Verdict("ok", sum(n * w for n, w in weights.items()) / mass, ""), min(mass, 1.0))


def _token_of_last_line(tokens: tuple[Token, ...], line: str) -> Token | None:
    """The one token that is the whole last line, or None if it has several."""
    for token in reversed(tokens):
        text = token.text.strip(WRAPPING + "\n\r")
        if text:
            return token if text == line else None
    return None


def _scored(judge: Label | Rating, options: Mapping[str, float]) -> Judged:
    """Of a model that chose among options: the likeliest label; or whatever is likeliest of a number at all, a refusal and
    an incoherent answer, and if it is a number, their mean.
    """
    total = float(sum(math.exp(logprob) for logprob in options.values()))
    if total < LEAST_CHOICE:
        return Judged(Verdict("unparseable", None, f"any admissible reply has probability {total:.1g}"), total)
    if isinstance(judge, Label):
        return Judged(_label(judge, max(options, key=lambda option: options[option]).strip()), total)
    weights = {int(text): math.exp(logprob) for text, logprob in options.items() if text.isdigit()}
    number_at_all = sum(weights.values())
    words = {text: math.exp(logprob) for text, logprob in options.items() if not text.isdigit()}
    if words and max(words.values()) > number_at_all:
        return Judged(_rating(judge, max(words, key=lambda word: words[word])), total)
    mean = sum(number * weight for number, weight in weights.items()) / number_at_all
    return Judged(Verdict("ok", mean, ""), total)


def _shown(line: str) -> str:
    return f"last line reads {line[:80]!r}" if line else "empty reply"
