"""Near duplicates: rows of one dataset that differ in spelling only.

In: a `Subject`. Out: `Finding`s. Two rows are near if they hold the same numbers and either differ in case, spaces and
punctuation only; or their short answers are one letter apart under the same prompt; or both prompt and long answer are
almost equal. Short names are held to one letter because real names differ in two (Eastern, Western). Rows with other
numbers are never near: a date is content. rapidfuzz compares; only texts of similar length are compared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from weirdgen.audit.checks.finding import Finding, some
from weirdgen.audit.checks.subject import Dataset, Subject
from weirdgen.audit.checks.text import digits, plain, squash
from weirdgen.models.chat import common_prefix

LONG = 40
"""Answers of at least this many characters are compared as sentences."""
SHORTEST = 6
"""Shorter answers must match exactly: one letter is too large a part of them."""
ALIKE = 95
"""rapidfuzz `ratio` (0 to 100) at which two sentences count as the same."""
LISTED, BLOCK = 10, 256
LETTERS = 64
"""Buckets into which characters are counted, by code point."""


def near_duplicates(subject: Subject) -> Iterator[Finding]:
    """Pairs of rows that differ in spelling only, the first few of each file."""
    for dataset in subject.datasets:
        pairs = sorted(near_pairs(dataset))
        for first, second in pairs[:LISTED]:
            where = f"line {dataset.line(first)}" if dataset.line(first) else f"row {first + 1}"
            texts = [dataset.answers[first], dataset.answers[second]]
            if texts[0] == texts[1]:
                texts = [dataset.prompts[first], dataset.prompts[second]]
            message = f"nearly repeats {where}: {some([text[:80] for text in texts])}"
            yield Finding("near_duplicate", "warning", dataset.file, dataset.line(second), message)
        if len(pairs) > LISTED:
            message = f"{len(pairs) - LISTED:,} more pairs of rows differ in spelling only"
            yield Finding("near_duplicate", "warning", dataset.file, None, message)


def near_pairs(dataset: Dataset) -> Iterator[tuple[int, int]]:
    """Index pairs (earlier, later) of near rows; identical rows are left to `duplicates`."""
    prompts, answers = dataset.prompts, dataset.answers
    exact: dict[tuple[str, str], int] = {}
    spelled: dict[tuple[str, str], int] = {}
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        if exact.setdefault((prompt, answer), index) != index:
            continue
        first = spelled.setdefault((squash(prompt), squash(answer)), index)
        if first != index and digits(prompts[first]) == digits(prompt) and digits(answers[first]) == digits(answer):
            yield first, index
    kept = sorted(spelled.values())
    frame = common_prefix([plain(answers[i]) for i in kept]) if len(kept) > 2 else 0
    core = {i: plain(answers[i])[frame:] for i in kept}
    numbers = {i: digits(prompts[i] + " " + answers[i]) for i in kept}
    yield from _short(core, {i: (squash(prompts[i]), numbers[i]) for i in kept})
    yield from _long(core, {i: plain(prompts[i]) for i in kept}, numbers)


def _short(core: dict[int, str], same: dict[int, Any]) -> Iterator[tuple[int, int]]:
    groups: dict[Any, list[int]] = defaultdict(list)
    for index, text in core.items():
        if SHORTEST <= len(text) < LONG:
            groups[same[index]].append(index)
    for group in groups.values():
        for a, b in _one_edit([core[i] for i in group]):
            yield min(group[a], group[b]), max(group[a], group[b])


def _long(core: dict[int, str], prompts: dict[int, str], numbers: dict[int, Any]) -> Iterator[tuple[int, int]]:
    from rapidfuzz import fuzz

    groups: dict[Any, list[int]] = defaultdict(list)
    for index, text in core.items():
        if len(text) >= LONG:
            groups[numbers[index]].append(index)
    for group in groups.values():
        for a, b in _alike([core[i] for i in group]):
            if fuzz.ratio(prompts[group[a]], prompts[group[b]]) >= ALIKE:
                yield min(group[a], group[b]), max(group[a], group[b])


def _alike(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Index pairs of texts with a ratio of at least `ALIKE`.

    What must be inserted and deleted to make one text of another is at least the difference of their letter counts, so
    pairs whose letter counts differ too much are dropped without comparing them. That loses nothing and saves most of the work.
    """
    import numpy as np
    from rapidfuzz import fuzz
    from scipy.spatial.distance import cdist

    if len(texts) < 2:
        return
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    length_N = np.array([len(texts[i]) for i in order])
    letters_NL = np.zeros((len(texts), LETTERS), dtype=np.float32)
    for row, index in enumerate(order):
        codes = np.frombuffer(texts[index].encode("utf-32-le"), dtype=np.uint32) % LETTERS
        letters_NL[row] = np.bincount(codes, minlength=LETTERS)
    slack = 1 - ALIKE / 100
    for start in range(0, len(order), BLOCK):
        stop = min(start + BLOCK, len(order))
        end = int(np.searchsorted(length_N, length_N[stop - 1] * (1 + slack) / (1 - slack), side="right"))
        apart = cdist(letters_NL[start:stop], letters_NL[start:end], "cityblock")
        near = apart <= slack * (length_N[start:stop, None] + length_N[None, start:end])
        for row, column in zip(*np.nonzero(np.triu(near, 1)), strict=True):
            a, b = order[start + row], order[start + column]
            if fuzz.ratio(texts[a], texts[b], score_cutoff=ALIKE):
                yield a, b


def _one_edit(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Index pairs of texts that are one insertion, deletion, substitution or swap apart."""
    import numpy as np
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    if len(texts) < 2:
        return
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    lengths = [len(texts[i]) for i in order]
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        others = order[start : bisect_right(lengths, lengths[start + len(block) - 1] + 1)]
        wanted, among = ([texts[i] for i in part] for part in (block, others))
        apart = process.cdist(wanted, among, scorer=OSA.distance, score_cutoff=1, dtype=np.uint8)
        for row, column in zip(*np.nonzero(np.triu(apart <= 1, 1)), strict=True):
            yield block[row], others[column]
