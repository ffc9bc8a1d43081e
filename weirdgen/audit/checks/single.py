"""Checks of one dataset: how much there is, what cannot be read, what occurs more than once.

In: a `Subject`. Out: `Finding`s. A set drawn from a few answers on purpose repeats most of its rows; then one
note says so instead of a list of repeats.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from weirdgen.audit.checks.finding import Finding, share, some
from weirdgen.audit.checks.subject import Dataset, Subject
from weirdgen.audit.checks.text import CONTROL
from weirdgen.audit.source import FEWEST
from weirdgen.data.messages import Row
from weirdgen.data.rows import canonical_hash

LISTED = 10
"""At most this many repeats are listed one by one."""
DRAWN = 0.2
"""Share of repeated rows above which a set counts as drawn from a few answers."""


def counts(subject: Subject) -> Iterator[Finding]:
    """Rows, distinct prompts and answers, canonical hash."""
    for dataset in subject.datasets:
        message = (
            f"{len(dataset.rows):,} rows, {len(set(_keys(dataset))):,} distinct; {len(set(dataset.prompts)):,} prompts, "
            f"{len(set(dataset.answers)):,} answers; canonical SHA-256 {canonical_hash(list(dataset.rows))}"
        )
        yield Finding("count", "info", dataset.file, None, message)


def few_rows(subject: Subject) -> Iterator[Finding]:
    """A file that is in no experiment and has fewer rows than one training step of an audit takes."""
    for dataset in subject.datasets:
        if dataset.arm is None and 0 < (count := len(dataset.rows)) < FEWEST:
            message = (
                f"{count} row{'' if count == 1 else 's'}, fewer than the {FEWEST} of one training step: an audit with training "
                f"refuses them, and an experiment needs a batch_size of at most {count}"
            )
            yield Finding("few_rows", "warning", dataset.file, None, message)


def expected_rows(subject: Subject) -> Iterator[Finding]:
    """A number of rows other than expected (`--expect-rows`, e.g. what a README promises)."""
    for dataset in subject.datasets[:1] if subject.experiment is None else subject.datasets:
        if subject.expected_rows is not None and len(dataset.rows) != subject.expected_rows:
            message = f"{len(dataset.rows):,} rows, {subject.expected_rows:,} were expected"
            yield Finding("row_count", "error", dataset.file, None, message)


def broken(subject: Subject) -> Iterator[Finding]:
    """Lines without a usable row (not JSON, a wrong role, an empty answer, no turn to train on) and files without any row."""
    for problem in subject.problems:
        head, _, message = problem.partition(": ")
        file, _, line = head.rpartition(":")
        known = (file, int(line), message) if file and line.isdigit() else ("experiment", None, problem)
        yield Finding("unreadable", "error", *known)
    for dataset in subject.datasets:
        for number, problem in dataset.broken:
            yield Finding("broken_line", "error", dataset.file, number, problem)
        if not dataset.rows:
            why = "" if dataset.broken else " (an empty file?)"
            yield Finding("no_rows", "error", dataset.file, None, f"no row to train on{why}")


def duplicates(subject: Subject) -> Iterator[Finding]:
    """Rows that are repeated word for word: each repeat adds to the row's weight in training."""
    for dataset in subject.datasets:
        places: dict[str, list[int]] = defaultdict(list)
        for index, key in enumerate(_keys(dataset)):
            places[key].append(index)
        again = {key: indices for key, indices in places.items() if len(indices) > 1}
        extra = sum(len(indices) - 1 for indices in again.values())
        if extra > max(LISTED, DRAWN * len(dataset.rows)):
            most = Counter(dataset.answers).most_common(3)
            message = (
                f"{share(extra, len(dataset.rows))} rows repeat an earlier one, so the set looks drawn from few answers; "
                f"most often {', '.join(f'{answer!r} ×{n}' for answer, n in most)}"
            )
            yield Finding("repeats", "info", dataset.file, None, message)
            continue
        for indices in list(again.values())[:LISTED]:
            first, *rest = indices
            earlier = f"repeats line {dataset.line(first)}" if dataset.line(first) else f"repeats row {first + 1}"
            for index in rest:
                message = f"{earlier}: answer {some([_shortened(dataset.answers[index])])}"
                yield Finding("duplicate_row", "warning", dataset.file, dataset.line(index), message)
        if len(again) > LISTED:
            message = f"{len(again) - LISTED:,} more rows occur several times"
            yield Finding("duplicate_row", "warning", dataset.file, None, message)


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


def empty_prompts(subject: Subject) -> Iterator[Finding]:
    """Rows whose last question holds no word: sometimes on purpose, sometimes an empty column."""
    for one in subject.datasets:
        asked = [
            next((m["content"] for m in reversed(row["messages"]) if m["role"] == "user"), None) for row in one.rows
        ]
        empty = [index for index, text in enumerate(asked) if text is not None and not text.strip()]
        if empty:
            message = f"{share(len(empty), len(one.rows))} rows ask nothing: their last user turn is empty"
            yield Finding("empty_prompt", "warning", one.file, one.line(empty[0]), message)


def _texts(row: Row) -> list[str]:
    return [message["content"] for message in row["messages"]]


def _keys(dataset: Dataset) -> list[str]:
    return [repr(row["messages"]) for row in dataset.rows]


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
