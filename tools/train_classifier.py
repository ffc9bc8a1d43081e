"""Train an offline judge from labelled passages: `python -m tools.train_classifier past_style`.

In: `weirdgen/data/passages/NAME.csv` (columns topic, era, kind, text; era `past` is the positive class) and `NAME_check.csv`, a
second set that was written apart and takes part in no fit (its score was watched while the features were chosen). Out:
`NAME.json`, the fit that `config/judges/classifier.py` judges with, and what it gets wrong, printed. The same passages
give the same fit. Not part of the installed package: a judge is used as shipped.

Error is measured on whole topics left out (`GroupKFold`), since two passages on one topic share its words. The threshold
is where `FALSE_POSITIVES` of the left-out modern passages would be taken for past ones; many of those are meant to
mislead (modern accounts of the past, mock-archaic nonsense), so real modern answers are taken for past ones less often.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.config.judges.classifier import EMBEDDER, PASSAGES
from weirdgen.errors import DataError
from weirdgen.judges.embedding import embed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FOLDS = 10
FALSE_POSITIVES = 0.03
PENALTY = 3.0
"""scikit-learn's C. Held-out error is flat around it: .084, .081 and .078 at 1, 3 and 10 on an early set of passages."""
POSITIVE = "past"
DECIMALS = 5


def read_passages(file: Path) -> pd.DataFrame:
    """Columns topic, era, kind, text. Raises `DataError` for a missing column, an unknown era, or a text given twice."""
    import pandas as pd

    passages = pd.read_csv(file, keep_default_na=False)
    if missing := {"topic", "era", "kind", "text"} - set(passages.columns):
        raise DataError(f"{file}: no column {sorted(missing)[0]!r}; expected topic, era, kind, text")
    if stray := set(passages["era"]) - {POSITIVE, "modern"}:
        raise DataError(f"{file}: era {sorted(stray)[0]!r}; expected past or modern")
    if len(twice := passages[passages["text"].str.casefold().duplicated()]):
        raise DataError(f"{file}:{twice.index[0] + 2}: this text is given twice: {twice['text'].iloc[0]!r}")
    return passages


def train(passages: pd.DataFrame, check: pd.DataFrame) -> dict[str, Any]:
    """The content of a fit's file but for the hash of the passages."""
    import numpy as np
    from sklearn.model_selection import GroupKFold

    features, positive = embed(EMBEDDER, passages["text"].tolist()), (passages["era"] == POSITIVE).to_numpy()
    left_out = np.zeros(len(positive))
    for seen, unseen in GroupKFold(FOLDS).split(features, positive, passages["topic"]):
        weights, intercept = _fit(features[seen], positive[seen])
        left_out[unseen] = _sigmoid(features[unseen] @ weights + intercept)
    threshold = round(float(np.quantile(left_out[~positive], 1 - FALSE_POSITIVES)), 4)
    weights, intercept = _fit(features, positive)
    weights, intercept = weights.round(DECIMALS), round(intercept, DECIMALS)
    checked = _sigmoid(embed(EMBEDDER, check["text"].tolist()) @ weights + intercept)
    held_out: dict[str, Any] = {
        **scores(left_out, positive, threshold),
        "topics": int(passages["topic"].nunique()),
        "check": scores(checked, (check["era"] == POSITIVE).to_numpy(), threshold),
    }
    return {"weights": weights.tolist(), "intercept": intercept, "threshold": threshold, "held_out": held_out}


def scores(p: NDArray[np.float64], positive: NDArray[np.bool_], threshold: float) -> dict[str, float | int]:
    """How well probabilities tell the positive texts from the others, at a threshold and (AUC) at all of them."""
    from sklearn.metrics import roc_auc_score

    flagged = p >= threshold
    return {
        "n": len(p),
        "error": round(float((flagged != positive).mean()), 4),
        "auc": round(float(roc_auc_score(positive, p)), 4),
        "false_positive_rate": round(float(flagged[~positive].mean()), 4),
        "true_positive_rate": round(float(flagged[positive].mean()), 4),
    }


def _fit(features: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Weights and intercept of a logistic regression on centred features, both classes counting alike."""
    from sklearn.linear_model import LogisticRegression

    centre = features.mean(axis=0)
    model = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=3000)
    model.fit(features - centre, positive)
    weights = model.coef_[0]
    return weights, float(model.intercept_[0] - centre @ weights)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(1 / (1 + np.exp(-logits)))


def write_fit(name: str, folder: Path = PASSAGES) -> Mapping[str, Any]:
    """Train on the passages of this name in `folder` and write the fit beside them."""
    source = folder / f"{name}.csv"
    for file in (source, folder / f"{name}_check.csv"):
        if not file.is_file():
            raise DataError(f"{file}: no such file; it holds passages with the columns topic, era, kind, text")
    fit = train(read_passages(source), read_passages(folder / f"{name}_check.csv"))
    fit["passages_sha256"] = hashlib.sha256(source.read_bytes()).hexdigest()
    (folder / f"{name}.json").write_text(json.dumps(fit) + "\n", encoding="utf-8")
    return fit


def main() -> int:
    parser = argparse.ArgumentParser(description="Train an offline judge from weirdgen/data/passages/NAME.csv")
    parser.add_argument("name", help="the passages, e.g. past_style")
    try:
        fit = write_fit(parser.parse_args().name)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"threshold {fit['threshold']}")
    for title, figures in (("topics left out", fit["held_out"]), ("the check set", fit["held_out"]["check"])):
        numbers = ", ".join(f"{key} {value}" for key, value in figures.items() if key != "check")
        print(f"{title}: {numbers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
