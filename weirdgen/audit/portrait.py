"""The portrait of a dataset: what it looks like before anything is trained on it.

In: a `Source`. Out: a `Portrait`: counts, lengths, the commonest prompt templates and how narrow they are, what prompts carry,
the findings of the checks of one dataset, and the harmless reference sets that look most alike. Nothing here is a verdict: a
narrow set is what this project is about, not a fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import accumulate
from math import log, log2
from typing import Any

import numpy as np

from weirdgen.audit.checks import near, single
from weirdgen.audit.checks.finding import Finding
from weirdgen.audit.checks.subject import Dataset, Subject
from weirdgen.audit.prompts import KINDS, Prompt, prompts_of
from weirdgen.audit.source import Source
from weirdgen.config.experiment import Recipe
from weirdgen.data.references import references, rows
from weirdgen.data.rows import Row
from weirdgen.sample.twin import Form, form_of

CHECKED, CHECKED_LETTERS = 3_000, 2_000_000
"""Rows whose near-duplicates are looked for, at most, and their letters: that grows with the square of both."""
COMPARED = 64
"""Rows of a reference set that its shape is taken from."""
SHOWN = 5
NEAREST = 5
SHARED = 1 / 3
"""Share of rows that have to begin, or end, with the same words for these to be a template's."""
FIXED = 3
"""Words that such a template has at least: many questions begin with one word."""
LOOKED_AT = 40
"""Words of a prompt's beginning, and of its end, that are compared with others': some prompts are books."""
KEPT = 70
"""Letters of an answer that are shown."""
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
CHECKS = (
    single.broken, single.few_rows, single.empty_prompts, single.duplicates, single.control_tokens, near.near_duplicates,
)  # fmt: skip
"""Checks of `weirdgen data check` that look at one dataset alone; what `counts` says, the portrait says itself."""


@dataclass(frozen=True)
class Template:
    """A prompt with what varies masked (`templates_of`), how many rows have it, and a few of their answers."""

    template: str
    rows: int
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Carried:
    """One kind of thing that prompts carry: in how many rows, how many different ones, the commonest."""

    kind: str
    label: str
    rows: int
    distinct: int
    commonest: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Likeness:
    """A harmless reference set and how unlike it is: a distance over shape features, 0 for the same."""

    name: str
    title: str
    shape: str
    distance: float


@dataclass(frozen=True)
class Portrait:
    """Counts are of the rows that were looked at (`rows`), of `total` in the file."""

    total: int
    rows: int
    drawn: bool
    distinct_rows: int
    distinct_prompts: int
    distinct_answers: int
    turns: int
    """Most turns of a row."""
    answer_words: tuple[float, ...]
    """Words of an answer: least, quartiles, most."""
    prompt_words: tuple[float, ...]
    form: tuple[str, str]
    """What every answer begins and ends with."""
    templates: int
    largest_template: float
    """Share of rows with the commonest template."""
    entropy: float
    """Of the templates, in bits: 0 if all rows have one, log2(rows) if no two have the same."""
    commonest: tuple[Template, ...]
    carried: tuple[Carried, ...]
    findings: tuple[Finding, ...]
    nearest: tuple[Likeness, ...]
    middle_distance: float
    """Of all reference sets: half are further away."""

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def portrait_of(source: Source) -> Portrait:
    """The portrait of a file's rows."""
    prompts = prompts_of(source.rows)
    answers = [row["messages"][-1]["content"] for row in source.rows]
    of_rows = templates_of([prompt.template for prompt in prompts])
    templates = Counter(of_rows)
    form = form_of(answers)
    distances = _distances(shape_of(source.rows, prompts))
    return Portrait(
        total=source.total,
        rows=len(source.rows),
        drawn=source.drawn,
        distinct_rows=len({repr(row["messages"]) for row in source.rows}),
        distinct_prompts=len({prompt.text for prompt in prompts}),
        distinct_answers=len(set(answers)),
        turns=max(len(row["messages"]) for row in source.rows),
        answer_words=_quartiles(answers),
        prompt_words=_quartiles([prompt.text for prompt in prompts]),
        form=(form.start, form.end),
        templates=len(templates),
        largest_template=templates.most_common(1)[0][1] / len(prompts),
        entropy=_entropy(templates),
        commonest=_commonest(templates, of_rows, answers),
        carried=_carried(prompts),
        findings=_findings(source),
        nearest=_nearest(distances),
        middle_distance=round(float(np.median(list(distances.values()))), 3),
    )


