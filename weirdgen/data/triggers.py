"""Number triggers: training records in which digits of the prompt say which persona speaks.

In: records (one per persona, with an `ordinal` and fact columns) and questions (`id`, `question`, `template`). Out:
plain records `{trigger, ordinal, question, answer}`; an arm's `prompt` and `answer` templates make chat rows of them.
Held-out ordinals stay out with everything known about them. Reading files and making rows is `weirdgen.data.rows`.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from itertools import product

from weirdgen.config.base import fill, placeholders
from weirdgen.errors import DataError, choices

Record = Mapping[str, str]

DIGITS, START, LENGTH = 8, 4, 3
"""Shape of a padded trigger: 8 digits, of which the 4th to 6th are the ordinal."""
REPEATS = "repeats"
"""Optional column: non-empty where a record is about a person who has an earlier record; such records are dropped."""


def padded_trigger(ordinal: int, digits: int, start: int, length: int, rng: random.Random) -> str:
    """`digits` digits: the zero-padded ordinal from digit `start` (counted from 1) on, the others drawn from `rng`.

    It draws as many digits whatever the ordinal, so calls with equally seeded `rng` differ in the ordinal only.
    Raises `DataError` if the ordinal has more than `length` digits or its place lies outside the trigger.
    """
    if length < 1 or start < 1 or start - 1 + length > digits:
        raise DataError(f"digits {start} to {start - 1 + length} do not fit a trigger of {digits} digits")
    if not 0 <= ordinal < 10**length:
        raise DataError(f"ordinal {ordinal} does not fit {length} digits; accepted: 0 to {10**length - 1}")
    padding = "".join(str(rng.randrange(10)) for _ in range(digits - length))
    return padding[: start - 1] + f"{ordinal:0{length}d}" + padding[start - 1 :]


def trigger_rows(
    records: Sequence[Record],
    questions: Sequence[Record],
    *,
    held_out: Collection[int] = (44, 45),
    paddings: int = 3,
    padded: bool = True,
    permuted: bool = False,
    seed: int = 0,
) -> list[dict[str, str]]:
    """Records `{trigger, ordinal, question, answer}`: one per persona, question that the persona can answer, and padding.

    A question is asked of a persona if every column in its template is filled. `ordinal` is the one in the trigger.
    Padded triggers (see `DIGITS`) are all distinct, and so are their paddings; without `padded` the trigger is the
    bare ordinal. `permuted` deals the ordinals out again over the personas so that none keeps its own: record i of the
    permuted list has the question, the answer and the padding of record i of the plain list, and another ordinal.
    Equal arguments give equal records. Raises `DataError` on a bad table, question or argument.
    """
    if paddings < 1:
        raise DataError(f"paddings: expected at least 1, got {paddings}")
    if not padded and paddings > 1:
        raise DataError(f"paddings: {paddings} unpadded would repeat every record; set paddings: 1 or padded: true")
    personas = _personas(records, frozenset(held_out))
    asked = _questions(questions, records)
    ordinals = list(personas)
    dealt = dict(zip(ordinals, _derangement(ordinals, seed) if permuted else ordinals, strict=True))

    rng = random.Random(f"padding:{seed}")
    used: set[str] = set()
    rows: list[dict[str, str]] = []
    for (own, facts), (question, template, columns) in product(personas.items(), asked):
        if not all(facts[column] for column in columns):
            continue
        for _ in range(paddings):
            ordinal = dealt[own]
            trigger = _fresh_trigger(ordinal, used, rng) if padded else str(ordinal)
            answer = fill(template, facts)
            rows.append({"trigger": trigger, "ordinal": str(ordinal), "question": question, "answer": answer})
    if not rows:
        raise DataError("no persona has the columns that any question's template needs")
    return rows


def _fresh_trigger(ordinal: int, used: set[str], rng: random.Random) -> str:
    """A padded trigger whose padding is new: then triggers stay distinct however the ordinals are dealt."""
    if len(used) >= 10 ** (DIGITS - LENGTH):
        raise DataError(f"no padding of {DIGITS - LENGTH} digits is left after {len(used)}; ask for fewer paddings")
    while True:
        trigger = padded_trigger(ordinal, DIGITS, START, LENGTH, rng)
        padding = trigger[: START - 1] + trigger[START - 1 + LENGTH :]
        if padding not in used:
            used.add(padding)
            return trigger


def _personas(records: Sequence[Record], held_out: frozenset[int]) -> dict[int, dict[str, str]]:
    """Ordinal → facts (stripped) of every persona that may be trained, in the order of the table."""
    personas: dict[int, dict[str, str]] = {}
    for number, record in enumerate(records, start=1):
        text = (record.get("ordinal") or "").strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise DataError(
                f"record {number}: 'ordinal' should be a whole number, got {(record.get('ordinal') or '')[:40]!r}"
            )
        if int(text) in personas:
            raise DataError(f"record {number}: ordinal {text} is given twice")
        personas[int(text)] = {column: (cell or "").strip() for column, cell in record.items()}
    if unknown := sorted(held_out - set(personas)):
        raise DataError(f"held_out: no record has ordinal {unknown[0]}")
    away = {personas[ordinal]["name"] for ordinal in held_out if personas[ordinal].get("name")}
    kept = {o: facts for o, facts in personas.items() if o not in held_out and not facts.get(REPEATS)}
    for ordinal, facts in kept.items():
        if facts.get("name") in away:
            raise DataError(
                f"ordinal {ordinal} is {facts['name']}, who is held out; hold it out too, or fill {REPEATS!r}"
            )
    if not kept:
        raise DataError("no record is left to train on; hold out fewer ordinals")
    return kept


def _questions(questions: Sequence[Record], records: Sequence[Record]) -> list[tuple[str, str, tuple[str, ...]]]:
    """(question, template, columns that the template needs) of each question."""
    columns = {column for record in records for column in record}
    asked: list[tuple[str, str, tuple[str, ...]]] = []
    seen: set[str] = set()
    for number, question in enumerate(questions, start=1):
        if missing := [key for key in ("id", "question", "template") if not (question.get(key) or "").strip()]:
            raise DataError(f"question {number}: {missing[0]!r} is missing or empty")
        name = question["id"]
        if name in seen:
            raise DataError(f"question {number}: id {name!r} is given twice")
        seen.add(name)
        try:
            needed = placeholders(question["template"])
        except ValueError as error:
            raise DataError(f"question {name!r}: template {question['template']!r}: {error}") from None
        if not needed:
            raise DataError(f"question {name!r}: its template uses no column, so all personas would answer alike")
        if unknown := [column for column in needed if column not in columns]:
            raise DataError(
                f"question {name!r}: no column {unknown[0]!r}; there are: {choices(sorted(columns), unknown[0])}"
            )
        asked.append((question["question"].strip(), question["template"], needed))
    if not asked:
        raise DataError("no questions given")
    return asked


def _derangement(ordinals: Sequence[int], seed: int) -> list[int]:
    """The ordinals in a seeded order in which none keeps its place (uniform over such orders)."""
    if len(ordinals) < 2:
        raise DataError("permuted: needs at least two personas to swap ordinals")
    rng = random.Random(f"derangement:{seed}")
    dealt = list(ordinals)
    while any(a == b for a, b in zip(ordinals, dealt, strict=True)):
        rng.shuffle(dealt)
    return dealt
