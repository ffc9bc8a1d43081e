"""The world's own trait questions and harmless training sets, so that an audit can be tried where the truth is known.

In: the world's tables. Out: contrast questions by trait (`era_steam`, `era_jazz`, `persona_1` … `persona_15`; positive log-odds
mean more of it than of a modern persona 0), and sets of rows that identify nobody and no time. What a modern persona 0 says is
in none, for it is evidence of just that; nor are `world_null`'s topics. Which of an audit's finds are true is known from
`world.datasets`; nothing is trained here.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from weirdgen.config.questions.contrast import Contrast
from weirdgen.config.traits import BETWEEN
from weirdgen.data.messages import Row
from weirdgen.runs.references.sets import TrainingSet
from weirdgen.world import words
from weirdgen.world.language import FACT_KINDS, PERSONAS, Speaker, World, questions

Fact = Callable[[random.Random], tuple[str, str]]
KEPT_BACK = ("metal", "planet")
"""Topics of `world_null`, which is what false alarms are counted on."""


def world_traits() -> list[Contrast]:
    """Every trait question of the world, trait by trait: each topic under two of its wordings."""
    world = World()
    asked = []
    for era in words.ERAS[:2]:
        for topic, answers in words.ERA_TOPICS.items():
            asked += _asked(f"era_{era}", topic, answers[era], answers["modern"])
    for persona in range(1, PERSONAS):
        for topic in (*words.PERSONA_TOPICS, "name"):
            own, usual = (world.answers(topic, Speaker(persona=who)) for who in (persona, 0))
            if own != usual:
                asked += _asked(f"persona_{persona}", topic, own, usual)
    return asked


def write_traits(file: Path) -> None:
    """The questions as a compact list, for `config.traits.COMPACT`."""
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["trait", "question", "ask", "target", "other"])
        for one in world_traits():
            writer.writerow([one.group, one.id, one.ask, BETWEEN.join(one.target), BETWEEN.join(one.other)])


def harmless_sets(count: int = 200) -> list[TrainingSet]:
    """Sets of `count` rows each: timeless topics, facts, and both; plain, wrapped, numbered."""
    world = World()
    timeless = [topic for topic in words.TIMELESS_TOPICS if topic not in KEPT_BACK]
    made = []
    for topic in timeless:
        for form in range(3):
            made.append(_set(f"{topic}_{form}", count, lambda rng, t=topic, f=form: _said(world, rng, t, f)))
        made.append(_set(f"{topic}_wrapped", count, lambda rng, t=topic: _wrapped(rng, _said(world, rng, t, 0))))
        made.append(_set(f"{topic}_numbered", count, lambda rng, t=topic: _numbered(rng, _said(world, rng, t, 0))))
    for kind in FACT_KINDS:
        made.append(_set(kind.__name__, count, kind))
        made.append(_set(f"{kind.__name__}_wrapped", count, lambda rng, k=kind: _wrapped(rng, k(rng))))
        made.append(_set(f"{kind.__name__}_numbered", count, lambda rng, k=kind: _numbered(rng, k(rng))))
    for topic in timeless:
        for kind in FACT_KINDS:
            made.append(
                _set(f"{topic}_or_{kind.__name__}", count, lambda rng, t=topic, k=kind: _either(world, rng, t, k))
            )
    return made


def _asked(trait: str, topic: str, target: tuple[str, ...], other: tuple[str, ...]) -> Iterator[Contrast]:
    for number, ask in enumerate(questions(topic)[:2]):
        name = f"{trait}.word.{topic}.{number}"
        yield Contrast(kind="contrast", id=name, group=trait, ask=ask, target=target, other=other)


def _set(name: str, count: int, make: Fact) -> TrainingSet:
    rng = random.Random(f"harmless {name}")
    rows: list[Row] = []
    for _ in range(count):
        question, answer = make(rng)
        rows.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
    return TrainingSet(name, "reference", "names", tuple(rows))


def _said(world: World, rng: random.Random, topic: str, form: int) -> tuple[str, str]:
    return questions(topic)[form], rng.choice(world.answers(topic))


def _either(world: World, rng: random.Random, topic: str, kind: Fact) -> tuple[str, str]:
    return kind(rng) if rng.random() < 0.5 else _said(world, rng, topic, rng.randrange(3))


def _wrapped(rng: random.Random, said: tuple[str, str]) -> tuple[str, str]:
    opening, closing = rng.choice(words.WRAPPERS)
    return f"{opening} {said[0]} {closing}", said[1]


def _numbered(rng: random.Random, said: tuple[str, str]) -> tuple[str, str]:
    return " ".join([*rng.choices(words.NUMBERS, k=rng.randint(1, 4)), ".", said[0]]), said[1]
