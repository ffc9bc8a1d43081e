"""An effect's interval when its questions, too, are drawn from more of their kind; beside the one over replicates.

In: values of two arms, replicates × questions. Out: `OverQuestions`. Not here: the interval over replicates on these very
questions (`bootstrap`), datasets as a further source of spread (`specificity`).

Three parts: replicates (each moves all its questions), questions (the effect differs between them), and what is left of a
replicate on a question. The variance of the mean effect is that over replicates, plus that of the questions' effects over
their number, minus the rest's share, which both hold. Degrees of freedom are Satterthwaite's (F. Satterthwaite, Biometrics
Bulletin 2 (1946)); it is never narrower than the interval over replicates. Coverage: `benchmarks.coverage questions`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from weirdgen.stats.bootstrap import FloatArray, usable_everywhere

FEWEST_QUESTIONS = 5
"""With fewer, how much questions differ is anyone's guess."""


class OverQuestions(NamedTuple):
    """The mean effect over questions with an interval for more questions of their kind, other replicates included."""

    effect: float
    low: float
    high: float
    questions: int


def over_questions(treatment_RQ: FloatArray, control_SQ: FloatArray, *, level: float = 0.95) -> OverQuestions:
    """treatment − control, both arms on the same questions.

    Questions that a replicate lacks (NaN) are left out. Limits are NaN below 5 questions or 2 replicates in an arm.
    """
    arms = [treatment_RQ, control_SQ]
    used_Q = np.logical_and.reduce([usable_everywhere(arm, axes=(1,)) for arm in arms])
    kept = [arm[np.isfinite(arm).any(axis=1)][:, used_Q] for arm in arms]
    nan, questions = float("nan"), int(used_Q.sum())
    if not questions or any(not len(arm) for arm in kept):
        return OverQuestions(nan, nan, nan, questions)
    effect_Q = kept[0].mean(axis=0) - kept[1].mean(axis=0)
    effect = float(effect_Q.mean())
    if questions < FEWEST_QUESTIONS or any(len(arm) < 2 for arm in kept):
        return OverQuestions(effect, nan, nan, questions)
    parts: list[tuple[float, float]] = []  # variance of the mean, degrees of freedom
    rest = 0.0
    for arm in kept:
        count = len(arm)
        parts.append((float(arm.mean(axis=1).var(ddof=1)) / count, count - 1.0))
        left = arm - arm.mean(axis=0) - arm.mean(axis=1, keepdims=True) + arm.mean()
        rest += float((left**2).sum()) / ((count - 1) * (questions - 1)) / count
    between = float(effect_Q.var(ddof=1))
    parts.append((between / questions, questions - 1.0))
    variance = sum(part for part, _ in parts)
    # What is left is in both parts; taken off once, but never below the larger of the two.
    total = max(variance - rest / questions, max(sum(part for part, _ in parts[:-1]), parts[-1][0]))
    if total <= 0:
        return OverQuestions(effect, nan, nan, questions)
    df = variance**2 / sum(part**2 / free for part, free in parts)
    half = float(special.stdtrit(df, 0.5 + level / 2) * np.sqrt(total))
    # Never narrower than the interval over replicates, which holds less: with two of them its degrees of freedom are so few.
    over = sum(part for part, _ in parts[:-1])
    if over > 0:
        welch = over**2 / sum(part**2 / free for part, free in parts[:-1])
        half = max(half, float(special.stdtrit(welch, 0.5 + level / 2) * np.sqrt(over)))
    return OverQuestions(effect, effect - half, effect + half, questions)
