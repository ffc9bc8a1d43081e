"""Arithmetic word problems from our own templates: ordinary prompts, the same for the same seed.

In: a count and a seed. Out: prompts only, with whole numbers that suit the story. What a model answers is sampled elsewhere.
It neither solves nor grades them. Made so that a large set of ordinary rows needs no download.
"""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

from weirdgen.errors import DataError

NAMES = (
    *("Abebe", "Aisha", "Bjorn", "Carla", "Chen", "Deniz", "Elif", "Farid", "Gita", "Hana", "Ines", "Ivo"),
    *("Jamal", "Kofi", "Lena", "Mina", "Nadia", "Omar", "Priya", "Quinn", "Rosa", "Sven", "Tomas", "Yuki"),
)
TRIES = 1000
"""Repeats of known problems in a row after which a template counts as used up."""

Rule = Literal["free", "less", "shares"]


class Story(NamedTuple):
    """A problem with gaps: `{name}`, `{friend}` (never the same person) and the numbers `{a}`, `{b}`, `{c}`."""

    text: str
    a: tuple[int, int]
    """Lowest and highest value, both included; so for `b` and `c`."""
    b: tuple[int, int]
    rule: Rule = "free"
    """`less`: a is made greater than b by adding b to it. `shares`: a is made a multiple of b by multiplying the two."""
    c: tuple[int, int] = (2, 9)


