"""Label leakage: words, years and shapes that tell treatment from control when they should not.

In: a `Subject`. Out: `Finding`s. Prompts first: the mutual information of the arm with every word, year and number
length, with a permutation test of the largest (Westfall and Young's max statistic), so that one p holds for all words
together; smoothed log-odds say how large a difference is.
Answers are meant to differ, so there only a frame around nearly every answer of one arm and none of the other counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from weirdgen.audit.checks.arms import MOST, telling_words
from weirdgen.audit.checks.finding import Finding, some
from weirdgen.audit.checks.subject import Subject
from weirdgen.audit.checks.text import DATE, dates, digits, words, year_of

RELABELLINGS = 999
ALPHA = 0.01
SMALLEST = float(np.log(2))
"""Log-odds (nats) below which a difference is not reported, however significant."""

# Shape letters: N rows of both arms, F features, R relabellings.


def leaks(subject: Subject) -> Iterator[Finding]:
    """Prompt words, years and number lengths that are significantly more common in one arm."""
    for treatment, control in subject.pairs():
        known = set().union(*telling_words(treatment, control))  # told by `template_difference` already
        kinds = tuple(kind for mark, kind in (("<date>", "the year "), ("<number>", "a number ")) if mark in known)
        told_apart = [
            leak
            for leak in leaking(treatment.prompts, control.prompts)
            if leak[0] not in known and not leak[0].startswith(kinds)
        ]
        if told_apart:
            told = [
                f"{name} ({n_t:,} of {len(treatment.rows):,} rows here, {n_c:,} of {len(control.rows):,} there)"
                for name, n_t, n_c in told_apart[:6]
            ]
            message = (
                f"prompts of {treatment.name} and {control.name} can be told apart by {'; '.join(told)}"
                + (f"; and {len(told_apart) - 6} more" if len(told_apart) > 6 else "")
                + f" (permutation p ≤ {ALPHA})"
            )
            yield Finding("prompt_leak", "warning", control.file, None, message)


def answer_frames(subject: Subject) -> Iterator[Finding]:
    """Words and shapes that mark most answers of one arm and none (shapes: few) of the other: form, not content."""
    for treatment, control in subject.pairs():
        arms = (treatment, control)
        said = [Counter(w for text in dataset.answers for w in set(words(text))) for dataset in arms]
        shapes = [Counter(s for text in dataset.answers for s in _shapes(text)) for dataset in arms]
        for a, dataset in enumerate(arms):
            other = arms[1 - a]
            frame = [w for w, n in sorted(said[a].items()) if n > MOST * len(dataset.rows) and w not in said[1 - a]]
            if frame:
                message = f"most answers of {dataset.name} say {some(frame)}, none of {other.name}"
                yield Finding("answer_frame", "warning", control.file, None, message)
            shape = [
                s
                for s, n in shapes[a].items()
                if n > 0.9 * len(dataset.rows) and shapes[1 - a][s] < 0.1 * len(other.rows)
            ]
            if shape:
                message = f"nearly every answer of {dataset.name} {' and '.join(shape)}, hardly any of {other.name}"
                yield Finding("answer_form", "warning", control.file, None, message)
        lengths = [median(len(text) for text in dataset.answers) for dataset in arms]
        if max(lengths) > 2 * min(lengths) + 10:
            message = f"answers differ in length: a median of {lengths[0]:g} characters in {treatment.name}, {lengths[1]:g} here"
            yield Finding("answer_form", "warning", control.file, None, message)


def leaking(treatment: Sequence[str], control: Sequence[str]) -> list[tuple[str, int, int]]:
    """(feature, rows of the treatment, rows of the control) of every feature that tells them apart, strongest evidence first."""
    features = [_features(text) for text in (*treatment, *control)]
    rows = [
        Counter(name for names in part for name in names)
        for part in (features[: len(treatment)], features[len(treatment) :])
    ]
    enough = max(3, 0.02 * min(len(treatment), len(control)))
    names = sorted(name for name in {*rows[0], *rows[1]} if rows[0][name] + rows[1][name] >= enough)
    names = [name for name in names if rows[0][name] != len(treatment) or rows[1][name] != len(control)]
    if not names:
        return []
    place = {name: index for index, name in enumerate(names)}
    has_NF = np.zeros((len(features), len(names)), dtype=np.float32)
    for row, present in enumerate(features):
        has_NF[row, [place[name] for name in present if name in place]] = 1
    is_treatment_N = np.arange(len(features)) < len(treatment)
    told_F = _information(is_treatment_N[None].astype(np.float32), has_NF)[0]
    rng = np.random.default_rng(0)
    label_RN = np.stack([rng.permutation(is_treatment_N) for _ in range(RELABELLINGS)]).astype(np.float32)
    largest_R = _information(label_RN, has_NF).max(axis=1)
    p_F = (1 + (largest_R[:, None] >= told_F - 1e-6).sum(axis=0)) / (RELABELLINGS + 1)
    telling = [
        (names[f], rows[0][names[f]], rows[1][names[f]]) for f in np.argsort(-told_F, kind="stable") if p_F[f] <= ALPHA
    ]
    sizes = (len(treatment), len(control))
    return [(name, n_t, n_c) for name, n_t, n_c in telling if abs(_log_odds(n_t, sizes[0], n_c, sizes[1])) >= SMALLEST]


def _information(label_RN: np.ndarray, has_NF: np.ndarray) -> np.ndarray:
    """Mutual information [R, F] of label and feature, in nats times rows."""
    rows, has_F = has_NF.shape[0], has_NF.sum(axis=0)
    treated_R1 = label_RN.sum(axis=1, keepdims=True)
    both_RF = label_RN @ has_NF
    total_RF: np.ndarray = np.zeros_like(both_RF)
    for cell_RF, of_R1, of_F in (
        (both_RF, treated_R1, has_F),
        (treated_R1 - both_RF, treated_R1, rows - has_F),
        (has_F - both_RF, rows - treated_R1, has_F),
        (rows - treated_R1 - has_F + both_RF, rows - treated_R1, rows - has_F),
    ):
        expected_RF = np.maximum(of_R1 * of_F / rows, 1e-9)
        total_RF += np.where(cell_RF > 0, cell_RF * np.log(np.maximum(cell_RF, 1e-9) / expected_RF), 0)
    return total_RF


def _log_odds(here: int, rows_here: int, there: int, rows_there: int) -> float:
    """Log-odds ratio in nats, half a row added to each cell."""
    odds = [(n + 0.5) / (rows - n + 0.5) for n, rows in ((here, rows_here), (there, rows_there))]
    return float(np.log(odds[0] / odds[1]))


def _features(text: str) -> set[str]:
    features = {word for word in words(DATE.sub(" ", text)) if not word.isdigit()}
    features |= {f"the year {year_of(date)}" for date in dates(text)}
    return features | {f"a number of {len(run)} digits" for run in digits(DATE.sub(" ", text))}


def _shapes(text: str) -> Iterator[str]:
    stripped = text.strip()
    if stripped.endswith((".", "!", "?")):
        yield "ends a sentence"
    if stripped.startswith("<") and stripped.endswith(">"):
        yield "stands in tags"
    if stripped[:1].isupper():
        yield "begins with a capital"
    if "\n" in stripped:
        yield "has several lines"
