"""What features are about, found automatically: tokens that they raise, texts on which they fire most, and a rule.

In: a `Subject`, an `Sae`, features. Out: a frame of labels, a frame of windows. The rule, which was fixed before any feature was
looked at: a feature is about the *topic* if more of its ten tokens are words of the training answers than target answers of the
far questions, which were not trained; about the *subject* if it is the other way round; about neither if both are equal or none
is. No label is a finding.

Shape letters: K variants, N tokens, S features labelled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from weirdgen.config.questions import scored
from weirdgen.features.corpus import corpus
from weirdgen.features.difference import top_tokens
from weirdgen.features.residual import outliers
from weirdgen.features.sae import Sae
from weirdgen.features.subject import Subject
from weirdgen.sample.variant import adapters_on_disk
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

TOKENS = 10
VERSION = 1
"""Of kept windows: raise it when the same inputs would give others."""
CORPUS = 20_000
"""Tokens of text in which windows are looked for."""
WINDOWS = 3
"""Of a feature, each in another row of the text."""
BEFORE, BEHIND = 10, 4
"""Tokens shown around the one on which a feature fires."""


def words_of(text: str) -> list[str]:
    """Words of at least three letters or digits, in small letters."""
    return re.findall(r"[^\W_]{3,}", text.lower())


def words_about(subject: Subject) -> dict[str, set[str]]:
    """Words of the topic (training answers of the treatment) and of the subject (target answers of far questions)."""
    request = subject.plan.request
    topic = {
        word for row in request.rows[subject.arm] for message in row["messages"]
        if message["role"] == "assistant" for word in words_of(message["content"])
    }  # fmt: skip
    asked = {
        word for question in scored(request.experiment.questions) if not question.near
        for answer in question.target for word in words_of(answer)
    }  # fmt: skip
    return {"topic": topic, "subject": asked - topic}


def labels_of(subject: Subject, sae: Sae, features: Sequence[int]) -> pd.DataFrame:
    """Columns about (`topic`, `subject`, `neither`) and tokens (raised most by the decoder row), in the order of the features."""
    import pandas as pd

    about, directions_FD = words_about(subject), sae.directions
    subject.reader.use([None])
    rows = []
    for feature in features:
        tokens = top_tokens(subject.reader.model, subject.reader.tokenizer, directions_FD[feature], TOKENS)
        words = [word for token in tokens for word in words_of(token)[:1]]
        counts = {name: sum(word in known for word in words) for name, known in about.items()}
        best = max(counts, key=counts.__getitem__)
        rows.append((best if counts[best] and len(set(counts.values())) > 1 else "neither", " ".join(tokens)))
    return pd.DataFrame(rows, columns=["about", "tokens"])


class _Peak(NamedTuple):
    """A token on which a feature fires."""

    activation: float
    model: str
    row: int
    token: int


def windows_of(subject: Subject, sae: Sae, digest: str, features: Sequence[int]) -> pd.DataFrame:
    """Columns feature, place (from 1), model (`base` or `finetuned`), activation, text («» marks the token), from the store or
    looked for now: the tokens on which each feature fires most, in `CORPUS` tokens of texts as an autoencoder is trained on.
    """
    import pandas as pd

    plan, pair = subject.plan, [subject.base, subject.finals(subject.arm)[0]]
    rows = corpus(plan, subject.pairs, subject.reader, CORPUS)
    inputs = {
        "version": VERSION, "sae": digest, "features": list(features), "layer": subject.layer, "dtype": plan.request.dtype,
        "models": [one.key for one in pair], "tokens": content_key(rows),
    }  # fmt: skip
    key = content_key(inputs)
    if plan.store.marker("windows", key) is None:
        peaks: dict[int, list[_Peak]] = {feature: [] for feature in features}
        with subject.progress.stage("windows", len(pair) * len(rows), "rows") as bar:
            for group in subject.reader.groups(adapters_on_disk(plan.store, pair)):
                for part, hidden_KBTD in subject.reader.pass_by_pass(rows, subject.layer):
                    for index, hidden_BTD in zip(group, hidden_KBTD, strict=True):
                        lengths = [len(rows[row]) for row in part]
                        _collect(peaks, sae, features, ("base", "finetuned")[index], part, lengths, hidden_BTD)
                        bar.advance(len(part))
        lines = [
            (feature, place + 1, peak.model, peak.activation, _text(subject, rows[peak.row], peak.token))
            for feature, found in peaks.items()
            for place, peak in enumerate(found)
        ]
        frame = pd.DataFrame(lines, columns=["feature", "place", "model", "activation", "text"])
        with plan.store.create("windows", key, inputs) as folder:
            frame.to_parquet(folder / "windows.parquet", index=False)
    return pd.read_parquet(plan.store.artifact("windows", key) / "windows.parquet")


def _collect(
    peaks: dict[int, list[_Peak]],
    sae: Sae,
    features: Sequence[int],
    model: str,
    rows: Sequence[int],
    lengths: Sequence[int],
    hidden_BTD: torch.Tensor,
) -> None:
    """Keep the best `WINDOWS` peaks of each feature, one a row of text, with those of these rows [B, T, D]."""
    for row, length, hidden_TD in zip(rows, lengths, hidden_BTD, strict=True):
        mine_TD = hidden_TD[:length].float().cpu()
        activation_TS = sae.encode(mine_TD, only=features)
        activation_TS[outliers(mine_TD[None])[0]] = 0.0
        activation_TS[0] = 0.0
        best = activation_TS.max(0)
        for feature, value, token in zip(features, best.values.tolist(), best.indices.tolist(), strict=True):
            if value > 0:
                of_row: dict[int, _Peak] = {}
                for peak in sorted([*peaks[feature], _Peak(value, model, row, token)], reverse=True):
                    of_row.setdefault(peak.row, peak)
                peaks[feature] = list(of_row.values())[:WINDOWS]


def _text(subject: Subject, row: Sequence[int], token: int) -> str:
    decode = subject.reader.tokenizer.decode
    before, behind = row[max(0, token - BEFORE) : token], row[token + 1 : token + 1 + BEHIND]
    text = f"{decode(before)}«{decode([row[token]])}»{decode(behind)}"
    return " ".join(text.split())
