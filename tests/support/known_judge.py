"""Verdicts of a judge whose errors are known, and the answers that it judged."""

from __future__ import annotations

import numpy as np
import pandas as pd

from weirdgen.config.judges import Match

MATCH = Match(kind="match", keywords=["x"])
SENSITIVITY, SPECIFICITY = 0.8, 0.95


def world(
    seed: int, rates: dict[str, float], replicates: int = 6, each: int = 200
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Verdicts and completions of a judge with known errors; a completion's text is the truth and a number."""
    generator = np.random.default_rng(seed)
    rows = []
    for arm, rate in rates.items():
        for replicate in range(replicates):
            own = np.clip(rate + generator.normal(0, 0.03), 0, 1)
            truth = generator.random(each) < own
            flagged = np.where(truth, generator.random(each) < SENSITIVITY, generator.random(each) > SPECIFICITY)
            for number in range(each):
                rows.append(
                    (arm, replicate, -1, "none", "q", number, "j", "ok", float(flagged[number]), "", truth[number])
                )
    columns = [
        "arm",
        "replicate",
        "checkpoint",
        "condition",
        "question",
        "sample",
        "judge",
        "status",
        "value",
        "label",
        "truth",
    ]
    verdicts = pd.DataFrame(rows, columns=columns)
    texts = [f"{'yes' if t else 'no'} {i}" for i, t in enumerate(verdicts["truth"])]
    completions = verdicts[["arm", "replicate", "checkpoint", "condition", "question", "sample"]].assign(text=texts)
    return verdicts.drop(columns="truth"), completions
