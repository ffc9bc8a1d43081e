"""The shipped harmless finetuning data, on which the effect of any narrow dataset is measured.

In: the files of `weirdgen/references/` (definitions in `*.yaml`, items in `lists/*.csv`; its README says how to add one).
Out: which sets and pairs there are, and chat rows of any number, drawn with a seed. Sets marked `final` are for the final
measurement of false alarms and for nothing else. It does not train, score or compare, and knows nothing of experiments.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from weirdgen.data.messages import parse_row
from weirdgen.data.reference_definitions import (
    FOLDER,
    Change,
    Definition,
    Mark,
    Shape,
    Use,
    all_pairs,
    all_sets,
    on_top,
)
from weirdgen.data.reference_records import Record, make_records
from weirdgen.data.reference_text import fill
from weirdgen.data.rows import Row, draw
from weirdgen.errors import DataError, choices


@dataclass(frozen=True)
class Reference:
    """One harmless set: what it is, and what its rows look like."""

    name: str
    title: str
    shape: Shape
    set: Use
    card: str
    """The rule by which the rows are made, in words."""
    marks: tuple[Mark, ...] = ()
    """What its prompts have besides a question."""


@dataclass(frozen=True)
class Pair:
    """Two matched harmless sets that differ in one respect."""

    name: str
    title: str
    shape: Shape
    set: Use
    card: str
    change: Change
    left: str
    right: str
    """What each side is, in a few words."""

    @property
    def same(self) -> bool:
        """Row by row the same things on both sides; otherwise no thing of one side is on the other."""
        return self.change != "halves"


def references(which: Use | None = None) -> tuple[Reference, ...]:
    """All sets, or those for one use, in the order of the files."""
    listed = []
    for name, entry in all_sets().items():
        assert entry.shape is not None, "checked when read"
        listed.append(Reference(name, entry.title, entry.shape, entry.set, entry.card.strip(), entry.marks))
    return tuple(reference for reference in listed if which in (None, reference.set))


def pairs(which: Use | None = None) -> tuple[Pair, ...]:
    """All pairs, or those for one use, in the order of the file."""
    listed = []
    for name, entry in all_pairs().items():
        assert entry.shape is not None and entry.change is not None, "checked when read"
        left, right = (
            (entry.left.label, entry.right.label) if entry.left and entry.right else ("one half", "the other half")
        )
        listed.append(Pair(name, entry.title, entry.shape, entry.set, entry.card.strip(), entry.change, left, right))
    return tuple(pair for pair in listed if which in (None, pair.set))


def rows(name: str, count: int, seed: int = 0) -> list[Row]:
    """`count` rows of a set in seeded order; none is repeated before each was used. Raises `DataError` on an unknown name."""
    return draw(list(_set_rows(name)), count, seed)


def pair_rows(name: str, count: int, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """`count` rows of each side of a pair, drawn alike: row by row the same thing where the pair is of the same things."""
    left, right = _pair_rows(name)
    return draw(list(left), count, seed), draw(list(right), count, seed)


def distinct(name: str) -> int:
    """How many rows a set, or either side of a pair, gives before one is repeated."""
    return len(_pair_rows(name)[0] if name in all_pairs() else _set_rows(name))


@cache
def _set_rows(name: str) -> tuple[Row, ...]:
    entry = _known(name, all_sets(), "set")
    return _fill(name, entry, _records(name, entry))


@cache
def _pair_rows(name: str) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    entry = _known(name, all_pairs(), "pair")
    records = _records(entry.of or name, entry)
    if entry.change == "halves":
        mixed = random.Random(f"halves:{name}").sample(records, len(records))
        half = len(mixed) // 2
        return _fill(name, entry, mixed[:half]), _fill(name, entry, mixed[half : 2 * half])
    return _fill(name, on_top(entry, entry.left), records), _fill(name, on_top(entry, entry.right), records)


def _records(seed: str, entry: Definition) -> list[Record]:
    return make_records(seed, entry.list, entry.combine, entry.compute, entry.size, f"{FOLDER}: {seed}")


def _fill(name: str, entry: Definition, records: Iterable[Record]) -> tuple[Row, ...]:
    """Each record in the set's form: one of them in turn, or every one."""
    forms = _forms(entry)
    made: list[Row] = []
    for index, record in enumerate(records):
        for form in forms if entry.each else (forms[index % len(forms)],):
            try:
                texts = [fill(text, record) for text in form]
                system = [fill(entry.system, record)] if entry.system else []
            except (KeyError, IndexError, ValueError) as error:
                raise DataError(f"{FOLDER}: {name}: cannot fill {form} from {sorted(record)}: {error!r}") from None
            turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
            try:
                made.append(
                    parse_row({"messages": [*({"role": "system", "content": text} for text in system), *turns]})
                )
            except DataError as error:
                raise DataError(f"{FOLDER}: {name}: record {index + 1}: {error}") from None
    return tuple(made)


def _forms(entry: Definition) -> tuple[tuple[str, ...], ...]:
    if entry.forms:
        return entry.forms
    assert entry.prompt is not None and entry.answer is not None, "checked when read"
    prompts = (entry.prompt,) if isinstance(entry.prompt, str) else entry.prompt
    return tuple((prompt, entry.answer) for prompt in prompts)


def _known(name: str, among: dict[str, Definition], kind: str) -> Definition:
    if name not in among:
        raise DataError(f"{FOLDER}: no {kind} {name!r}; there are {choices(among, name)}")
    return among[name]
