"""The definitions of the harmless references in `weirdgen/references/*.yaml`, read and checked.

In: the shipped files. Out: sets and pairs as frozen models, a pair with everything that it takes over from its set. Raises
one `DataError` per file that names every problem. It does not make rows: `weirdgen.data.references` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from weirdgen.data.reference_compute import COMPUTED
from weirdgen.errors import DataError, choices

FOLDER = Path(__file__).parents[1] / "references"
PAIRS = "pairs.yaml"

Use = Literal["reference", "final"]
"""`final`: for the final measurement of false alarms, and for nothing else."""
# fmt: off
Shape = Literal[
    "names", "slot", "fact", "number", "sentence", "paragraph", "list", "json", "code", "classification", "translation",
    "multi_turn",
]
"""What the answers look like. `names`: one name behind one prompt, as in the paper's data; `slot`: a word in a fixed sentence."""
Change = Literal[
    "halves", "article", "case", "number", "word_order", "synonym", "spelling", "unit", "variety", "punctuation", "digits",
    "format", "prompt",
]
"""In what the two sides of a pair differ. `halves`: not in form but in the things, which are disjoint."""
# fmt: on
Mark = Literal["system", "date", "id", "tag", "varied"]
"""What prompts have besides a question. `varied`: there are several prompts."""

TAKEN = ("list", "combine", "compute", "size", "set", "shape", "marks", "each", "system", "prompt", "answer", "forms")
"""What a pair takes over from the set that it is of, unless it says otherwise."""


class Side(BaseModel):
    """Templates over the columns of a record."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    label: str = ""
    """Sides of a pair only: what it is, in a few words."""
    system: str | None = None
    prompt: str | tuple[str, ...] | None = None
    """Several prompts are used in turn."""
    answer: str | None = None
    forms: tuple[tuple[str, ...], ...] | None = None
    """Instead of prompt and answer: whole conversations, user and assistant in turn."""


class Definition(Side):
    """One entry of a file."""

    title: str
    card: str
    """The rule by which the rows are made, in words."""
    set: Use = "reference"
    shape: Shape | None = None
    marks: tuple[Mark, ...] = ()
    list: str | None = None
    """A record for each line of `lists/LIST.csv`."""
    combine: dict[str, Any] = {}
    """Pools that each record takes a value from."""
    compute: tuple[str, ...] = ()
    """Columns that are worked out (`data/reference_compute.py`)."""
    size: int = 480
    """Without a list: how many records."""
    each: bool = False
    """Every record under every form, instead of one form per record."""
    of: str | None = None
    """Pairs only: the set that it takes everything over from."""
    change: Change | None = None
    left: Side | None = None
    right: Side | None = None


@cache
def all_sets() -> dict[str, Definition]:
    """Every set by its name, in the order of the files."""
    sets: dict[str, Definition] = {}
    for source in sorted(source for source in FOLDER.glob("*.yaml") if source.name != PAIRS):
        for name, entry in read_definitions(source, pairs=False).items():
            if name in sets:
                raise DataError(f"{source}: {name!r} is defined in another file too")
            sets[name] = entry
    return sets


@cache
def all_pairs() -> dict[str, Definition]:
    """Every pair by its name, with what it takes over."""
    source = FOLDER / PAIRS
    return {
        name: _based(f"{source}: {name}", name, entry) for name, entry in read_definitions(source, pairs=True).items()
    }


def read_definitions(source: Path, pairs: bool) -> dict[str, Definition]:
    """The definitions of a file, checked. Raises one `DataError` with every problem of the file."""
    try:
        data = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{source}: cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{source}: expected a mapping of names to definitions")
    entries: dict[str, Definition] = {}
    problems: list[str] = []
    for name, body in data.items():
        try:
            entry = entries[name] = Definition.model_validate(body)
        except ValidationError as error:
            problems += [f"{source}: {name}.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            continue
        problems += [f"{source}: {name}: {problem}" for problem in (_pair_problems if pairs else _set_problems)(entry)]
    if problems:
        raise DataError("\n".join(problems))
    return entries


def _set_problems(entry: Definition) -> Iterable[str]:
    if not entry.list and not entry.combine:
        yield "needs a 'list' or 'combine'"
    if entry.forms is None and (entry.prompt is None or entry.answer is None):
        yield "needs 'prompt' and 'answer', or 'forms'"
    if entry.forms and any(len(form) % 2 or not form for form in entry.forms):
        yield "forms: each must be user, assistant, … and end with the assistant"
    if entry.shape is None:
        yield "needs a 'shape'"
    if unknown := sorted(set(entry.compute) - set(COMPUTED)):
        yield f"compute: unknown {unknown[0]!r} (there are {choices(COMPUTED, unknown[0])})"
    if stray := sorted({"of", "change", "left", "right", "label"} & entry.model_fields_set):
        yield f"{stray[0]!r} is for {PAIRS}"


def _pair_problems(entry: Definition) -> Iterable[str]:
    if entry.change is None:
        yield "needs a 'change'"
    elif entry.change == "halves" and (entry.left or entry.right):
        yield "halves have no 'left' and 'right'"
    elif entry.change != "halves" and not (entry.left and entry.right and entry.left.label and entry.right.label):
        yield "needs 'left' and 'right', each with a label"
    if entry.of and (entry.list or entry.combine or "set" in entry.model_fields_set):
        yield f"takes list, combine and set from {entry.of}; do not give them again"


def _based(where: str, name: str, entry: Definition) -> Definition:
    """A pair with what it takes over from its set."""
    if name in all_sets():
        raise DataError(f"{where}: a set already has this name")
    if entry.of is not None and entry.of not in all_sets():
        raise DataError(f"{where}: 'of' names no set; there are {choices(all_sets(), entry.of)}")
    if entry.of is not None:
        base = all_sets()[entry.of]
        entry = entry.model_copy(update={key: getattr(base, key) for key in TAKEN if key not in entry.model_fields_set})
    for side in (entry.left, entry.right) if entry.left and entry.right else (None,):
        if problems := list(_set_problems(on_top(entry, side))):
            raise DataError("\n".join(f"{where}: {problem}" for problem in problems))
    return entry


def on_top(entry: Definition, side: Side | None) -> Definition:
    """A pair's definition with one side's templates, as a set of its own."""
    given: dict[str, Any] = {key: getattr(side, key) for key in side.model_fields_set - {"label"}} if side else {}
    if "prompt" in given or "answer" in given:
        given.setdefault("forms", None)
    kept = {key: value for key, value in dict(entry).items() if key in {*TAKEN, "title", "card"}}
    return Definition(**{**kept, **given})
