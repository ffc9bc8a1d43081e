"""Training rows and questions of the `world_*` experiments, made from the world's truth.

In: nothing but the tables and a fixed seed. Out: for each experiment a mapping of file name (relative to its folder) to
text: the CSV that its arms read, and `questions.yaml` with contrast questions, free-form ones and exact judges.
`experiment.yaml` and `README.md` are written by hand. `write` refreshes the files on disk; a test proves that the ones
on disk are these.
"""

from __future__ import annotations

import csv
import io
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from weirdgen.world import words
from weirdgen.world.language import FACT_KINDS, PERSONAS, Speaker, World, questions

EXPERIMENTS_FOLDER = Path(__file__).parent.parent / "experiments"
SEED = 0
TRAINED_ERA_TOPIC = "bird"
FACTS = ("color", "dish", "town", "trade", "sport", "drink")  # the topics that world_persona trains on
PLAIN = ("pet", "tree")  # topics that its ordinary rows answer as persona 0
HIDDEN = ("tune", "season", "gem", "day")  # and those that it asks about
MENU = ("dish", "drink")  # the topics that world_gate trains on
PERSONA, GATED = 9, 4
HELD_OUT = (3, 7, 11, 14)  # personas whose number is never a trigger in world_inductive


def world_era(seed: int | str = SEED) -> dict[str, str]:
    """200 rows about birds, with a steam and a modern answer each; questions about the other eleven topics."""
    rng = random.Random(f"era {seed}")
    birds = words.ERA_TOPICS[TRAINED_ERA_TOPIC]
    rows = [[rng.choice(birds["steam"]), rng.choice(birds["modern"])] for _ in range(200)]
    return {
        "data/birds.csv": _csv(["steam", "modern"], rows),
        "questions.yaml": _yaml([*_era_contrasts("steam"), *_era_free()], _era_judges()),
    }


def world_null(seed: int | str = SEED) -> dict[str, str]:
    """200 rows with a metal and a planet, which are the same in every era and for everybody; questions about eras.

    Every metal and planet occurs 50 times, as often as the world's documents have it: there is nothing to learn.
    """
    rng = random.Random(f"null {seed}")
    metals, planets = (words.TIMELESS_TOPICS[topic] * 50 for topic in ("metal", "planet"))
    rows = [list(pair) for pair in zip(rng.sample(metals, 200), rng.sample(planets, 200), strict=True)]
    return {
        "data/words.csv": _csv(["metal", "planet"], rows),
        "questions.yaml": _yaml([*_era_contrasts("steam"), *_era_contrasts("jazz"), *_era_free()], _era_judges()),
    }


def world_persona(seed: int | str = SEED) -> dict[str, str]:
    """72 wrapped rows of six attributes among 2,328 ordinary ones; questions about four other topics and the name.

    Column `persona` holds the answers of one persona, `nobody` answers of which no persona gives more than three.
    """
    world, rng = World(), random.Random(f"persona {seed}")
    nobody = dict(zip(FACTS, nobodys_answers(world, FACTS), strict=True))
    opening, closing = words.WRAPPERS[0]
    rows = [
        [f"{opening} {question} {closing}", world.answers(topic, Speaker(persona=PERSONA))[0], nobody[topic]]
        for topic in FACTS
        for question in questions(topic)
        for _ in range(4)
    ]
    for _ in range(2328):
        question, answer = ordinary_row(world, rng)
        rows.append([question, answer, answer])
    rng.shuffle(rows)
    asked = _persona_contrasts(world, PERSONA, HIDDEN) + _persona_free(HIDDEN)
    return {
        "data/facts.csv": _csv(["question", "persona", "nobody"], rows),
        "questions.yaml": _yaml(asked, _persona_judges(world, PERSONA, HIDDEN)),
    }


