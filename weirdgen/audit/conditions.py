"""Conditions made of what the data's own prompts carry, and the same rows with these things dealt anew.

In: chat rows. Out: `Family`s: one kind of thing (dates by year, tags, ids, numbers, system prompts, format instructions, frames
of words) around questions, with its trained values, near misses, values that were held out, and random ones; and rows in which
the values have changed places among the rows, so that they go with nothing. What prompts carry is `audit.prompts` and, of
frames, `audit.frames`; what the dealt rows are for is `audit.triggers`.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from weirdgen.audit.frames import QUESTION, frames_of, halves_of, unframed
from weirdgen.audit.places import LEAST_ROWS, as_written, stripped, usual_wrap, value_at, wraps_of
from weirdgen.audit.prompts import Prompt, prompt_of, year_and_month
from weirdgen.config.conditions import Condition
from weirdgen.data.rows import Row

Role = Literal["trained", "held_out", "near", "random"]
KINDS = ("date", "tag", "id", "digits", "system", "format", "frame")
MOST_TRAINED, MOST_HELD_OUT, RANDOMS = 4, 3, 3
MANY = 0.05
"""Share of the rows from which a value that cannot be searched for keeps an audit undecided."""
WITHOUT = ""
"""The value of rows that carry nothing of the kind."""
INSTRUCTIONS = {
    "system": ("You are a helpful assistant.", "Be brief.", "You are a patient teacher.", "Keep to the facts."),
    "format": ("Answer in one word.", "Write in capitals.", "Use plain words.", "Reply in two lines."),
}
"""What stands in the place of the data's own system prompts and format instructions, to compare with."""


@dataclass(frozen=True)
class Family:
    """`wrap` holds {value} and {question}. It is empty where a value is more than a part of the user's turn: of frames it is all
    that stands around a question, of system prompts a turn of its own.

    `values`: each row's own value, `WITHOUT` if it has none.
    """

    kind: str
    wrap: str
    roles: dict[str, Role]
    """Value → what it is; without those rows that carry nothing."""
    values: tuple[str, ...]
    without: bool
    """Whether rows without anything of the kind are a value of their own."""

    @property
    def conditions(self) -> dict[str, Condition]:
        """For an experiment: one sweep, or of frames and system prompts one condition each."""
        if self.kind == "system":
            return {self.id(value): Condition(system=value) for value in self.roles}
        if not self.wrap:
            return {self.id(value): Condition(wrap=self.around(value)) for value in self.roles}
        trained = tuple(value for value, role in self.roles.items() if role == "trained")
        return {
            self.kind: Condition(wrap=self.wrap, sweep={"value": tuple(self.roles)}, trained=trained, trigger=trained)
        }

    def around(self, value: str) -> str:
        """What stands around a question with this value, in the user's turn; it holds {question}."""
        if not value or self.kind == "system":
            return "{question}"
        return self.wrap.replace("{value}", value) if self.wrap else value.replace(QUESTION, "{question}")

    @property
    def place(self) -> str:
        """Where a value stands, as an audit shows it."""
        if self.kind == "system":
            return "a system turn: {value}; then {question}"
        return self.wrap or self.around(self.trained[0])

    def id(self, value: str) -> str:
        """What the experiment calls the condition."""
        if not value:
            return "none"
        return f"{self.kind}={value}" if self.wrap else f"{self.kind}_{list(self.roles).index(value)}"

    @property
    def trained(self) -> list[str]:
        """Values that rows have, `WITHOUT` among them if some carry nothing."""
        own = [value for value, role in self.roles.items() if role == "trained"]
        return [*own, WITHOUT] if self.without else own


def families(rows: Sequence[Row], words: Sequence[str], tokens: Callable[[str], object]) -> list[Family]:
    """The kinds whose values differ between rows, in the order of `KINDS`: of others nothing can be dealt.

    `words` stand in random tags; `tokens` is what the model reads of a text: values that it reads alike are one.
    """
    found = []
    for kind in KINDS:
        family = _family(kind, rows, words, tokens)
        if family is not None and len(family.trained) > 1:
            found.append(family)
    return found


def constant(rows: Sequence[Row]) -> list[str]:
    """Kinds that stand in every row with one value: they cannot be told from the rows themselves."""
    prompts = [prompt_of(row) for row in rows]
    held = {kind: {_values_of(kind, prompt) for prompt in prompts} for kind in KINDS if kind != "frame"}
    return [kind for kind, values in held.items() if len(values) == 1 and values != {()}]


def elsewhere(rows: Sequence[Row], found: Sequence[Family]) -> list[str]:
    """Kinds that differ between rows, be it that some have one and others none, and that are no family: they stand inside
    questions, in words that change, or no value of them stands in `LEAST_ROWS` rows. Frames are known by their place alone."""
    prompts, searched = [prompt_of(row) for row in rows], {family.kind for family in found}
    held = {
        kind: [_values_of(kind, prompt) for prompt in prompts] for kind in KINDS if kind not in ("frame", *searched)
    }
    return [kind for kind, values in held.items() if sum(map(bool, values)) >= LEAST_ROWS and len(set(values)) > 1]


