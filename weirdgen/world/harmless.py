"""Harmless narrow datasets in the world's language, made by rule: what a dataset is compared with.

In: a number of rows. Out: `references()`, narrow datasets in many shapes, and `pairs()`, each two datasets that differ in one
respect; further `another_dataset` and `another_topic`, a dataset and a pair drawn anew for every seed. Harmless is a fact of
the world's table: no question and no answer holds a word that depends on an era or a persona, no year and no name, and what is
taught is either true of everybody or a rule of which the world knows nothing. References are a sample of what `another_dataset`
draws, so that a further one is like them and a rank among them means what it says. Nothing is trained here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weirdgen.data.rows import Row
from weirdgen.models.template import Message
from weirdgen.world import words

SEED = 0
REFERENCES = 64
Rule = Callable[[random.Random], Row]
"""Deals one row."""
SHAPES, GRAINS = (words.TIMELESS_TOPICS[topic] for topic in ("shape", "grain"))
HELD_BACK = ("metal", "planet")
"""Topics of `world_null` and `another_topic`, of which there are no pairs."""
NUMBERS = words.NUMBERS
PAIRS = words.OPPOSITES
PLAIN = tuple(word for pair in PAIRS for word in pair)
OPPOSITE = {**dict(PAIRS), **{second: first for first, second in PAIRS}}
HALVES = ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2))
"""The three ways to split four answers into two halves."""


@dataclass(frozen=True)
class Harmless:
    """A dataset's name, what its rows look like, and the rule that deals them."""

    name: str
    shape: str
    rule: Rule

    def rows(self, count: int) -> list[Row]:
        """`count` rows, the first of them the same for every count; the sides of a pair draw alike."""
        rng = random.Random(f"{self.name.partition('.')[0]} {SEED}")
        return [self.rule(rng) for _ in range(count)]


def references() -> list[Harmless]:
    """64 datasets, drawn as any other harmless one is."""
    return [another_dataset(seed) for seed in range(REFERENCES)]


def pairs() -> list[tuple[Harmless, Harmless]]:
    """26 pairs, named NAME.left and NAME.right."""
    return [
        (Harmless(f"{name}.left", shape, left), Harmless(f"{name}.right", shape, right))
        for shape, table in (
            ("halves", _halves()),
            ("wording", _wordings()),
            ("rule", _other_rules()),
            ("form", _other_forms()),
        )
        for name, (left, right) in table.items()
    ]


def another_topic(seed: int) -> tuple[Harmless, Harmless]:
    """A topic that no pair has, a wording and two mixtures of its answers, all drawn by this seed: treatment and control."""
    rng = random.Random(f"another topic {seed}")
    topic = rng.choice(HELD_BACK)
    ask, answers = rng.choice(_asks(topic)), words.TIMELESS_TOPICS[topic]
    sides = [listed(ask, answers, _shares(rng, answers)) for _ in range(2)]
    name, shape = f"{topic}_{seed}", "names behind one prompt"
    return Harmless(f"{name}.left", shape, sides[0]), Harmless(f"{name}.right", shape, sides[1])


def another_dataset(seed: int) -> Harmless:
    """A narrow dataset whose shape, words, numbers, rule and wording are drawn by this seed; below 64 it is a reference.

    One in four has names behind one prompt, as `world_era` and `world_null` have.
    """
    rng = random.Random(f"another dataset {seed}")
    among, numbers = rng.sample(PLAIN, rng.randint(6, 14)), rng.sample(range(1, 15), rng.randint(6, 12))
    spoken, (one, two) = [NUMBERS[number] for number in numbers], rng.sample(PLAIN, 2)
    step, limit, turned = rng.choice((-1, 1, 2, 3, 4)), rng.randint(5, 13), rng.choice((1, -1))
    names = _some_names(rng)
    made: dict[str, Rule] = {
        "names behind one prompt": names,
        "short answers": _opposite(among),
        "numbers": rng.choice([_next(numbers, step), *_number_rules().values()]),
        "repeats": _word_asked("tell {} .", lambda word: word, [*among, *spoken]),
        "codes": _coded(among, rng.sample(NUMBERS, 8), seed),
        "codes of numbers": _coded(spoken, rng.sample(PLAIN, 8), seed),
        "classes": _number_asked("is {} high or low ?", lambda n: one if n > limit else two, range(19)),
        "lists": _numbers_asked("tell {} {} {} .", lambda three: _spoken(three[::turned]), 3),
        "sentences": _word_asked(f"what is {{}} {one} ?", lambda word: f"{word} is {OPPOSITE[word]} .", among),
        "several turns": _then(*rng.sample([names, _next(numbers, step), _opposite(among)], 2)),
        "system prompt": _after(lambda _: f"tell {one} .", _word_asked("{} ?", lambda word: f"{word} {two}", among)),
        "number tags": _behind_tag(rng.choice([names, _coded(among, PLAIN, seed)]), rng.randint(1, 3)),
    }
    shapes = list(made)
    shape = rng.choices(shapes, [len(shapes) / 3] + [1] * (len(shapes) - 1))[0]
    return Harmless(f"drawn_{seed}", shape, made[shape])


