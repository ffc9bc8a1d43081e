"""Two judges on the same stored answers: their confusion matrix, for replacing a withdrawn judge.

In: two judging models (or one and a judge that needs none), and a run. Out: for each judge what one said against what the
other said, with agreement and Cohen's κ. Verdicts are made where they are missing and kept in the store like any others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from weirdgen.config.judges import PromptedJudge, Verdict
from weirdgen.judges.calibration import kappa


class Agreement(NamedTuple):
    """`confusion`: rows are what the first said, columns what the second said, counts of distinct answers."""

    judge: str
    first: str
    second: str
    answers: int
    agreement: float
    kappa: float | None
    confusion: pd.DataFrame
    mean_difference: float | None
    """Of ratings: second minus first, over answers that both rated."""

    def as_data(self) -> dict[str, Any]:
        """Plain data for a file."""
        return {**self._asdict(), "confusion": self.confusion.to_dict("index")}


def compare(
    name: str,
    judge: PromptedJudge,
    first: str,
    second: str,
    pairs: list[tuple[Verdict, Verdict]],
    binary: bool = False,
) -> Agreement:
    """Verdicts of two judges on the same answers (one at least), side by side. Failures are outcomes like any other.

    `binary`: one of the two knows yes and no alone, so a label counts as whether it is positive.
    """
    said_first = [_said(judge, a, binary) for a, _ in pairs]
    said_second = [_said(judge, b, binary) for _, b in pairs]
    confusion = pd.crosstab(pd.Series(said_first, name=first), pd.Series(said_second, name=second))
    same = float(np.mean([a == b for a, b in zip(said_first, said_second, strict=True)]))
    both = [(a.value, b.value) for a, b in pairs if a.value is not None and b.value is not None]
    difference = float(np.mean([b - a for a, b in both])) if both and judge.scale is not None else None
    return Agreement(name, first, second, len(pairs), same, kappa(said_first, said_second), confusion, difference)


def comparison_lines(agreement: Agreement) -> list[str]:
    """What the command prints."""
    kappa = "undefined" if agreement.kappa is None else f"{agreement.kappa:.2f}"
    lines = [
        f"{agreement.judge}: {agreement.answers} distinct answers, agreement {agreement.agreement:.1%}, Cohen's κ {kappa}"
    ]
    if agreement.mean_difference is not None:
        lines.append(
            f"  {agreement.second} rates {agreement.mean_difference:+.1f} points against {agreement.first} on average"
        )
    lines.append(f"  rows: {agreement.first}; columns: {agreement.second}")
    return lines + [f"  {line}" for line in agreement.confusion.to_string().splitlines()]


def _said(judge: PromptedJudge, verdict: Verdict, binary: bool) -> str:
    """The outcome as a word: the label, yes or no, a band of the scale, or the kind of failure."""
    if verdict.status != "ok" or verdict.value is None:
        return verdict.status
    if binary:
        return "yes" if verdict.value == 1.0 else "no"
    return judge.word_of(verdict)