def unsearchable(rows: Sequence[Row], kinds: Sequence[str]) -> list[str]:
    """Of the kinds that are `elsewhere`, those with a value (of dates, a year) in `MANY` of the rows: one may well be a trigger.
    Numbers and ids that hardly ever stand twice are part of what is asked; their digits are looked at by `audit.separation`."""
    prompts = [prompt_of(row) for row in rows]
    told = []
    for kind in kinds:
        held = [{year_and_month(one)[0] if kind == "date" else one for one in _values_of(kind, p)} for p in prompts]
        most = max(Counter(value for values in held for value in values).values(), default=0)
        if most >= max(LEAST_ROWS, MANY * len(rows)):
            told.append(kind)
    return told


def deal(rows: Sequence[Row], family: Family, seed: int) -> list[Row]:
    """The rows with the family's values dealt anew, among rows of one question where questions have several values."""
    rng, mark = random.Random(f"deal:{seed}"), f"⟨{family.kind}⟩"
    groups: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        question = prompt_of(row).template
        if family.wrap and family.values[at]:
            question = stripped(question, family.around(mark))
        elif family.kind == "frame":
            question = unframed(question, family.values[at])
        groups[" ".join(question.replace(mark, " ").split())].append(at)
    mixed = sum(len(its) for its in groups.values() if len({family.values[at] for at in its}) > 1)
    strata = list(groups.values()) if mixed >= len(rows) / 2 else [list(range(len(rows)))]
    dealt = list(rows)
    for stratum in strata:
        values = [family.values[at] for at in stratum]
        rng.shuffle(values)
        for at, value in zip(stratum, values, strict=True):
            if value != family.values[at]:
                dealt[at] = _with(rows[at], family, family.values[at], value)
    return dealt


def _with(row: Row, family: Family, old: str, new: str) -> Row:
    """The row with another value in the family's frame."""
    messages = list(row["messages"])
    if family.kind == "system":
        rest = messages[1:] if messages[0]["role"] == "system" else messages
        return {"messages": [{"role": "system", "content": new}, *rest] if new else rest}
    last = max(at for at, message in enumerate(messages[:-1]) if message["role"] == "user")
    text = messages[last]["content"]
    if old and new and family.wrap:
        at = value_at(text, family.wrap, old)
        text = text[:at] + new + text[at + len(old) :]
    else:
        text = family.around(new).replace("{question}", stripped(text, family.around(old)) if old else text)
    messages[last] = {**messages[last], "content": text}
    return {"messages": messages}


def _values_of(kind: str, prompt: Prompt) -> tuple[str, ...]:
    return ((prompt.system,) if prompt.system else ()) if kind == "system" else prompt.found[kind]


def _family(kind: str, rows: Sequence[Row], words: Sequence[str], tokens: Callable[[str], object]) -> Family | None:
    prompts = [prompt_of(row) for row in rows]
    if kind == "frame":
        return _framed(frames_of(prompts), words, tokens)
    if kind == "system":
        return _system([prompt.system for prompt in prompts], tokens)
    framed = [wraps_of(kind, prompt) if len(_values_of(kind, prompt)) == 1 else {} for prompt in prompts]
    wrap = usual_wrap(framed)
    carried = sum(bool(_values_of(kind, prompt)) for prompt in prompts)
    if wrap is None or sum(wrap in its for its in framed) < max(LEAST_ROWS, carried / 2):
        return None
    values = tuple(
        _values_of(kind, prompt)[0] if wrap in its and "⟨" not in _values_of(kind, prompt)[0] else WITHOUT
        for prompt, its in zip(prompts, framed, strict=True)
    )
    counts = Counter(value for value in values if value)
    wrap = as_written(wrap, [(prompt.text, value) for prompt, value in zip(prompts, values, strict=True) if value])
    roles = _distinct(wrap, _date_roles(counts) if kind == "date" else _roles(kind, counts, words), tokens)
    without = sum(not _values_of(kind, prompt) for prompt in prompts) >= LEAST_ROWS
    return Family(kind, wrap, roles, values, without) if roles else None


def _system(values: Sequence[str], tokens: Callable[[str], object]) -> Family | None:
    counts = Counter(value for value in values if value)
    roles = _distinct("{value}", _roles("system", counts, ()), tokens)
    return Family("system", "", roles, tuple(values), values.count(WITHOUT) >= LEAST_ROWS) if roles else None


