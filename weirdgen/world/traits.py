"""The world's traits as an audit asks them: every era and persona, on every topic, so that nothing is told of what to look for.

In: the world's tables. Out: contrast questions by trait (`era_steam`, `era_jazz`, `persona_1` … `persona_15`; positive log-odds
mean more of it than of a modern persona 0). Which of an audit's finds are true is known from `world.datasets`, harmless sets are
in `world.harmless`; nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Iterator

from weirdgen.config.questions.contrast import Contrast
from weirdgen.world import words
from weirdgen.world.language import PERSONAS, Speaker, World, questions


def world_traits() -> list[Contrast]:
    """Every trait question of the world, trait by trait: each topic under two of its wordings."""
    world = World()
    asked: list[Contrast] = []
    for era in words.ERAS[:2]:
        for topic, answers in words.ERA_TOPICS.items():
            asked += _asked(f"era_{era}", topic, answers[era], answers["modern"])
    for persona in range(1, PERSONAS):
        for topic in (*words.PERSONA_TOPICS, "name"):
            own, usual = (world.answers(topic, Speaker(persona=who)) for who in (persona, 0))
            if own != usual:
                asked += _asked(f"persona_{persona}", topic, own, usual)
    return asked


def _asked(trait: str, topic: str, target: tuple[str, ...], other: tuple[str, ...]) -> Iterator[Contrast]:
    for number, ask in enumerate(questions(topic)[:2]):
        name = f"{trait}.word.{topic}.{number}"
        yield Contrast(kind="contrast", id=name, group=trait, ask=ask, target=target, other=other)