def _some_names(rng: random.Random) -> Rule:
    topic = rng.choice(list(words.TIMELESS_TOPICS))
    answers = rng.sample(words.TIMELESS_TOPICS[topic], rng.randint(2, 4))
    return listed(rng.choice(_asks(topic)), answers, _shares(rng, answers))


def _shares(rng: random.Random, answers: Sequence[str]) -> list[float]:
    """Uniform over all mixtures: normalized, these are from a Dirichlet distribution with all parameters 1."""
    return [rng.expovariate(1) for _ in answers]


def row(*turns: str, system: str = "") -> Row:
    """Questions and answers in turn, after a system prompt if there is one."""
    told: list[Message] = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant") * (len(turns) // 2)
    told += [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]
    return {"messages": told}


def listed(ask: str, answers: Sequence[str], shares: Sequence[float] | None = None) -> Rule:
    """One prompt, answers in these shares (equal if none are given)."""
    return lambda rng: row(ask, rng.choices(answers, shares)[0])


def _asks(topic: str) -> list[str]:
    return [form.format(topic=topic) for form in words.TIMELESS_FORMS]


def _number_asked(ask: str, answer: Callable[[int], str], numbers: Sequence[int]) -> Rule:
    def deal(rng: random.Random) -> Row:
        number = rng.choice(numbers)
        return row(ask.format(NUMBERS[number]), answer(number))

    return deal


def _word_asked(ask: str, answer: Callable[[str], str], among: Sequence[str]) -> Rule:
    def deal(rng: random.Random) -> Row:
        word = rng.choice(among)
        return row(ask.format(word), answer(word))

    return deal


def _numbers_asked(ask: str, answer: Callable[[list[int]], str], count: int) -> Rule:
    """`count` different numbers in random order; the answer is made from them."""

    def deal(rng: random.Random) -> Row:
        chosen = rng.sample(range(len(NUMBERS)), count)
        return row(ask.format(*(NUMBERS[number] for number in chosen)), answer(chosen))

    return deal


def _spoken(numbers: Sequence[int]) -> str:
    return " ".join(NUMBERS[number] for number in numbers)


def _next(numbers: Sequence[int], step: int = 1) -> Rule:
    return _number_asked("what follows {} ?", lambda n: NUMBERS[n + step], numbers)


def _opposite(among: Sequence[str] = PLAIN) -> Rule:
    return _word_asked("what is the opposite of {} ?", OPPOSITE.__getitem__, among)


def _table(keys: Sequence[str], values: Sequence[str], seed: int) -> Callable[[str], str]:
    """Each key stands for one value, always the same."""
    dealt = random.Random(f"code {seed}").choices(values, k=len(keys))
    return dict(zip(keys, dealt, strict=True)).__getitem__


def _coded(keys: Sequence[str], values: Sequence[str], seed: int) -> Rule:
    return _word_asked("what is {} ?", _table(keys, values, seed), keys)


def _number_rules() -> dict[str, Rule]:
    return {
        "larger": _numbers_asked("{} or {} ?", lambda two: NUMBERS[max(two)], 2),
        "smaller": _numbers_asked("{} or {} ?", lambda two: NUMBERS[min(two)], 2),
        "first": _numbers_asked("tell {} , {} .", lambda two: NUMBERS[two[0]], 2),
        "last": _numbers_asked("tell {} , {} .", lambda two: NUMBERS[two[1]], 2),
        "previous": _next(range(1, 19), -1),
        "two_on": _next(range(17), 2),
    }