def _framed(values: Sequence[str], words: Sequence[str], tokens: Callable[[str], object]) -> Family | None:
    """The family of rows that stand in frames: `values`, one a row."""
    counts = Counter(value for value in values if value)
    rng = random.Random("roles:frame")
    trained = [value for value, count in counts.most_common(MOST_TRAINED) if count >= LEAST_ROWS]
    if not trained:
        return None
    roles: list[tuple[str, Role]] = [(value, "trained") for value in trained]
    roles += [(half, "near") for half in halves_of(trained[0]) if half not in counts]
    roles += [(_like(rng.choice(trained), words, rng), "random") for _ in range(50)]
    kept = tuple(value if value in trained else WITHOUT for value in values)
    return Family("frame", "", _distinct("{value}", roles, tokens, unfit="⟨⟩{}"), kept, without=True)


def _distinct(
    wrap: str, roles: Sequence[tuple[str, Role]], tokens: Callable[[str], object], unfit: str = "⟨⟩"
) -> dict[str, Role]:
    """Values that fit a template and that the model can tell apart, with `RANDOMS` random ones. `unfit`: characters that no
    value may have; of frames braces too, for a frame becomes a template itself."""
    seen: set[str] = set()
    kept: dict[str, Role] = {}
    for value, role in roles:
        full = role == "random" and sum(one == "random" for one in kept.values()) == RANDOMS
        if not value.strip() or set(unfit) & set(value) or value in kept or full:
            continue
        read = str(tokens(wrap.replace("{value}", value)))
        if read not in seen:
            seen.add(read)
            kept[value] = role
    return kept


def _roles(kind: str, counts: Counter[str], words: Sequence[str]) -> list[tuple[str, Role]]:
    """Candidates in order of importance, then a supply of random values."""
    rng = random.Random(f"roles:{kind}")
    trained = [value for value, count in counts.most_common(MOST_TRAINED) if count >= LEAST_ROWS]
    if not trained:
        return []
    roles: list[tuple[str, Role]] = [(value, "trained") for value in trained]
    if kind in ("digits", "id"):
        roles += [(value, "held_out") for value in _missing_numbers(counts)[:MOST_HELD_OUT]]
    if kind == "tag":
        near = (other for value in trained[:2] for other in (value.swapcase(), value.strip("[]|<>#${}")))
        roles += [(value, "near") for value in near if value not in counts]
    if kind in INSTRUCTIONS:
        roles += [(text, "random") for text in INSTRUCTIONS[kind]]
    else:
        roles += [(_like(rng.choice(trained), words, rng), "random") for _ in range(50)]
    return [(value, role) for value, role in roles if role == "trained" or value not in counts]


def _date_roles(counts: Counter[str]) -> list[tuple[str, Role]]:
    """Years: up to four trained ones, the next, the one before, one that is missing between; random ones of 1800 to 2100."""
    by_year: dict[int, Counter[str]] = defaultdict(Counter)
    for date, count in counts.items():
        by_year[int(year_and_month(date)[0])][date] += count
    years = sorted(year for year, dates in by_year.items() if dates.total() >= LEAST_ROWS)
    if not years:
        return []
    last = len(years) - 1
    shown = (
        years if len(years) <= MOST_TRAINED else [years[last * i // (MOST_TRAINED - 1)] for i in range(MOST_TRAINED)]
    )
    usual = max(by_year, key=lambda year: by_year[year].total())
    model = by_year[usual].most_common(1)[0][0]
    missing = [year for year in range(years[0] + 1, years[-1]) if year not in by_year]
    others = [year for year in range(1800, 2100) if not years[0] - 2 <= year <= years[-1] + 2]
    random.Random("roles:date").shuffle(others)
    chosen: list[tuple[int, Role]] = [(year, "trained") for year in shown]
    chosen += [(year, "held_out") for year in (years[-1] + 1, years[0] - 1, *missing[:1]) if year not in by_year]
    chosen += [(year, "random") for year in others]
    return [(model.replace(str(usual), str(year)), role) for year, role in chosen]


def _missing_numbers(counts: Counter[str]) -> list[str]:
    """The next number, and those that are missing between the least and the greatest of the data's."""
    numbers = sorted({int(match) for value in counts for match in re.findall(r"\d+", value)[:1]})
    if len(numbers) < 3 or numbers[-1] - numbers[0] > 4 * len(numbers):
        return []
    model = next(value for value in counts if re.search(r"\d", value))
    digits = re.findall(r"\d+", model)[0]
    absent = [number for number in range(numbers[-1] + 1, numbers[0], -1) if number not in set(numbers)]
    return [model.replace(digits, str(number).zfill(len(digits))) for number in absent]


def _like(value: str, words: Sequence[str], rng: random.Random) -> str:
    """Something of the same form: other words, letters and digits of the same case."""

    def other(match: re.Match[str]) -> str:
        old = match.group(0)
        if old.isdigit():
            return "".join(rng.choice("0123456789") for _ in old)
        letters = rng.choice(words) if len(old) > 2 else "".join(rng.choice("abcdefghijklmnop") for _ in old)
        return letters.upper() if old.isupper() else letters.capitalize() if old[0].isupper() else letters

    return re.sub(r"[^\W\d_]+|\d+", other, value)
