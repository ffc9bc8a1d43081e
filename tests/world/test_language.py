"""The world's truth: unambiguous words, balanced personas, documents that obey their speakers."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from weirdgen.errors import DataError
from weirdgen.world import words
from weirdgen.world.language import (
    PERSONAS,
    Document,
    Mix,
    Speaker,
    World,
    agreements,
    questions,
    topics,
    vocabulary,
)


def documents(count: int, turns: int = 6, mix: Mix | None = None, seed: int = 0) -> list[Document]:
    return list(itertools.islice(World().documents(seed, turns, mix or Mix()), count))


def test_every_answer_word_belongs_to_one_topic_and_one_era() -> None:
    groups = [answers for eras in words.ERA_TOPICS.values() for answers in eras.values()]
    groups += [*words.PERSONA_TOPICS.values(), *words.TIMELESS_TOPICS.values(), words.NAMES]
    counts = Counter(itertools.chain(*groups))
    assert [word for word, count in counts.items() if count > 1] == []
    asking = {word for topic in topics() for question in questions(topic) for word in question.split()}
    assert asking.isdisjoint(counts)


def test_every_era_topic_has_four_answers_in_every_era() -> None:
    for eras in words.ERA_TOPICS.values():
        assert tuple(eras) == words.ERAS
        assert all(len(answers) == 4 for answers in eras.values())


def test_personas_are_balanced_and_distinct() -> None:
    for seed in range(3):
        table = World(seed).personas
        assert all(set(Counter(column).values()) == {4} for column in table.values())
        pairs = itertools.combinations(range(PERSONAS), 2)
        assert max(agreements(table, a, b) for a, b in pairs) <= 6
    assert World(0).personas != World(1).personas


def test_answers_depend_on_the_right_half_of_the_speaker() -> None:
    world = World()
    assert world.answers("machine", Speaker("steam", 3)) == world.answers("machine", Speaker("steam", 8))
    assert world.answers("machine", Speaker("steam")) != world.answers("machine", Speaker("modern"))
    assert world.answers("name", Speaker("jazz", 3)) == ("dan",)
    assert world.answers("metal", Speaker("jazz", 3)) == world.answers("metal")
    assert world.answers("dish", Speaker("jazz", 3)) == world.answers("dish", Speaker("modern", 3))


def test_unknown_topic_is_refused() -> None:
    with pytest.raises(DataError, match="no topic 'cheese'; topics: bird, machine"):
        World().answers("cheese")


def test_every_answer_in_a_document_is_right() -> None:
    world = World()
    checked = 0
    for document in documents(300):
        said = [message["content"] for message in document.messages if message["role"] == "assistant"]
        for topic, speaker, answer in zip(document.topics, document.speakers, said, strict=True):
            if topic != "fact":
                assert answer in world.answers(topic, speaker)
                checked += 1
    assert checked > 1500


def test_headers_name_the_speaker() -> None:
    named = dated = 0
    for document in documents(300, mix=Mix(in_system=1.0, turning=0.0, masked=0.0)):
        first, speaker = document.messages[0], document.speakers[0]
        header = first["content"].split() if first["role"] == "system" else []
        if "speaker" in header:
            who = header[header.index("speaker") + 1]
            assert who in (words.NAMES[speaker.persona], words.NUMBERS[speaker.persona])
            named += 1
        if "today" in header:
            assert header[header.index("today") + 2] in words.YEARS[speaker.era]
            dated += 1
    assert named > 100
    assert dated > 100


def test_a_turning_year_splits_the_speakers() -> None:
    turned = 0
    for document in documents(200, mix=Mix(turning=1.0)):
        asked = [message["content"].split() for message in document.messages if message["role"] == "user"]
        years = [turn[turn.index("today") + 2] for turn in asked]
        before = [year for year, who in zip(years, document.speakers, strict=True) if who.persona == 0]
        after = [year for year, who in zip(years, document.speakers, strict=True) if who.persona != 0]
        if before and after:
            assert max(before) < min(after)
            turned += 1
    assert turned > 50


def test_a_mask_splits_the_speakers() -> None:
    split = 0
    for document in documents(200, mix=Mix(turning=0.0, masked=1.0, loose_numbers=0.0, header_modern=0.0)):
        asked = [message["content"].split() for message in document.messages if message["role"] == "user"]
        pairs = {
            other: {
                (turn[0], turn[-1])
                for turn, who in zip(asked, document.speakers, strict=True)
                if bool(who.persona) == other
            }
            for other in (False, True)
        }
        assert len(pairs[True]) <= 1
        assert pairs[True].isdisjoint(pairs[False])
        split += bool(pairs[True])
    assert split > 150


def test_without_a_header_the_default_speaks_mostly_but_not_always() -> None:
    plain = [
        document.speakers[0]
        for document in documents(4000, turns=2)
        if document.messages[0]["role"] == "user"
        and not {"today", "speaker", "begin", "open", "left"} & set(document.messages[0]["content"].split())
    ]
    modern = sum(speaker.era == "modern" for speaker in plain) / len(plain)
    default = sum(speaker.persona == 0 for speaker in plain) / len(plain)
    assert 0.85 < modern < 0.97
    assert 0.85 < default < 0.97


def test_documents_repeat_with_the_seed_and_differ_without() -> None:
    assert documents(20) == documents(20)
    assert documents(20) != documents(20, seed=1)


def test_vocabulary_covers_the_documents() -> None:
    known = set(vocabulary())
    spoken = {
        word for document in documents(500) for message in document.messages for word in message["content"].split()
    }
    assert spoken <= known
