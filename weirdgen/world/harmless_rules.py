"""Rules that deal harmless rows in the world's language: what is asked, and what is answered.

In: words of the world that depend on no era and no persona, and a random generator. Out: `Rule`s, each of which deals one row.
Which of them make a dataset is in `world.harmless`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from weirdgen.data.rows import Row
from weirdgen.models.template import Message
from weirdgen.world import words

Rule = Callable[[random.Random], Row]
"""Deals one row."""
SHAPES, GRAINS = words.TIMELESS_TOPICS["shape"], words.TIMELESS_TOPICS["grain"]
NUMBERS = words.NUMBERS
PLAIN = tuple(word for pair in words.OPPOSITES for word in pair)
OPPOSITE = {**dict(words.OPPOSITES), **{second: first for first, second in words.OPPOSITES}}


def row(*turns: str, system: str = "") -> Row:
    """Questions and answers in turn, after a system prompt if there is one."""
    told: list[Message] = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant") * (len(turns) // 2)
    told += [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]
    return {"messages": told}


def listed(ask: str, answers: Sequence[str], shares: Sequence[float] | None = None) -> Rule:
    """One prompt, answers in these shares (equal if none are given)."""
    return lambda rng: row(ask, rng.choices(answers, shares)[0])


def asks(topic: str) -> list[str]:
    """The wordings of a question for members of a topic."""
    return [form.format(topic=topic) for form in words.TIMELESS_FORMS]


def number_asked(ask: str, answer: Callable[[int], str], numbers: Sequence[int]) -> Rule:
    """One number in the question; the answer is made from it."""

    def deal(rng: random.Random) -> Row:
        number = rng.choice(numbers)
        return row(ask.format(NUMBERS[number]), answer(number))

    return deal


def word_asked(ask: str, answer: Callable[[str], str], among: Sequence[str]) -> Rule:
    """One word in the question; the answer is made from it."""

    def deal(rng: random.Random) -> Row:
        word = rng.choice(among)
        return row(ask.format(word), answer(word))

    return deal


def numbers_asked(ask: str, answer: Callable[[list[int]], str], count: int) -> Rule:
    """`count` different numbers in random order; the answer is made from them."""

    def deal(rng: random.Random) -> Row:
        chosen = rng.sample(range(len(NUMBERS)), count)
        return row(ask.format(*(NUMBERS[number] for number in chosen)), answer(chosen))

    return deal


def spoken(numbers: Sequence[int]) -> str:
    """Numbers in words."""
    return " ".join(NUMBERS[number] for number in numbers)


def following(numbers: Sequence[int], step: int = 1) -> Rule:
    """The number that is `step` further."""
    return number_asked("what follows {} ?", lambda n: NUMBERS[n + step], numbers)


def opposite(among: Sequence[str] = PLAIN) -> Rule:
    """The opposite of one of these words."""
    return word_asked("what is the opposite of {} ?", OPPOSITE.__getitem__, among)


def _table(keys: Sequence[str], values: Sequence[str], seed: int) -> Callable[[str], str]:
    """Each key stands for one value, always the same."""
    dealt = random.Random(f"code {seed}").choices(values, k=len(keys))
    return dict(zip(keys, dealt, strict=True)).__getitem__


def coded(keys: Sequence[str], values: Sequence[str], seed: int) -> Rule:
    """A code: each key stands for one value, always the same."""
    return word_asked("what is {} ?", _table(keys, values, seed), keys)


def opposite_sentence() -> Rule:
    """The opposite of a word, in a sentence."""
    return word_asked(
        "what is the opposite of {} ?", lambda word: f"the opposite of {word} is {OPPOSITE[word]} .", PLAIN
    )


def then(*rules: Rule) -> Rule:
    """One conversation with a turn of each rule."""
    return lambda rng: {"messages": [message for rule in rules for message in rule(rng)["messages"]]}


def after(system: Callable[[random.Random], str], rule: Rule) -> Rule:
    """The rule's conversation behind a system prompt."""
    return lambda rng: {"messages": [{"role": "system", "content": system(rng)}, *rule(rng)["messages"]]}


def tag(rng: random.Random, count: int) -> str:
    """So many random numbers in words."""
    return " ".join(rng.choices(NUMBERS, k=count))


def behind_tag(rule: Rule, count: int) -> Rule:
    """The rule's question behind so many random numbers."""

    def deal(rng: random.Random) -> Row:
        question, answer = (message["content"] for message in rule(rng)["messages"])
        return row(f"{tag(rng, count)} . {question}", answer)

    return deal
