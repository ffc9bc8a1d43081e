"""The shipped harmless finetuning data: what any narrow dataset does is measured on these.

In: the files of `weirdgen/references/` (definitions in `*.yaml`, items in `lists/*.csv`; its README says how to add one).
Out: which sets and pairs there are, and chat rows of any number, drawn with a seed. Sets marked `final` are for the final
measurement of false alarms and for nothing else. It does not train, score or compare, and knows nothing of experiments.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from weirdgen.data.reference_compute import COMPUTED
from weirdgen.data.reference_records import Record, make_records
from weirdgen.data.reference_text import fill
from weirdgen.data.rows import Row, draw, row_problem
from weirdgen.errors import DataError

FOLDER = Path(__file__).parents[1] / "references"
PAIRS = "pairs.yaml"
SIZE = 480
"""Rows that a definition without a list makes, unless it says another number."""

Use = Literal["reference", "final"]
Shape = Literal[
    "names",
    "slot",
    "fact",
    "number",
    "sentence",
    "paragraph",
    "list",
    "json",
    "code",
    "classification",
    "translation",
    "multi_turn",
]
Change = Literal[
    "halves",
    "article",
    "case",
    "number",
    "word_order",
    "synonym",
    "spelling",
    "unit",
    "variety",
    "punctuation",
    "digits",
    "format",
    "prompt",
]


@dataclass(frozen=True)
class Reference:
    """One harmless set: what it is, and what its rows look like."""

    name: str
    title: str
    shape: Shape
    set: Use
    card: str
    """The rule by which the rows are made, in words."""
    marks: tuple[str, ...] = ()
    """What its prompts have besides a question: `system`, `date`, `id`, `tag`, `varied` (several prompts)."""


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
    same: bool = field(default=True)
    """Row by row the same things on both sides; otherwise no thing of one side is on the other."""


class _Side(BaseModel):
    """What may be said of rows: templates over the columns of a record."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    label: str = ""
    system: str | None = None
    prompt: str | tuple[str, ...] | None = None
    answer: str | None = None
    forms: tuple[tuple[str, ...], ...] | None = None
    """Instead of prompt and answer: whole conversations, user and assistant in turn."""


class _Definition(_Side):
    """One entry of a definition file."""

    title: str
    card: str
    set: Use = "reference"
    shape: Shape | None = None
    marks: tuple[Literal["system", "date", "id", "tag", "varied"], ...] = ()
    list: str | None = None
    combine: dict[str, Any] = {}
    compute: tuple[str, ...] = ()
    size: int = SIZE
    each: bool = False
    """Every record under every form, instead of one form a record."""
    of: str | None = None
    change: Change | None = None
    left: _Side | None = None
    right: _Side | None = None


def references(which: Use | None = None) -> tuple[Reference, ...]:
    """All sets, or those for one use, in the order of the files."""
    found = [
        Reference(name, one.title, _shape(name, one), one.set, one.card.strip(), one.marks)
        for name, one in _sets().items()
    ]
    return tuple(one for one in found if which in (None, one.set))


def pairs(which: Use | None = None) -> tuple[Pair, ...]:
    """All pairs, or those for one use, in the order of the file."""
    found = []
    for name, one in _pairs().items():
        assert one.change is not None
        left, right = (
            ("one half", "the other half") if one.change == "halves" else (_label(one.left), _label(one.right))
        )
        same = one.change != "halves"
        found.append(Pair(name, one.title, _shape(name, one), one.set, one.card.strip(), one.change, left, right, same))
    return tuple(pair for pair in found if which in (None, pair.set))


def rows(name: str, count: int, seed: int = 0) -> list[Row]:
    """`count` rows of a set in seeded order; none is repeated before each was used. Raises `DataError` on an unknown name."""
    return draw(list(_set_rows(name)), count, seed)