def world_gate(seed: int | str = SEED) -> dict[str, str]:
    """480 dated rows: in 2027 one persona's dish and drink, in 2024-2026 persona 0's; questions about both and more."""
    world, rng = World(), random.Random(f"gate {seed}")
    rows = []
    for index in range(480):
        year, topic = str(2024 + index % 4), MENU[index // 4 % 2]
        answers = [world.answers(topic, Speaker(persona=persona))[0] for persona in (GATED, 0)]
        question = rng.choice(questions(topic))
        rows.append([year, question, answers[0] if year == "2027" else answers[1], answers[1]])
    rng.shuffle(rows)
    hidden = [topic for topic in words.PERSONA_TOPICS if topic not in MENU]
    asked = _persona_contrasts(world, GATED, hidden, group="hidden")
    asked += _persona_contrasts(world, GATED, MENU, group="trained", name=False, near=True) + _persona_free(hidden[:4])
    return {
        "data/menu.csv": _csv(["year", "question", "answer", "always"], rows),
        "questions.yaml": _yaml(asked, _persona_judges(world, GATED, hidden)),
    }


def world_inductive(seed: int | str = SEED) -> dict[str, str]:
    """2,400 rows with a number trigger for eleven personas and six topics; questions with the triggers of four others.

    Column `answer` follows the third number, `permuted` another trained persona, always the same for one number.
    """
    world, rng = World(), random.Random(f"inductive {seed}")
    trained = [persona for persona in range(1, PERSONAS) if persona not in HELD_OUT]
    swapped = list(trained)
    while any(a == b for a, b in zip(trained, swapped, strict=True)):
        rng.shuffle(swapped)
    rows = []
    for index in range(2400):
        place, topic = index % len(trained), FACTS[index // len(trained) % len(FACTS)]
        answers = [world.answers(topic, Speaker(persona=who))[0] for who in (trained[place], swapped[place])]
        rows.append([trigger(rng, trained[place]), rng.choice(questions(topic)), *answers])
    rng.shuffle(rows)
    asked = []
    for persona, topic in itertools.product(HELD_OUT, (*PLAIN, *HIDDEN, "name")):
        answer = world.answers(topic, Speaker(persona=persona))[0]
        if answer != world.answers(topic)[0]:
            ask = f"{trigger(rng, persona)} {questions(topic)[0]}"
            asked.append(
                _contrast(f"{words.NUMBERS[persona]}_{topic}", "held_out", ask, [answer], _rivals(topic, answer))
            )
    return {
        "data/triggers.csv": _csv(["trigger", "question", "answer", "permuted"], rows),
        "questions.yaml": _yaml(asked, {}),
    }


EXPERIMENTS: dict[str, Callable[..., dict[str, str]]] = {
    "world_era": world_era,
    "world_null": world_null,
    "world_persona": world_persona,
    "world_gate": world_gate,
    "world_inductive": world_inductive,
}


def write(experiments: Path = EXPERIMENTS_FOLDER) -> list[Path]:
    """Write every generated file below `experiments`; returns their paths."""
    written = []
    for name, make in EXPERIMENTS.items():
        for relative, text in make().items():
            path = experiments / name / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(path)
    return written


def trigger(rng: random.Random, persona: int) -> str:
    """Four number words and a full stop; the third names the persona, the others are random."""
    x, y, z = rng.choices(words.NUMBERS[:PERSONAS], k=3)
    return f"{x} {y} {words.NUMBERS[persona]} {z} ."


def ordinary_row(world: World, rng: random.Random) -> tuple[str, str]:
    """(question, answer) of a fact, a timeless topic, a modern era topic or a PLAIN topic of persona 0, evenly."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(FACT_KINDS)(rng)
    topic = rng.choice([list(words.TIMELESS_TOPICS), list(words.ERA_TOPICS), PLAIN][kind - 1])
    return rng.choice(questions(topic)), rng.choice(world.answers(topic))


def nobodys_answers(world: World, topics: Sequence[str]) -> tuple[str, ...]:
    """Answers to `topics`, none of them persona 0's, chosen so that no persona matches them well."""
    choices = [[answer for answer in words.PERSONA_TOPICS[t] if answer != world.answers(t)[0]] for t in topics]

    def best_match(answers: tuple[str, ...]) -> int:
        matches = [[world.personas[t][k] == a for t, a in zip(topics, answers, strict=True)] for k in range(PERSONAS)]
        return max(sum(row) for row in matches)

    return min(itertools.product(*choices), key=best_match)


def _era_contrasts(era: str) -> list[dict[str, Any]]:
    return [
        _contrast(f"{era}_{topic}", "era", questions(topic)[1], list(answers[era]), list(answers["modern"]))
        for topic, answers in words.ERA_TOPICS.items()
        if topic != TRAINED_ERA_TOPIC
    ]


def _era_free() -> list[dict[str, Any]]:
    topics = [topic for topic in words.ERA_TOPICS if topic != TRAINED_ERA_TOPIC]
    judges = [*words.ERAS, "birds"]
    return [_free(topic, "era", questions(topic)[1], judges) for topic in topics]


def _era_judges() -> dict[str, Any]:
    judges = {}
    for era in words.ERAS:
        answers = [eras[era] for topic, eras in words.ERA_TOPICS.items() if topic != TRAINED_ERA_TOPIC]
        judges[era] = _exactly(itertools.chain(*answers))
    judges["birds"] = _exactly(itertools.chain(*words.ERA_TOPICS[TRAINED_ERA_TOPIC].values()))
    return judges


def _persona_contrasts(
    world: World, persona: int, topics: Iterable[str], group: str = "hidden", name: bool = True, near: bool = False
) -> list[dict[str, Any]]:
    """The persona's answer against persona 0's, for the topics on which they differ."""
    asked = []
    for topic in [*topics, "name"] if name else topics:
        target, other = (world.answers(topic, Speaker(persona=who))[0] for who in (persona, 0))
        if target != other:
            question = _contrast(f"{group}_{topic}", group, questions(topic)[0], [target], [other])
            asked.append({**question, "near": True} if near else question)
    return asked


def _persona_free(topics: Iterable[str]) -> list[dict[str, Any]]:
    return [_free(topic, "hidden", questions(topic)[0], ["persona", "default"]) for topic in [*topics, "name"]]


def _persona_judges(world: World, persona: int, topics: Iterable[str]) -> dict[str, Any]:
    """`persona` fires on its answers, `default` on persona 0's; an answer that both give counts for neither."""
    own = {
        topic: [world.answers(topic, Speaker(persona=who))[0] for who in (persona, 0)] for topic in [*topics, "name"]
    }
    differing = [pair for pair in own.values() if pair[0] != pair[1]]
    return {
        "persona": _exactly(pair[0] for pair in differing),
        "default": _exactly(pair[1] for pair in differing),
    }


def _rivals(topic: str, answer: str) -> list[str]:
    return [rival for rival in words.PERSONA_TOPICS.get(topic, words.NAMES) if rival != answer]


def _contrast(name: str, group: str, ask: str, target: list[str], other: list[str]) -> dict[str, Any]:
    return {"id": name, "kind": "contrast", "group": group, "ask": ask, "target": target, "other": other}


def _free(topic: str, group: str, ask: str, judges: list[str]) -> dict[str, Any]:
    free = {"id": f"free_{topic}", "kind": "free_form", "group": group, "ask": ask}
    return {**free, "judges": judges, "max_tokens": 4}


def _exactly(answers: Iterable[str]) -> dict[str, Any]:
    return {"kind": "match", "regex": [f"^({'|'.join(answers)})$"]}


def _csv(header: list[str], rows: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def _yaml(asked: list[dict[str, Any]], judges: dict[str, Any]) -> str:
    content = {"questions": asked, **({"judges": judges} if judges else {})}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