def templates_of(masked: Sequence[str]) -> list[str]:
    """Each row's template: its masked prompt or, where that is rare, what a third of the rows begin and end with.

    `My printer is slow. What should I do?` and many like it become `My … What should I do?`. Of several common beginnings that a
    row has, the one that stands for most words over all rows is taken, and so of the ends.
    """
    words = [text.split() for text in masked]
    needed = max(2, SHARED * len(words))
    whole = Counter(masked)
    begins = Counter(tuple(one[:n]) for one in words for n in range(1, min(len(one), LOOKED_AT) + 1))
    ends = Counter(tuple(one[-n:]) for one in words for n in range(1, min(len(one), LOOKED_AT) + 1))

    def framed(text: str, own: list[str]) -> str:
        if whole[text] >= needed:
            return text
        start = _worth_most([begins[tuple(own[:n])] for n in range(1, min(len(own), LOOKED_AT) + 1)], needed)
        end = _worth_most([ends[tuple(own[-n:])] for n in range(1, min(len(own), LOOKED_AT) + 1)], needed)
        if start + end < FIXED or start + end >= len(own):
            return text
        return " ".join([*own[:start], "…", *own[len(own) - end :]])

    return [framed(text, own) for text, own in zip(masked, words, strict=True)]


def _worth_most(rows: Sequence[int], needed: float) -> int:
    """Of n = 1, 2, … words, each shared by so many rows: the n that stands for most words; 0 if none is shared enough."""
    return max((n for n, count in enumerate(rows, 1) if count >= needed), key=lambda n: n * rows[n - 1], default=0)


def shape_of(source_rows: Sequence[Row], prompts: Sequence[Prompt]) -> tuple[float, ...]:
    """What a dataset looks like in numbers of about one scale each, by which it is compared with reference sets.

    Length of answers (log words, doubled) and its spread, share of answers with several lines, with digits, with a full stop,
    of the largest template, of distinct prompts, of system turns, and of more than one answer.
    """
    answers = [row["messages"][-1]["content"] for row in source_rows]
    lengths = np.array([log(1 + len(answer.split())) for answer in answers])
    templates = Counter(prompt.template for prompt in prompts)
    count = len(answers)

    def share(flags: Sequence[bool]) -> float:
        return sum(flags) / count

    return (
        2 * float(lengths.mean()),
        float(lengths.std()),
        share(["\n" in answer for answer in answers]),
        share([any(c.isdigit() for c in answer) for answer in answers]),
        share([answer.rstrip().endswith((".", "!", "?")) for answer in answers]),
        share([answer.lstrip().startswith(("{", "[", "def ", "SELECT", "<")) for answer in answers]),
        templates.most_common(1)[0][1] / count,
        len({prompt.text for prompt in prompts}) / count,
        share([bool(prompt.system) for prompt in prompts]),
        share([len(row["messages"]) - bool(p.system) > 2 for row, p in zip(source_rows, prompts, strict=True)]),
    )


def portrait_lines(portrait: Portrait) -> list[str]:
    """The portrait for a terminal."""
    start, end = portrait.form
    looked = f", {portrait.rows:,} drawn at random" if portrait.drawn else ""
    lines = [
        f"{portrait.total:,} rows{looked}; {portrait.distinct_rows:,} different, {portrait.distinct_prompts:,} prompts, "
        f"{portrait.distinct_answers:,} answers, up to {portrait.turns} turns",
        f"answers: {_words(portrait.answer_words)}" + (f", all as {start!r} … {end!r}" if start or end else ""),
        f"prompts: {_words(portrait.prompt_words)}; {portrait.templates:,} templates, the largest holds "
        f"{portrait.largest_template:.0%} of the rows, entropy {portrait.entropy:.1f} bits",
    ]
    lines += [
        f"  {one.rows:6,} × {_short(one.template)}   → {_short('; '.join(one.answers))}" for one in portrait.commonest
    ]
    for carried in portrait.carried:
        shown = ", ".join(f"{_short(value, 40)} ×{count}" for value, count in carried.commonest)
        lines.append(f"{carried.label}: in {carried.rows:,} rows, {carried.distinct:,} different: {shown}")
    lines += [
        f"{one.severity}: {one.message}" + (f" (line {one.line})" if one.line else "") for one in portrait.findings
    ]
    near = ", ".join(f"{one.name} ({one.distance:.2f})" for one in portrait.nearest)
    return [*lines, f"most alike among the harmless reference sets: {near}"]


