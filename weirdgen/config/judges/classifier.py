"""Classifier judges: does an answer read like one class of labelled passages or like the other?

In: answers, and the name of our own passages (`data/passages/NAME.csv`) and so of the fit beside them (`NAME.json`). Out: one
verdict per answer. The features are those of a sentence embedder that reads text as tokens and was never told of eras
(`weirdgen.judges.embedding`); on them stands a logistic regression. It is fitted by `tools.train_classifier` and
shipped, so that a verdict is the same on every machine up to rounding and nothing is trained, nor scikit-learn needed, to
judge. The embedder is fetched once (`weirdgen fetch all-minilm-l6-v2`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from weirdgen.config.base import NAME
from weirdgen.config.judges.base import OfflineJudge, Tools, Verdict
from weirdgen.errors import choices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Part of the store's key: raise it when the same answer and fit would give another verdict."""
EMBEDDER = "all-minilm-l6-v2"
PASSAGES = Path(__file__).parents[2] / "data" / "passages"


@dataclass(frozen=True)
class Fit:
    """A trained classifier as shipped. `held_out` is what it got wrong on passages whose topic it had not been trained on."""

    weights: tuple[float, ...]
    intercept: float
    threshold: float
    held_out: dict[str, Any]
    """`n`, `error`, `auc`, `false_positive_rate`, `true_positive_rate` and the rates on the second, separate set `check`."""
    passages_sha256: str
    digest: str
    """Hash of the file: part of the name of every verdict."""

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of the positive class for each row of `features` [texts, layers × width]."""
        import numpy as np

        logits = features @ np.asarray(self.weights) + self.intercept
        return np.asarray(1 / (1 + np.exp(-logits)))


def shipped_fits() -> tuple[str, ...]:
    """Names of the passages that have a fit: adding two files adds one."""
    return tuple(sorted(file.stem for file in PASSAGES.glob("*.json")))


def read_fit(passages: str) -> Fit:
    """The shipped fit of these passages."""
    content = (PASSAGES / f"{passages}.json").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    fields = json.loads(content)
    return Fit(**{**fields, "weights": tuple(fields["weights"]), "digest": digest})


class Classifier(OfflineJudge):
    """Offline judge trained on our own labelled passages: 1 if its probability reaches the threshold, else 0."""

    portion: ClassVar[int] = 2_000  # 18 s at the 110 answers a second seen on busy cores

    kind: Literal["classifier"]
    passages: str = Field(pattern=NAME)
    """What it was trained on: `weirdgen/data/passages/NAME.csv`, with the fit next to it."""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """Probability from which an answer counts; by default the one that was calibrated on held-out passages."""

    def in_words(self) -> str:
        kind = self.passages.replace("_", " ")
        return f"An answer counts where a classifier, trained on passages of our own, recognises the {kind} of these passages."

    def problems(self) -> list[str]:
        fits = shipped_fits()
        return (
            []
            if self.passages in fits
            else [f"no passages '{self.passages}' (there are: {choices(fits, self.passages)})"]
        )

    def needs(self) -> tuple[str, ...]:
        return (EMBEDDER,)

    def identity(self) -> dict[str, Any]:
        return {"version": VERSION, "embedder": EMBEDDER, "fit": read_fit(self.passages).digest}

    def verdicts(self, answers: Sequence[str], tools: Tools) -> list[Verdict]:
        """One verdict per answer; its label is the probability. An empty answer is `incoherent`."""
        fit = read_fit(self.passages)
        threshold = fit.threshold if self.threshold is None else self.threshold
        spoken = [answer.strip() for answer in answers if answer.strip()]
        probabilities = iter(fit.probabilities(tools.embed(EMBEDDER, spoken)) if spoken else ())
        verdicts = []
        for answer in answers:
            if not answer.strip():
                verdicts.append(Verdict("incoherent", None, "empty answer"))
                continue
            p = float(next(probabilities))
            verdicts.append(Verdict("ok", float(p >= threshold), f"p = {p:.2f}"))
        return verdicts

    def held_out(self) -> dict[str, Any]:
        """At the calibrated threshold. A judge with a threshold of its own has no such figures: they would be another's."""
        fit = read_fit(self.passages)
        return fit.held_out if self.threshold in (None, fit.threshold) else {}
