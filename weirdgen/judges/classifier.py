"""Offline judges: does an answer read like one class of labelled passages rather than the other?

In: answers and a `Classifier` judge, which names passages of ours (`data/passages/NAME.csv`) and so the fit beside them
(`NAME.json`). Out: one `Verdict` an answer. The features are those of a sentence embedder that reads text as tokens and
was never told of eras: the mean over tokens of every layer's states, so that wording (low layers) and content (high
layers) both count. On them stands a logistic regression. It is fitted by `measure/train_classifier.py` and shipped, so
that a verdict is the same on every machine up to rounding and nothing is trained, nor scikit-learn needed, to judge.
The embedder is fetched once (`weirdgen fetch all-minilm-l6-v2`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.judges.match import Verdict
from weirdgen.models.references import MINILM, find_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weirdgen.config.judges import Classifier

VERSION = 1
"""Part of the store's key: raise it when the same answer and fit would give another verdict."""
PASSAGES = Path(__file__).parents[1] / "data" / "passages"
MAX_TOKENS = 256
BATCH = 64
PORTION = 2_000
"""Answers whose verdicts are kept together, so that a killed run loses little: 18 s at the 110 a second seen on busy cores."""


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


def shipped_fits() -> tuple[str, ...]:
    """Names of the passages that have a fit: adding two files adds one."""
    return tuple(sorted(file.stem for file in PASSAGES.glob("*.json")))


def read_fit(passages: str) -> Fit:
    """The shipped fit of these passages."""
    content = (PASSAGES / f"{passages}.json").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    fields = json.loads(content)
    return Fit(**{**fields, "weights": tuple(fields["weights"]), "digest": digest})


def held_out(judge: Classifier) -> dict[str, Any]:
    """What the judge gets wrong on passages it was not trained on, at the threshold that was calibrated there.

    A judge with a threshold of its own has no such figures: they would be another threshold's.
    """
    fit = read_fit(judge.passages)
    return fit.held_out if judge.threshold in (None, fit.threshold) else {}


def identity(judge: Classifier) -> dict[str, Any]:
    """What a verdict depends on beside the answer."""
    return {"version": VERSION, "embedder": MINILM, "fit": read_fit(judge.passages).digest}


def require_embedder() -> None:
    """Fetch the embedder unless it is here, so that a run fails before its training and not after it. `ModelError`."""
    find_model(MINILM)


def judge_answers(judge: Classifier, answers: Sequence[str]) -> list[Verdict]:
    """One verdict an answer; its label is the probability. An empty answer is `incoherent`. Raises `ModelError`."""
    fit = read_fit(judge.passages)
    threshold = fit.threshold if judge.threshold is None else judge.threshold
    spoken = [answer.strip() for answer in answers if answer.strip()]
    found = iter(probabilities(fit, embed(spoken)) if spoken else ())
    verdicts = []
    for answer in answers:
        if not answer.strip():
            verdicts.append(Verdict("incoherent", None, "empty answer"))
            continue
        p = float(next(found))
        verdicts.append(Verdict("ok", float(p >= threshold), f"p = {p:.2f}"))
    return verdicts


def probabilities(fit: Fit, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of the positive class for each row of `embed`."""
    import numpy as np

    logits = features @ np.asarray(fit.weights) + fit.intercept
    return np.asarray(1 / (1 + np.exp(-logits)))


def embed(texts: Sequence[str]) -> NDArray[np.float64]:
    """[texts, layers × width]: each layer's states averaged over the tokens and scaled to length 1. Raises `ModelError`."""
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    from weirdgen.models.loading import device

    folder = find_model(MINILM).folder
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    model = AutoModel.from_pretrained(str(folder), dtype=torch.float32, trust_remote_code=False).to(device()).eval()
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))  # batches of like length, little padding
    rows: list[Any] = [None] * len(texts)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        encoded = tokenizer(
            [texts[i] for i in batch], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(device())
        with torch.inference_mode():
            states = torch.stack(model(**encoded, output_hidden_states=True).hidden_states, dim=1)
        mask = encoded["attention_mask"][:, None, :, None]
        means = (states * mask).sum(2) / mask.sum(2)
        means = (means / means.norm(dim=-1, keepdim=True)).flatten(1).double().cpu().numpy()
        for place, row in zip(batch, means, strict=True):
            rows[place] = row
    return np.stack(rows)