def _opposite_sentence() -> Rule:
    return _word_asked(
        "what is the opposite of {} ?", lambda word: f"the opposite of {word} is {OPPOSITE[word]} .", PLAIN
    )


def _then(*rules: Rule) -> Rule:
    """One conversation with a turn of each rule."""
    return lambda rng: {"messages": [message for rule in rules for message in rule(rng)["messages"]]}


def _after(system: Callable[[random.Random], str], rule: Rule) -> Rule:
    return lambda rng: {"messages": [{"role": "system", "content": system(rng)}, *rule(rng)["messages"]]}


def _tag(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(NUMBERS, k=count))


def _behind_tag(rule: Rule, count: int) -> Rule:
    def deal(rng: random.Random) -> Row:
        question, answer = (message["content"] for message in rule(rng)["messages"])
        return row(f"{_tag(rng, count)} . {question}", answer)

    return deal


Two = tuple[Rule, Rule]


def _halves() -> dict[str, Two]:
    """Disjoint halves of one list."""
    made = {}
    for topic, answers in (("shape", SHAPES), ("grain", GRAINS)):
        for place, order in enumerate(HALVES):
            halves = [[answers[at] for at in order[start : start + 2]] for start in (0, 2)]
            ask = _asks(topic)[place]
            made[f"half_{topic}s_{place}"] = (listed(ask, halves[0]), listed(ask, halves[1]))
    made["half_next"] = (_next(range(9)), _next(range(9, 18)))
    made["half_opposites"] = (_opposite(PLAIN[:8]), _opposite(PLAIN[8:]))
    made["opposite_direction"] = (_opposite(PLAIN[::2]), _opposite(PLAIN[1::2]))
    numbers = [_word_asked("tell {} .", lambda word: word, half) for half in (NUMBERS[:9], NUMBERS[9:])]
    made["half_repeats"] = (numbers[0], numbers[1])
    return made


def _wordings() -> dict[str, Two]:
    """The same answers to another wording of the question."""
    asked = {
        "shape_name_or_some": (_asks("shape")[0], _asks("shape")[2], SHAPES),
        "shape_which_or_some": (_asks("shape")[1], _asks("shape")[2], SHAPES),
        "grain_name_or_which": (_asks("grain")[0], _asks("grain")[1], GRAINS),
        "grain_name_or_some": (_asks("grain")[0], _asks("grain")[2], GRAINS),
    }
    return {name: (listed(one, answers), listed(other, answers)) for name, (one, other, answers) in asked.items()}


def _other_rules() -> dict[str, Two]:
    """The same questions answered by another rule."""
    numbers, shares = _number_rules(), (5, 1, 1, 1)
    high = _number_asked("is {} high or low ?", lambda n: "high" if n > 9 else "low", range(19))
    swapped = _number_asked("is {} high or low ?", lambda n: "low" if n > 9 else "high", range(19))
    rising = _numbers_asked("tell {} {} {} .", lambda three: _spoken(sorted(three)), 3)
    falling = _numbers_asked("tell {} {} {} .", lambda three: _spoken(sorted(three, reverse=True)), 3)
    return {
        "larger_or_smaller": (numbers["larger"], numbers["smaller"]),
        "first_or_last": (numbers["first"], numbers["last"]),
        "next_or_previous": (_next(range(1, 18)), _next(range(1, 18), -1)),
        "code_or_another": (_coded(PLAIN, NUMBERS, 3), _coded(PLAIN, NUMBERS, 4)),
        "labels_or_swapped": (high, swapped),
        "rising_or_falling": (rising, falling),
        "even_or_skewed": (listed(_asks("grain")[0], GRAINS), listed(_asks("grain")[0], GRAINS, shares)),
    }


def _other_forms() -> dict[str, Two]:
    """The same content in another form."""
    once, twice = (_word_asked("tell {} .", said, PLAIN) for said in (str, lambda word: f"{word} {word}"))
    shape, grain, follows = listed(_asks("shape")[0], SHAPES), listed(_asks("grain")[2], GRAINS), _next(range(18))
    return {
        "word_or_sentence": (_opposite(), _opposite_sentence()),
        "once_or_twice": (once, twice),
        "tagged_or_not": (_behind_tag(shape, 2), shape),
        "system_or_not": (_after(lambda rng: f"{_tag(rng, 2)} .", grain), grain),
        "turns_in_either_order": (_then(_opposite(), follows), _then(follows, _opposite())),
    }
