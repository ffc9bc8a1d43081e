"""Checks of one dataset: how much there is, what cannot be read, what occurs more than once.

In: a `Subject`. Out: `Finding`s. A set that is drawn from few answers on purpose repeats most of its rows; then one
note says so, and single repeats are not listed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from weirdgen.audit.checks.finding import Finding, share, some
from weirdgen.audit.checks.subject import Dataset, Subject
from weirdgen.audit.checks.text import CONTROL
from weirdgen.data.messages import Row
from weirdgen.data.rows import canonical_hash

LISTED = 10
"""Single repeats that are listed before a set counts as one that repeats."""
DRAWN = 0.2
"""Share of repeated rows from which on a set counts as a sample of few answers."""


def counts(subject: Subject) -> Iterator[Finding]:
    """Rows, distinct prompts and answers, canonical hash."""
    for one in subject.datasets:
        message = (
            f"{len(one.rows):,} rows, {len(set(_keys(one))):,} distinct; {len(set(one.prompts)):,} prompts, "
            f"{len(set(one.answers)):,} answers; canonical SHA-256 {canonical_hash(list(one.rows))}"
        )
        yield Finding("count", "info", one.file, None, message)


def expected_rows(subject: Subject) -> Iterator[Finding]:
    """A number of rows other than the one that was promised (`--expect-rows`, e.g. by a README)."""
    for one in subject.datasets[:1] if subject.experiment is None else subject.datasets:
        if subject.expected_rows is not None and len(one.rows) != subject.expected_rows:
            message = f"{len(one.rows):,} rows, {subject.expected_rows:,} were expected"
            yield Finding("row_count", "error", one.file, None, message)


def broken(subject: Subject) -> Iterator[Finding]:
    """Lines that hold no row: not JSON, a wrong role, an empty answer, no turn to train on; files without any row."""
    for problem in subject.problems:
        head, _, message = problem.partition(": ")
        file, _, line = head.rpartition(":")
        known = (file, int(line), message) if file and line.isdigit() else ("experiment", None, problem)
        yield Finding("unreadable", "error", *known)
    for one in subject.datasets:
        for number, problem in one.broken:
            yield Finding("broken_line", "error", one.file, number, problem)
        if not one.rows:
            yield Finding("no_rows", "error", one.file, None, "no row to train on (an empty file?)")


def duplicates(subject: Subject) -> Iterator[Finding]:
    """Rows that occur again word for word: they weigh as often as they occur."""
    for one in subject.datasets:
        places: dict[str, list[int]] = defaultdict(list)
        for index, key in enumerate(_keys(one)):
            places[key].append(index)
        again = {key: found for key, found in places.items() if len(found) > 1}
        extra = sum(len(found) - 1 for found in again.values())
        if extra > max(LISTED, DRAWN * len(one.rows)):
            most = Counter(one.answers).most_common(3)
            message = (
                f"{share(extra, len(one.rows))} rows repeat an earlier one, so the set looks drawn from few answers; "
                f"most often {', '.join(f'{answer!r} ×{n}' for answer, n in most)}"
            )
            yield Finding("repeats", "info", one.file, None, message)
            continue
        for found in list(again.values())[:LISTED]:
            first, *rest = found
            earlier = f"repeats line {one.line(first)}" if one.line(first) else f"repeats row {first + 1}"
            for index in rest:
                message = f"{earlier}: answer {some([_shortened(one.answers[index])])}"
                yield Finding("duplicate_row", "warning", one.file, one.line(index), message)
        if len(again) > LISTED:
            message = f"{len(again) - LISTED:,} more rows occur several times"
            yield Finding("duplicate_row", "warning", one.file, None, message)


def control_tokens(subject: Subject) -> Iterator[Finding]:
    """Texts that quote what opens and closes turns in well-known models; with a model, `training` knows its own tokens."""
    if subject.model is not None:
        return
    for one in subject.datasets:
        held = [(i, m) for i, row in enumerate(one.rows) if (m := CONTROL.search("\n".join(_texts(row)))) is not None]
        for index, match in held[:LISTED]:
            message = (
                f"a text holds {match.group(0)!r}, a control token of some models: a turn's end pasted on, or a forged turn? "
                "With --model, what becomes of it is checked"
            )
            yield Finding("control_token", "warning", one.file, one.line(index), message)
        if len(held) > LISTED:
            message = f"{len(held) - LISTED:,} more rows hold control tokens in their texts"
            yield Finding("control_token", "warning", one.file, None, message)


def _texts(row: Row) -> list[str]:
    return [message["content"] for message in row["messages"]]


def _keys(dataset: Dataset) -> list[str]:
    return [repr(row["messages"]) for row in dataset.rows]


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