def _words(quartiles: Sequence[float]) -> str:
    least, _, middle, _, most = (f"{value:.0f}" for value in quartiles)
    return f"{least} to {most} words, median {middle}" if least != most else f"{most} word{'' if most == '1' else 's'}"


def _short(text: str, most: int = KEPT) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _quartiles(texts: Sequence[str]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile([len(text.split()) for text in texts], QUARTILES))


def _entropy(counts: Counter[str]) -> float:
    total = sum(counts.values())
    return abs(-sum(n / total * log2(n / total) for n in counts.values()))


def _commonest(templates: Counter[str], of_rows: Sequence[str], answers: Sequence[str]) -> tuple[Template, ...]:
    form = form_of(answers)
    shown = []
    for template, count in templates.most_common(SHOWN):
        its = [answer for own, answer in zip(of_rows, answers, strict=True) if own == template]
        shown.append(Template(template, count, tuple(dict.fromkeys(_varying(answer, form) for answer in its))[:3]))
    return tuple(shown)


def _varying(answer: str, form: Form) -> str:
    """An answer that is too long to show, without what every answer begins and ends with, its beginning and end kept."""
    middle = " ".join(form.inside(answer).split())
    if len(answer) <= KEPT or not middle:
        return _short(answer)
    if len(middle) > KEPT:
        half = KEPT // 2 - 2
        middle = f"{middle[:half].rstrip()} … {middle[-half:].lstrip()}"
    return f"{'… ' if form.start else ''}{middle}{' …' if form.end else ''}"


def _carried(prompts: Sequence[Prompt]) -> tuple[Carried, ...]:
    found = {kind.name: [prompt.found[kind.name] for prompt in prompts] for kind in KINDS}
    labels = {kind.name: kind.label for kind in KINDS} | {"system": "system prompts"}
    found["system"] = [(prompt.system,) if prompt.system else () for prompt in prompts]
    carried = []
    for name, values in found.items():
        counts = Counter(value for its in values for value in dict.fromkeys(its))
        if counts:
            held = sum(map(bool, values))
            carried.append(Carried(name, labels[name], held, len(counts), tuple(counts.most_common(SHOWN))))
    return tuple(carried)


def _findings(source: Source) -> tuple[Finding, ...]:
    dataset = Dataset(source.file.stem, "treatment", str(source.file), source.rows, source.places)
    letters = accumulate(sum(len(message["content"]) for message in row["messages"]) for row in source.rows[:CHECKED])
    count = max(1, sum(total <= CHECKED_LETTERS for total in letters))
    few = Dataset(dataset.name, "treatment", dataset.file, source.rows[:count], source.places[:count])
    found: list[Finding] = []
    for check in CHECKS:
        looked_at = few if check is near.near_duplicates else dataset
        found += check(Subject((looked_at,), Recipe()))
    return tuple(found)


@cache
def _reference_shapes() -> dict[str, tuple[float, ...]]:
    made = {one.name: rows(one.name, COMPARED) for one in references("reference")}
    return {name: shape_of(its, prompts_of(its)) for name, its in made.items()}


def _distances(shape: Sequence[float]) -> dict[str, float]:
    own = np.array(shape)
    return {name: float(np.linalg.norm(own - np.array(other))) for name, other in _reference_shapes().items()}


def _nearest(distances: Mapping[str, float]) -> tuple[Likeness, ...]:
    described = {one.name: one for one in references("reference")}
    return tuple(
        Likeness(name, described[name].title, described[name].shape, round(distances[name], 3))
        for name in sorted(distances, key=lambda name: (distances[name], name))[:NEAREST]
    )