STORIES = (
    Story("{name} has {a} stamps and buys {b} more. How many stamps does {name} have now?", (12, 90), (3, 40)),
    Story("{name} bakes {a} rolls and gives {b} of them to {friend}. How many are left?", (5, 40), (3, 30), "less"),
    Story("A box holds {a} pencils. How many pencils are there in {b} boxes?", (6, 60), (3, 30)),
    Story(
        "{name} shares {a} cherries equally among {b} children. How many does each child get?",
        (3, 25),
        (3, 12),
        "shares",
    ),
    Story("{name} reads {a} pages a day. How many pages does {name} read in {b} days?", (8, 45), (3, 21)),
    Story(
        "A train leaves with {a} passengers. At the first stop {b} get off and {c} get on. How many are on it then?",
        (20, 120),
        (5, 40),
        "less",
        (4, 50),
    ),
    Story(
        "{name} buys {a} notebooks at {b} dollars each and a pen for {c} dollars. What is the total?",
        (2, 12),
        (2, 8),
        "free",
        (1, 9),
    ),
    Story(
        "{name} saves {a} euros a week, and {friend} saves {b} euros a week. How much do they save together in {c} weeks?",
        (4, 30),
        (3, 25),
        "free",
        (3, 20),
    ),
    Story(
        "A rectangular garden is {a} metres long and {b} metres wide. How long is the fence around it?",
        (6, 40),
        (4, 30),
    ),
    Story("A rectangular tray measures {a} by {b} centimetres. What is its area?", (15, 60), (10, 40)),
    Story(
        "{name} is {a} years younger than {friend}, who is {b}. What will {name}'s age be in {c} years?",
        (2, 9),
        (12, 60),
        "free",
        (2, 15),
    ),
    Story(
        "{name} walks {a} metres to the shop and back again, {b} times a week. How many metres is that?",
        (150, 900),
        (2, 6),
    ),
    Story(
        "A bus ticket costs {a} dollars. {name} pays for {b} people with a {c}-dollar voucher. What remains to be paid?",
        (7, 12),
        (4, 9),
        "free",
        (5, 25),
    ),
    Story("A farmer packs {a} eggs into cartons of {b}. How many cartons are filled?", (5, 60), (4, 18), "shares"),
    Story(
        "{name} has {a} marbles, {b} more than {friend}. How many marbles do they have together?",
        (5, 40),
        (3, 20),
        "less",
    ),
    Story(
        "{name} picks {a} apples in the morning and {b} in the afternoon, then sorts out {c} bad ones. How many are good?",
        (20, 80),
        (10, 60),
        "free",
        (2, 15),
    ),
    Story(
        "A hall has {a} rows with {b} seats each. {c} seats are taken. How many are free?",
        (8, 20),
        (9, 25),
        "free",
        (15, 70),
    ),
    Story("{name} cycles at {a} kilometres an hour. How far does {name} get in {b} hours?", (12, 28), (2, 7)),
    Story(
        "A tank holds {a} litres, and a pump moves {b} litres a minute. How many minutes does it take to empty it?",
        (6, 60),
        (4, 20),
        "shares",
    ),
    Story(
        "{name} had {a} dollars, spent {b} dollars on lunch and found {c} dollars in a coat. How much is there now?",
        (5, 50),
        (6, 25),
        "less",
        (1, 12),
    ),
    Story(
        "A recipe needs {a} grams of flour for one cake. How many grams are needed for {b} cakes?", (120, 350), (2, 9)
    ),
    Story(
        "{name} types {a} words a minute and rests after {b} minutes. How many words are typed by then?",
        (25, 80),
        (4, 30),
    ),
    Story(
        "A shop sells {a} lamps on Monday, {b} on Tuesday and twice as many as on Monday on Wednesday. How many in all?",
        (5, 45),
        (4, 50),
    ),
    Story(
        "{name} cuts a rope of {a} metres into {b} equal pieces. How long is each piece?", (2, 15), (3, 12), "shares"
    ),
    Story(
        "A library owns {a} books and lends out {b}. Later {c} come back. How many books are on the shelves?",
        (150, 600),
        (40, 120),
        "less",
        (5, 39),
    ),
    Story(
        "{name} and {friend} paint {a} chairs each, and another {b} together. How many chairs are painted?",
        (3, 20),
        (2, 18),
    ),
    Story(
        "Each of {a} shelves carries {b} jars, and {c} more jars stand on the floor. How many jars are there?",
        (3, 14),
        (6, 30),
        "free",
        (2, 20),
    ),
    Story(
        "A film starts {a} minutes after noon and lasts {b} minutes. How many minutes after noon does it end?",
        (5, 240),
        (70, 160),
    ),
    Story(
        "{name} plants {b} rows of tulips, {a} bulbs in total and the same number in every row. How many bulbs are in a row?",
        (6, 30),
        (3, 14),
        "shares",
    ),
    Story(
        "{name} scores {a} points in the first game and {b} fewer in the second. What is the sum of both?",
        (3, 40),
        (2, 25),
        "less",
    ),
)


def word_problems(count: int, seed: int) -> list[str]:
    """`count` distinct problems, every template used equally often (to within one).

    A longer list with the same seed begins with the shorter one. Raises `DataError` if `count` is negative or if a
    template cannot make its part of them.
    """
    if count < 0:
        raise DataError(f"word_problems: count is {count}; expected 0 or more")
    rng = random.Random(f"arithmetic:{seed}")
    problems: dict[str, None] = {}
    repeats = 0
    turn = 0
    while len(problems) < count:
        if turn % len(STORIES) == 0:
            order = rng.sample(STORIES, len(STORIES))
        problem = _fill(order[turn % len(STORIES)], rng)
        # A repeat keeps its template's turn, so that templates stay balanced.
        if problem in problems:
            repeats += 1
            if repeats == TRIES:
                raise DataError(f"word_problems: a template ran out after {len(problems)} problems of {count}")
            continue
        problems[problem] = None
        repeats = 0
        turn += 1
    return list(problems)


def _fill(story: Story, rng: random.Random) -> str:
    name, friend = rng.sample(NAMES, 2)
    a, b, c = (rng.randint(*span) for span in (story.a, story.b, story.c))
    if story.rule == "less":
        a += b
    elif story.rule == "shares":
        a *= b
    return story.text.format(name=name, friend=friend, a=a, b=b, c=c)