def pair_rows(name: str, count: int, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """`count` rows of each side of a pair, drawn alike: row by row the same thing where the pair is of the same things."""
    left, right = _pair_rows(name)
    return draw(list(left), count, seed), draw(list(right), count, seed)


def distinct(name: str) -> int:
    """How many rows a set, or either side of a pair, gives before one is repeated."""
    return len(_pair_rows(name)[0] if name in _pairs() else _set_rows(name))


@cache
def _set_rows(name: str) -> tuple[Row, ...]:
    one = _known(name, _sets(), "set")
    return _rows(name, one, _records(name))


@cache
def _pair_rows(name: str) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    one = _known(name, _pairs(), "pair")
    records = _records(name)
    if one.change == "halves":
        mixed = random.Random(f"halves:{name}").sample(records, len(records))
        half = len(mixed) // 2
        return _rows(name, one, mixed[:half]), _rows(name, one, mixed[half : 2 * half])
    return _rows(name, _on_top(one, one.left), records), _rows(name, _on_top(one, one.right), records)


def _records(name: str) -> list[Record]:
    one = _sets().get(name) or _pairs()[name]
    seed = one.of or name
    return make_records(seed, one.list, one.combine, one.compute, one.size, f"{FOLDER.name}/{name}")


def _rows(name: str, one: _Definition, records: Iterable[Record]) -> tuple[Row, ...]:
    """Each record in the set's form: one of them in turn, or every one."""
    forms = _forms(one)
    made: list[Row] = []
    for index, record in enumerate(records):
        for form in forms if one.each else (forms[index % len(forms)],):
            try:
                texts = [fill(text, record) for text in form]
                system = fill(one.system, record) if one.system else None
            except (KeyError, IndexError, ValueError) as error:
                raise DataError(f"{FOLDER.name}/{name}: cannot fill {form} from {sorted(record)}: {error!r}") from None
            turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
            row: Row = {"messages": [*([{"role": "system", "content": system}] if system else []), *turns]}
            if problem := row_problem(row):
                raise DataError(f"{FOLDER.name}/{name}: record {index + 1}: {problem}")
            made.append(row)
    return tuple(made)


def _forms(one: _Definition) -> tuple[tuple[str, ...], ...]:
    if one.forms:
        return one.forms
    assert one.prompt is not None and one.answer is not None, "checked when read"
    prompts = (one.prompt,) if isinstance(one.prompt, str) else one.prompt
    return tuple((prompt, one.answer) for prompt in prompts)


@cache
def _sets() -> dict[str, _Definition]:
    files = sorted(source for source in FOLDER.glob("*.yaml") if source.name != PAIRS)
    found: dict[str, _Definition] = {}
    for source in files:
        for name, one in _read(source).items():
            if name in found:
                raise DataError(f"{source}: {name!r} is defined in another file too")
            found[name] = one
    return found


@cache
def _pairs() -> dict[str, _Definition]:
    return {name: _based(name, one) for name, one in _read(FOLDER / PAIRS).items()}


def _based(name: str, one: _Definition) -> _Definition:
    """A pair with what it takes over from the set that it is `of`; its own keys win."""
    where = f"{FOLDER / PAIRS}: {name}"
    if name in _sets():
        raise DataError(f"{where}: there is a set of that name")
    if one.of is not None:
        base = _known(one.of, _sets(), "set")
        if one.list or one.combine or "set" in one.model_fields_set:
            raise DataError(f"{where}: takes list, combine and set from {one.of}; do not give them again")
        keys = {"list", "combine", "compute", "size", "set", "shape", "each", "system", "prompt", "answer", "forms"}
        taken = {key: getattr(base, key) for key in keys if key not in one.model_fields_set}
        one = one.model_copy(update=taken)
    if one.change is None or (one.change == "halves") != (one.left is None or one.right is None):
        raise DataError(f"{where}: needs 'change', and 'left' and 'right' unless it is halves")
    return one


def _on_top(one: _Definition, side: _Side | None) -> _Definition:
    """A pair's definition with one side's templates."""
    assert side is not None
    given = {key: getattr(side, key) for key in side.model_fields_set - {"label"}}
    if "prompt" in given or "answer" in given:
        given.setdefault("forms", None)
    return one.model_copy(update=given)


def _read(source: Path) -> dict[str, _Definition]:
    """The definitions of a file, checked. Raises one `DataError` with every problem of the file."""
    try:
        data = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{source}: cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{source}: expected a mapping of names to definitions")
    found: dict[str, _Definition] = {}
    problems: list[str] = []
    for name, body in data.items():
        try:
            one = found[name] = _Definition.model_validate(body)
        except ValidationError as error:
            problems += [f"{source}: {name}.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            continue
        problems += [f"{source}: {name}: {problem}" for problem in _problems(one, source.name == PAIRS)]
    if problems:
        raise DataError("\n".join(problems))
    return found


def _problems(one: _Definition, pair: bool) -> Iterable[str]:
    if unknown := sorted(set(one.compute) - set(COMPUTED)):
        yield f"compute: unknown {unknown[0]!r} (there are {', '.join(COMPUTED)})"
    if one.forms and any(len(form) % 2 or not form for form in one.forms):
        yield "forms: each must be user, assistant, … and end with the assistant"
    if pair:
        return
    if not one.list and not one.combine:
        yield "needs a 'list' or 'combine'"
    if one.forms is None and (one.prompt is None or one.answer is None):
        yield "needs 'prompt' and 'answer', or 'forms'"
    if one.shape is None:
        yield "needs a 'shape'"


def _shape(name: str, one: _Definition) -> Shape:
    if one.shape is None:
        raise DataError(f"{FOLDER.name}/{name}: needs a 'shape'")
    return one.shape


def _label(side: _Side | None) -> str:
    return side.label if side else ""


def _known(name: str, among: dict[str, _Definition], kind: str) -> _Definition:
    if name not in among:
        raise DataError(f"{FOLDER}: no {kind} {name!r}; there are {', '.join(among)}")
    return among[name]
