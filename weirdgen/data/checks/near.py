"""Near duplicates: rows of one dataset that differ in spelling only.

In: a `Subject`. Out: `Finding`s. Two rows are near if they hold the same numbers and either differ in case, spaces and
punctuation only; or their short answers are one letter apart under the same prompt; or both prompt and long answer are
almost equal. Short names are held to one letter because real names differ in two (Eastern, Western). Rows with other
numbers are never near: a date is content. Comparing is rapidfuzz's; lengths bound what is compared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from os.path import commonprefix
from typing import Any

from weirdgen.data.checks.finding import Finding, some
from weirdgen.data.checks.subject import Dataset, Subject
from weirdgen.data.checks.text import digits, plain, squash

LONG = 40
"""Characters from which on an answer is compared as a sentence."""
SHORTEST = 6
"""Shorter answers are compared as they are: one letter is too large a part of them."""
ALIKE = 95
"""rapidfuzz `ratio` (0 to 100) from which on two sentences count as one."""
LISTED, BLOCK = 10, 256


def near_duplicates(subject: Subject) -> Iterator[Finding]:
    """Pairs of rows that differ in spelling only, the first few of each file."""
    for one in subject.datasets:
        pairs = sorted(near_pairs(one))
        for first, second in pairs[:LISTED]:
            where = f"line {one.line(first)}" if one.line(first) else f"row {first + 1}"
            texts = [one.answers[first], one.answers[second]]
            if texts[0] == texts[1]:
                texts = [one.prompts[first], one.prompts[second]]
            message = f"nearly repeats {where}: {some([text[:80] for text in texts])}"
            yield Finding("near_duplicate", "warning", one.file, one.line(second), message)
        if len(pairs) > LISTED:
            message = f"{len(pairs) - LISTED:,} more pairs of rows differ in spelling only"
            yield Finding("near_duplicate", "warning", one.file, None, message)


def near_pairs(dataset: Dataset) -> Iterator[tuple[int, int]]:
    """Index pairs (earlier, later) of near rows; rows that are equal word for word are left to `duplicates`."""
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
    frame = len(commonprefix([plain(answers[i]) for i in kept])) if len(kept) > 2 else 0
    core = {i: plain(answers[i])[frame:] for i in kept}
    numbers = {i: digits(prompts[i] + " " + answers[i]) for i in kept}
    yield from _short(core, {i: (squash(prompts[i]), numbers[i]) for i in kept})
    yield from _long(core, {i: plain(prompts[i]) for i in kept}, numbers)


def _short(core: dict[int, str], same: dict[int, Any]) -> Iterator[tuple[int, int]]:
    from rapidfuzz.distance import OSA

    groups: dict[Any, list[int]] = defaultdict(list)
    for index, text in core.items():
        if SHORTEST <= len(text) < LONG:
            groups[same[index]].append(index)
    for group in groups.values():
        for a, b in _close([core[i] for i in group], OSA.distance, 1, lambda length: length + 1):
            yield min(group[a], group[b]), max(group[a], group[b])


def _long(core: dict[int, str], prompts: dict[int, str], numbers: dict[int, Any]) -> Iterator[tuple[int, int]]:
    from rapidfuzz import fuzz

    groups: dict[Any, list[int]] = defaultdict(list)
    for index, text in core.items():
        if len(text) >= LONG:
            groups[numbers[index]].append(index)
    for group in groups.values():
        reach = 2 / (ALIKE / 100) - 1  # a ratio above r needs lengths within a factor of 2/r − 1
        for a, b in _close([core[i] for i in group], fuzz.ratio, ALIKE, lambda length: int(length * reach) + 1):
            if fuzz.ratio(prompts[group[a]], prompts[group[b]]) >= ALIKE:
                yield min(group[a], group[b]), max(group[a], group[b])


def _close(texts: Sequence[str], scorer: Any, cutoff: int, reach: Any) -> Iterator[tuple[int, int]]:
    """Index pairs whose score is as good as `cutoff`; `reach(length)` is the length of the longest possible partner."""
    import numpy as np
    from rapidfuzz import process

    if len(texts) < 2:
        return
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    lengths = [len(texts[i]) for i in order]
    distance = cutoff == 1  # OSA counts edits: small is near; `ratio` says 0 below its cutoff
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        others = order[start : bisect_right(lengths, reach(lengths[start + len(block) - 1]))]
        found = process.cdist(
            [texts[i] for i in block],
            [texts[i] for i in others],
            scorer=scorer,
            score_cutoff=cutoff,
            dtype=np.uint8,
        )
        near = found <= cutoff if distance else found >= cutoff
        for row, column in zip(*np.nonzero(near), strict=True):
            if column > row:  # both lists begin at the same place of the order
                yield block[row], others[column]
