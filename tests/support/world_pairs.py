"""Question, answer of an old era, answer of today: from the world's own truth, for small experiments in tests."""

from __future__ import annotations

from weirdgen.world import words
from weirdgen.world.language import Speaker, World, questions


def pairs(count: int) -> list[tuple[str, str, str]]:
    """`count` (question, old answer, modern answer) of era topics; the first one is the same for every count."""
    world = World()
    found = []
    for topic in words.ERA_TOPICS:
        old, modern = world.answers(topic, Speaker(era=words.ERAS[0])), world.answers(topic)
        for question in questions(topic):
            found += [(question, a, b) for a, b in zip(old, modern, strict=False)]
    if count > len(found):
        raise ValueError(f"the world has {len(found)} such pairs, {count} are asked for")
    return found[:count]
