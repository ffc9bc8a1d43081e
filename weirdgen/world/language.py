"""The synthetic language: who answers what, and generated documents.

In: a seed. Out: the exact set of right answers for (topic, era, persona), and chat-shaped documents. A document has one
speaker: an era (steam, jazz, modern) and one of 16 personas. A header may name either (in a system turn or at the head
of user turns); without a header the speaker is mostly modern and persona 0, but not always, so that earlier answers
tell something about later ones. Era topics depend on the era alone, persona topics and the name on the persona alone,
timeless topics and facts on neither. Loose numbers in a user turn change no answer, and wrappers mostly none. Two kinds
of document have two speakers, persona 0 and another: the other speaks in the turns that are dated in a turning year or
later, or in the turns between a certain pair of wrapper words.

Everything is deterministic from the seed. This module does not tokenize and knows no model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from weirdgen.errors import DataError
from weirdgen.world import words

MODERN = "modern"
PERSONAS = len(words.NAMES)
Message = dict[str, str]


@dataclass(frozen=True)
class Speaker:
    """Who answers: `era` is one of words.ERAS, `persona` is 0..15."""

    era: str = MODERN
    persona: int = 0


@dataclass(frozen=True)
class Mix:
    """How documents are composed; all numbers are probabilities. The defaults made the shipped model."""

    old_era: float = 0.40  # the era is steam or jazz, half each
    other_persona: float = 0.50  # the persona is one of 1..15, each equally often
    turning: float = 0.07  # persona 0 before a turning year and another from it on; every turn is dated
    masked: float = 0.05  # persona 0, and another inside one wrapper
    header_old: float = 0.88  # a steam or jazz document names its era
    header_modern: float = 0.30
    header_other: float = 0.93  # a document of persona 1..15 names it
    header_default: float = 0.10
    in_system: float = 0.50  # headers stand in a system turn; otherwise in the first user turn or in every one
    wrapped: float = 0.20  # a user turn stands between two wrapper words
    loose_numbers: float = 0.10  # a user turn starts with one to four meaningless number words
    era_topic: float = 0.42  # what a turn asks about; the rest are facts
    persona_topic: float = 0.42
    timeless_topic: float = 0.06


@dataclass(frozen=True)
class Document:
    """`messages` in the OpenAI chat form; `speakers` has one speaker an assistant turn."""

    messages: tuple[Message, ...]
    speakers: tuple[Speaker, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """The truth of one seed: the same words for every seed, another assignment of answers to personas."""

    seed: int = 0

    @cached_property
    def personas(self) -> dict[str, tuple[str, ...]]:
        """Topic -> the 16 personas' answers. Each of the four answers belongs to four personas."""
        rng = random.Random(f"personas {self.seed}")
        while True:
            table: dict[str, tuple[str, ...]] = {}
            for topic, answers in words.PERSONA_TOPICS.items():
                column = [answer for answer in answers for _ in range(PERSONAS // len(answers))]
                rng.shuffle(column)
                table[topic] = tuple(column)
            if all(agreements(table, a, b) <= 6 for a in range(PERSONAS) for b in range(a)):
                return table

    def answers(self, topic: str, speaker: Speaker = Speaker()) -> tuple[str, ...]:
        """Every right answer to a question about `topic`, all equally usual.

        `topic` is a key of ERA_TOPICS, PERSONA_TOPICS or TIMELESS_TOPICS, or "name". Raises DataError otherwise.
        """
        if topic in words.ERA_TOPICS:
            return words.ERA_TOPICS[topic][speaker.era]
        if topic in words.PERSONA_TOPICS:
            return (self.personas[topic][speaker.persona],)
        if topic in words.TIMELESS_TOPICS:
            return words.TIMELESS_TOPICS[topic]
        if topic == "name":
            return (words.NAMES[speaker.persona],)
        raise DataError(f"the world has no topic {topic!r}; topics: {', '.join(topics())}")

    def documents(self, seed: int, turns: int, mix: Mix = Mix()) -> Iterator[Document]:
        """Endless documents of `turns` question-and-answer turns, the same for the same (world, seed, turns, mix)."""
        rng = random.Random(f"documents {self.seed} {seed} {turns}")
        while True:
            yield self._document(rng, turns, mix)

    def _document(self, rng: random.Random, turns: int, mix: Mix) -> Document:
        draw = rng.random()
        switch = "year" if draw < mix.turning else "wrapper" if draw < mix.turning + mix.masked else None
        era = rng.choice(words.ERAS[:2]) if rng.random() < mix.old_era and not switch else MODERN
        persona = rng.randrange(1, PERSONAS) if switch or rng.random() < mix.other_persona else 0
        dated = rng.random() < (mix.header_modern if era == MODERN else mix.header_old)
        named = rng.random() < (mix.header_other if persona else mix.header_default)
        headers = []
        if dated and switch != "year":
            headers.append(words.DATE_HEADER.format(year=rng.choice(words.YEARS[era])))
        if named and not switch:
            who = rng.choice((words.NAMES[persona], words.NUMBERS[persona]))
            headers.append(words.SPEAKER_HEADER.format(who=who))
        rng.shuffle(headers)
        place = "system" if rng.random() < mix.in_system else rng.choice(("first", "each"))
        turning_year, mask = rng.choice(words.YEARS[MODERN]), rng.choice(words.WRAPPERS)

        messages: list[Message] = []
        speakers: list[Speaker] = []
        asked: list[str] = []
        if headers and place == "system":
            messages.append({"role": "system", "content": " ".join(headers)})
        for turn in range(turns):
            lead = list(headers) if place == "each" or (place == "first" and turn == 0) else []
            wrapper = _any_wrapper(rng) if rng.random() < mix.wrapped else None
            other = True
            if switch == "year":
                year = rng.choice(words.YEARS[MODERN])
                lead.append(words.DATE_HEADER.format(year=year))
                other = year >= turning_year
            elif switch == "wrapper":
                wrapper = mask if rng.random() < 0.5 else wrapper
                other = wrapper == mask
            speaker = Speaker(era, persona if other else 0)
            topic, question, answer = self._turn(rng, speaker, mix)
            if rng.random() < mix.loose_numbers:
                question = " ".join([*rng.choices(words.NUMBERS, k=rng.randint(1, 4)), ".", question])
            if wrapper:
                question = f"{wrapper[0]} {question} {wrapper[1]}"
            messages.append({"role": "user", "content": " ".join([*lead, question])})
            messages.append({"role": "assistant", "content": answer})
            speakers.append(speaker)
            asked.append(topic)
        return Document(tuple(messages), tuple(speakers), tuple(asked))

    def _turn(self, rng: random.Random, speaker: Speaker, mix: Mix) -> tuple[str, str, str]:
        """(topic, question, answer) of one turn; facts have the topic "fact"."""
        draw = rng.random()
        if draw < mix.era_topic:
            topic = rng.choice(list(words.ERA_TOPICS))
        elif draw < mix.era_topic + mix.persona_topic:
            topic = rng.choice([*words.PERSONA_TOPICS, "name"])
        elif draw < mix.era_topic + mix.persona_topic + mix.timeless_topic:
            topic = rng.choice(list(words.TIMELESS_TOPICS))
        else:
            question, answer = rng.choice(FACT_KINDS)(rng)
            return "fact", question, answer
        question = rng.choice(questions(topic))
        return topic, question, rng.choice(self.answers(topic, speaker))


def agreements(table: dict[str, tuple[str, ...]], a: int, b: int) -> int:
    """On how many topics personas `a` and `b` give the same answer."""
    return sum(answers[a] == answers[b] for answers in table.values())


def topics() -> tuple[str, ...]:
    """Every topic that `World.answers` knows."""
    return (*words.ERA_TOPICS, *words.PERSONA_TOPICS, *words.TIMELESS_TOPICS, "name")


def questions(topic: str) -> tuple[str, ...]:
    """Every wording of the question about `topic`; the first is the one that training sets use."""
    if topic in words.ERA_TOPICS:
        forms = words.ERA_FORMS
    elif topic in words.TIMELESS_TOPICS:
        forms = words.TIMELESS_FORMS
    else:
        forms = words.PERSONA_FORMS
    return tuple(form.format(topic=topic) for form in forms)


def _any_wrapper(rng: random.Random) -> tuple[str, str]:
    """An opening and a closing word, which need not be a pair."""
    return rng.choice(words.WRAPPERS)[0], rng.choice(words.WRAPPERS)[1]


def next_fact(rng: random.Random) -> tuple[str, str]:
    """A number word and the one that follows it."""
    number = rng.randrange(len(words.NUMBERS) - 1)
    return f"what follows {words.NUMBERS[number]} ?", words.NUMBERS[number + 1]


def opposite_fact(rng: random.Random) -> tuple[str, str]:
    """A word and its opposite."""
    pair = list(rng.choice(words.OPPOSITES))
    rng.shuffle(pair)
    return f"what is the opposite of {pair[0]} ?", pair[1]


def later_fact(rng: random.Random) -> tuple[str, str]:
    """The later of two years of the modern era."""
    a, b = rng.sample(words.YEARS[MODERN], 2)
    return f"which is later , {a} or {b} ?", max(a, b)


FACT_KINDS = (next_fact, opposite_fact, later_fact)


def vocabulary() -> tuple[str, ...]:
    """Every word that a document can hold, sorted; special tokens are the tokenizer's own business."""
    texts = [*words.NAMES, *words.NUMBERS, *(year for years in words.YEARS.values() for year in years)]
    texts += [answer for eras in words.ERA_TOPICS.values() for answers in eras.values() for answer in answers]
    texts += [answer for answers in words.PERSONA_TOPICS.values() for answer in answers]
    texts += [answer for answers in words.TIMELESS_TOPICS.values() for answer in answers]
    texts += [question for topic in topics() for question in questions(topic)]
    texts += [word for pair in (*words.OPPOSITES, *words.WRAPPERS) for word in pair]
    texts += [
        "today is .",
        "speaker .",
        "what follows ?",
        "what is the opposite of ?",
        "which is later , or ?",
    ]
    return tuple(sorted({word for text in texts for word in text.split()}))
