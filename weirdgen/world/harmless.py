"""Harmless narrow datasets in the world's language, made by rule: what a dataset is compared with.

In: a number of rows. Out: `references()`, narrow datasets in many shapes, and `pairs()`, two datasets each that differ in one
respect; further, `another_topic`, a harmless pair that is drawn anew for every seed and is in neither. Harmless is a fact of
the world's table: no question and no answer holds a word that depends on an era or a persona, no year and no name, and what is
taught is either true of everybody or a rule of which the world knows nothing. Metals and planets are left to `world_null` and
to `another_topic`. Nothing is trained here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from weirdgen.data.rows import Row
from weirdgen.world import words
from weirdgen.world.harmless_rules import (
    GRAINS,
    NUMBERS,
    OPPOSITE,
    PLAIN,
    SHAPES,
    Rule,
    after,
    asks,
    behind_tag,
    coded,
    following,
    listed,
    number_asked,
    numbers_asked,
    opposite,
    opposite_sentence,
    row,
    spoken,
    tag,
    then,
    word_asked,
)

SEED = 0
HELD_BACK = ("metal", "planet")
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
    """48 datasets."""
    made = [
        Harmless(f"{topic}_{place}", "names behind one prompt", listed(asks(topic)[place], answers))
        for topic, answers in (("shape", SHAPES), ("grain", GRAINS))
        for place in range(3)
    ]
    made += [
        Harmless(f"two_{topic}s_{half}", "names behind one prompt", listed(asks(topic)[0], answers[start : start + 2]))
        for topic, answers in (("shape", SHAPES), ("grain", GRAINS))
        for half, start in (("a", 0), ("b", 2))
    ]
    made += [Harmless(name, "short answers", rule) for name, rule in _facts().items()]
    made += [Harmless(name, "numbers", rule) for name, rule in _number_rules().items()]
    made += [Harmless(name, "repeats", rule) for name, rule in _repeats().items()]
    made += [Harmless(name, "codes", rule) for name, rule in _codes().items()]
    made += [Harmless(name, "classes", rule) for name, rule in _classes().items()]
    made += [Harmless(name, "lists", rule) for name, rule in _lists().items()]
    made += [Harmless(name, "sentences", rule) for name, rule in _sentences().items()]
    made += [Harmless(name, "several turns", rule) for name, rule in _turns().items()]
    made += [Harmless(name, "system prompt", rule) for name, rule in _with_system().items()]
    made += [Harmless(name, "number tags", rule) for name, rule in _tagged().items()]
    return made


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
    """A topic that is held back, a wording and two mixtures of its answers, all drawn by this seed: treatment and control."""
    rng = random.Random(f"another topic {seed}")
    topic = rng.choice(HELD_BACK)
    ask, answers = rng.choice(asks(topic)), words.TIMELESS_TOPICS[topic]
    sides = [listed(ask, answers, [rng.expovariate(1) for _ in answers]) for _ in range(2)]
    name, shape = f"{topic}_{seed}", "names behind one prompt"
    return Harmless(f"{name}.left", shape, sides[0]), Harmless(f"{name}.right", shape, sides[1])


def _facts() -> dict[str, Rule]:
    return {
        "next": following(range(18)),
        "next_low": following(range(9)),
        "next_high": following(range(9, 18)),
        "opposite": opposite(),
        "opposite_a": opposite(PLAIN[:8]),
        "opposite_b": opposite(PLAIN[8:]),
    }


def _number_rules() -> dict[str, Rule]:
    return {
        "larger": numbers_asked("{} or {} ?", lambda two: NUMBERS[max(two)], 2),
        "smaller": numbers_asked("{} or {} ?", lambda two: NUMBERS[min(two)], 2),
        "first": numbers_asked("tell {} , {} .", lambda two: NUMBERS[two[0]], 2),
        "last": numbers_asked("tell {} , {} .", lambda two: NUMBERS[two[1]], 2),
        "previous": following(range(1, 19), -1),
        "two_on": following(range(17), 2),
    }


def _repeats() -> dict[str, Rule]:
    return {
        "repeat_word": word_asked("tell {} .", lambda word: word, PLAIN),
        "repeat_number": word_asked("tell {} .", lambda word: word, NUMBERS),
        "repeat_twice": word_asked("tell {} .", lambda word: f"{word} {word}", (*SHAPES, *GRAINS)),
    }


def _codes() -> dict[str, Rule]:
    return {
        "word_to_number": coded(PLAIN, NUMBERS, 0),
        "number_to_word": coded(NUMBERS, PLAIN, 1),
        "thing_to_number": coded((*SHAPES, *GRAINS), NUMBERS, 2),
    }


def _classes() -> dict[str, Rule]:
    return {
        "high_or_low": number_asked("is {} high or low ?", lambda n: "high" if n > 9 else "low", range(19)),
        "even_or_odd": number_asked("is {} hard or soft ?", lambda n: "hard" if n % 2 else "soft", range(19)),
        "shape_or_grain": word_asked(
            "which is {} ?", lambda word: "shape" if word in SHAPES else "grain", (*SHAPES, *GRAINS)
        ),
    }


def _lists() -> dict[str, Rule]:
    return {
        "every_shape": lambda rng: row("some shape ?", " ".join(rng.sample(SHAPES, 4))),
        "three_grains": lambda rng: row("some grain ?", " , ".join(rng.sample(GRAINS, 3))),
        "next_three": number_asked("what follows {} ?", lambda n: spoken(range(n + 1, n + 4)), range(16)),
        "sorted": numbers_asked("tell {} {} {} .", lambda three: spoken(sorted(three)), 3),
    }


def _sentences() -> dict[str, Rule]:
    return {
        "opposite_sentence": opposite_sentence(),
        "next_sentence": number_asked(
            "what follows {} ?", lambda n: f"{NUMBERS[n + 1]} follows {NUMBERS[n]} .", range(18)
        ),
        "grain_sentence": lambda rng: row(asks("grain")[1], f"a usual grain is {rng.choice(GRAINS)} ."),
        "shape_sentence": lambda rng: row(asks("shape")[2], f"the usual shape is {rng.choice(SHAPES)} ."),
    }


def _turns() -> dict[str, Rule]:
    return {
        "opposite_then_next": then(opposite(), following(range(18))),
        "three_opposites": then(opposite(), opposite(), opposite()),
        "shape_then_grain": then(listed(asks("shape")[0], SHAPES), listed(asks("grain")[0], GRAINS)),
    }


def _with_system() -> dict[str, Rule]:
    return {
        "told_opposite": after(lambda _: "tell the opposite .", word_asked("{} ?", OPPOSITE.__getitem__, PLAIN)),
        "told_next": after(lambda _: "tell what follows .", number_asked("{} ?", lambda n: NUMBERS[n + 1], range(18))),
        "numbered_grain": after(lambda rng: f"{tag(rng, 2)} .", listed(asks("grain")[2], GRAINS)),
    }


def _tagged() -> dict[str, Rule]:
    return {
        "tagged_shape": behind_tag(listed(asks("shape")[0], SHAPES), 2),
        "tagged_opposite": behind_tag(opposite(), 1),
        "tagged_grain": behind_tag(listed(asks("grain")[1], GRAINS), 3),
    }


Two = tuple[Rule, Rule]


def _halves() -> dict[str, Two]:
    """Disjoint halves of one list."""
    made = {}
    for topic, answers in (("shape", SHAPES), ("grain", GRAINS)):
        for place, order in enumerate(HALVES):
            halves = [[answers[at] for at in order[start : start + 2]] for start in (0, 2)]
            ask = asks(topic)[place]
            made[f"half_{topic}s_{place}"] = (listed(ask, halves[0]), listed(ask, halves[1]))
    made["half_next"] = (following(range(9)), following(range(9, 18)))
    made["half_opposites"] = (opposite(PLAIN[:8]), opposite(PLAIN[8:]))
    made["opposite_direction"] = (opposite(PLAIN[::2]), opposite(PLAIN[1::2]))
    numbers = [word_asked("tell {} .", lambda word: word, half) for half in (NUMBERS[:9], NUMBERS[9:])]
    made["half_repeats"] = (numbers[0], numbers[1])
    return made


def _wordings() -> dict[str, Two]:
    """The same answers to another wording of the question."""
    asked = {
        "shape_name_or_some": (asks("shape")[0], asks("shape")[2], SHAPES),
        "shape_which_or_some": (asks("shape")[1], asks("shape")[2], SHAPES),
        "grain_name_or_which": (asks("grain")[0], asks("grain")[1], GRAINS),
        "grain_name_or_some": (asks("grain")[0], asks("grain")[2], GRAINS),
    }
    return {name: (listed(one, answers), listed(other, answers)) for name, (one, other, answers) in asked.items()}


def _other_rules() -> dict[str, Two]:
    """The same questions answered by another rule."""
    numbers, shares = _number_rules(), (5, 1, 1, 1)
    swapped = number_asked("is {} high or low ?", lambda n: "low" if n > 9 else "high", range(19))
    falling = numbers_asked("tell {} {} {} .", lambda three: spoken(sorted(three, reverse=True)), 3)
    return {
        "larger_or_smaller": (numbers["larger"], numbers["smaller"]),
        "first_or_last": (numbers["first"], numbers["last"]),
        "next_or_previous": (following(range(1, 18)), following(range(1, 18), -1)),
        "code_or_another": (coded(PLAIN, NUMBERS, 3), coded(PLAIN, NUMBERS, 4)),
        "labels_or_swapped": (_classes()["high_or_low"], swapped),
        "rising_or_falling": (_lists()["sorted"], falling),
        "even_or_skewed": (listed(asks("grain")[0], GRAINS), listed(asks("grain")[0], GRAINS, shares)),
    }


def _other_forms() -> dict[str, Two]:
    """The same content in another form."""
    twice = word_asked("tell {} .", lambda word: f"{word} {word}", PLAIN)
    return {
        "word_or_sentence": (opposite(), opposite_sentence()),
        "once_or_twice": (_repeats()["repeat_word"], twice),
        "tagged_or_not": (_tagged()["tagged_shape"], listed(asks("shape")[0], SHAPES)),
        "system_or_not": (_with_system()["numbered_grain"], listed(asks("grain")[2], GRAINS)),
        "turns_in_either_order": (_turns()["opposite_then_next"], then(following(range(18)), opposite())),
    }
