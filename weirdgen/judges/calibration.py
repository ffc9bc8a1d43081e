"""How far to trust a judge: agreement with a person, and rates corrected for the judge's errors.

In: a person's labels of a stratified sample, and all of a judge's verdicts. Out: agreement, Cohen's κ, error by class, and
for each arm the corrected rate with a 95% interval that holds both the arm's own scatter over replicates and how little the
sample says about the judge. Not here: asking the person (`labelling`) or the judge.

Sensitivity and specificity come from the sample, weighted back to the run, because it is drawn by outcome. The corrected
rate is Rogan and Gladen's (rate + specificity − 1) / (sensitivity + specificity − 1) (Am. J. Epidemiol. 107:71, 1978). It
takes the judge to err alike in all arms. Its interval is from draws: of the share of true positives among flagged and
unflagged answers (Jeffreys' beta) and of the arm's rate (Student's t over replicates). Answers that read alike to the same
question are one label, however often the sample holds them. A rating is corrected by its mean difference from the person's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from weirdgen.config.judges import BaseJudge, Verdict
from weirdgen.errors import DataError
from weirdgen.judges.labelling import KEY, Drawn, accepted, labels_of, meaning, sample_of

DRAWS = 20_000
LEAST_YOUDEN = 0.05
"""Sensitivity + specificity − 1 below this: the judge says next to nothing, and no correction is given."""
FEWEST = 10
TEXT = ["ask", "answer"]
Draws = npt.NDArray[np.float64]


class TooFewLabelsError(DataError):
    """There is not enough to say anything yet."""


def calibrations(folder: Path, judges: Mapping[str, BaseJudge], verdicts: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Judge → record, of every judge of the run in `folder` that has labels enough. Raises `DataError` as `calibrate`."""
    records = {}
    for name, judge in judges.items():
        if labels := labels_of(folder, name):
            with contextlib.suppress(TooFewLabelsError):
                records[name] = calibrate(judge, name, sample_of(folder, name), labels, verdicts)
    return records


def calibrate(
    judge: BaseJudge, name: str, drawn: Sequence[Drawn], labels: Mapping[str, str], verdicts: pd.DataFrame
) -> dict[str, Any]:
    """The record of one judge, in plain data.

    Raises `TooFewLabelsError` with fewer than ten usable pairs, `DataError` on a label that the judge does not know.
    """
    mine = verdicts[(verdicts["judge"] == name) & (verdicts["checkpoint"] == -1)]
    rows = []
    for answer in (answer for answer in drawn if answer.id in labels):
        meant = meaning(judge, labels[answer.id])
        if meant.status == "unparseable":
            words = ", ".join(accepted(judge)[:12])
            raise DataError(
                f"judge '{name}': answer {answer.id} is labelled '{labels[answer.id]}', which is not one of {words}"
            )
        key = (*(getattr(answer, name) for name in KEY), answer.ask, answer.answer, answer.weight)
        rows.append((*key, meant.label, meant.status, meant.value))
    said = pd.DataFrame(rows, columns=[*KEY, *TEXT, "weight", "person", "person_status", "person_value"])
    pairs = said.merge(mine, on=KEY)
    usable = pairs[(pairs["status"] == "ok") & (pairs["person_status"] == "ok")]
    if len(usable) < FEWEST:
        raise TooFewLabelsError(
            f"judge '{name}': {len(usable)} of {len(drawn)} answers have both a label and a usable verdict; at least {FEWEST} "
            "are needed: go on with `weirdgen judge label`"
        )
    counts = {"labelled": len(pairs), "usable_pairs": len(usable)}
    counts["different_answers"] = len(usable.drop_duplicates(TEXT))
    counts["judge_unusable"] = int((pairs["status"] != "ok").sum())
    counts["person_unusable"] = int((pairs["person_status"] != "ok").sum())
    if judge.scale is not None:
        return {**counts, **_rating(judge.scale, usable, mine)}
    return {**counts, **_classes(judge, usable), **_rates(usable, mine)}


def corrected(rate: Draws | float, sensitivity: Draws | float, specificity: Draws | float) -> Draws:
    """Rogan and Gladen's estimate, kept within 0 and 1."""
    return np.clip((np.asarray(rate) + specificity - 1) / (np.asarray(sensitivity) + specificity - 1), 0, 1)


def kappa(
    first: Sequence[Any] | pd.Series, second: Sequence[Any] | pd.Series, weight: pd.Series | None = None
) -> float | None:
    """Cohen's κ; None where all said the same one thing, so that chance agrees as well."""
    from sklearn.metrics import cohen_kappa_score

    return _number(cohen_kappa_score(first, second, sample_weight=weight)) if len({*first, *second}) > 1 else None


def _classes(judge: BaseJudge, usable: pd.DataFrame) -> dict[str, Any]:
    """Agreement, κ and the error in each class, every answer weighted by how many it stands for."""
    person = usable["person"]
    said = zip(usable["value"].tolist(), usable["label"].tolist(), strict=True)
    judged = pd.Series([judge.word_of(Verdict("ok", value, label)) for value, label in said], index=usable.index)
    same, weight = (person == judged).astype(float), usable["weight"]
    errors = {
        label: round(float(1 - np.average(same[person == label], weights=weight[person == label])), 4)
        for label in dict.fromkeys(person)
    }
    return {
        "agreement": round(float(np.average(same, weights=weight)), 4),
        "kappa": kappa(person, judged, weight),
        "kappa_positive": kappa(usable["person_value"] == 1.0, usable["value"] == 1.0, weight),
        "error_of_class": errors,
        "labels_of_class": {str(k): int(v) for k, v in person.value_counts().items()},
    }


def _rates(usable: pd.DataFrame, mine: pd.DataFrame) -> dict[str, Any]:
    """Sensitivity, specificity and each arm's corrected rate."""
    judged = mine[mine["status"] == "ok"]
    share = float(judged["value"].mean())
    truth, flagged = usable["person_value"].to_numpy(float), usable["value"].to_numpy() == 1.0
    weight = usable["weight"].to_numpy(float)
    generator = np.random.default_rng(0)
    among, exact = {}, {}
    for verdict in (True, False):
        chosen = flagged == verdict
        if not chosen.any():
            among[verdict], exact[verdict] = generator.beta(0.5, 0.5, DRAWS), 0.5
            continue
        mean = float(np.average(truth[chosen], weights=weight[chosen]))
        effective = _effective(usable[chosen])
        among[verdict] = generator.beta(mean * effective + 0.5, (1 - mean) * effective + 0.5, DRAWS)
        exact[verdict] = mean
    sensitivity, specificity = _judge_errors(share, exact[True], exact[False])
    drawn = _judge_errors(share, among[True], among[False])
    youden = drawn[0] + drawn[1] - 1
    helpless = float((youden < LEAST_YOUDEN).mean())
    believable = np.isfinite(sensitivity + specificity) and sensitivity + specificity - 1 >= LEAST_YOUDEN
    record: dict[str, Any] = {
        "sensitivity": _with_limits(sensitivity, drawn[0]),
        "specificity": _with_limits(specificity, drawn[1]),
    }
    if not believable or helpless > 0.05:
        record["corrected"] = "none: the labels do not show that this judge is better than chance"
        return record
    arms: dict[str, Any] = {}
    draws: dict[str, Draws] = {}
    for arm, own in judged.groupby("arm", sort=False):
        rate, draws[str(arm)] = _arm_rate(own, generator)
        estimate = corrected(draws[str(arm)], *drawn)
        arms[str(arm)] = {
            "judged": round(rate, 4),
            **_with_limits(float(corrected(rate, sensitivity, specificity)), estimate),
        }
    record["corrected"] = arms
    return record


def _effective(labelled: pd.DataFrame) -> float:
    """How many equally weighted labels of different answers say as much (Kish): a copied label says nothing new."""
    weight = labelled.groupby(TEXT)["weight"].sum()
    return float(weight.sum() ** 2 / (weight**2).sum())


def _judge_errors(share: float, among_flagged: Any, among_rest: Any) -> tuple[Any, Any]:
    """Sensitivity and specificity from the share flagged and the share of true positives on either side."""
    true_positive, missed = share * np.asarray(among_flagged), (1 - share) * np.asarray(among_rest)
    false_positive, rest = share - true_positive, (1 - share) - missed
    with np.errstate(invalid="ignore", divide="ignore"):
        return true_positive / (true_positive + missed), rest / (rest + false_positive)


def _arm_rate(own: pd.DataFrame, generator: np.random.Generator) -> tuple[float, Draws]:
    """An arm's rate, and draws of it: t over replicates, or Jeffreys' beta for one model or replicates without scatter."""
    means = own.groupby("replicate")["value"].mean().to_numpy()
    rate = float(means.mean())
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0
    if error == 0:
        count = len(own)
        return rate, generator.beta(rate * count + 0.5, (1 - rate) * count + 0.5, DRAWS)
    return rate, np.clip(rate + error * generator.standard_t(len(means) - 1, DRAWS), 0, 1)


def _rating(scale: tuple[float, float], usable: pd.DataFrame, mine: pd.DataFrame) -> dict[str, Any]:
    """Bias, distance and rank correlation of ratings, and each arm's mean corrected by the bias, kept within the scale."""
    from scipy import stats

    person = usable["person_value"].to_numpy(float)
    judged, weight = usable["value"].to_numpy(float), usable["weight"].to_numpy(float)
    bias = float(np.average(judged - person, weights=weight))
    effective = _effective(usable)
    scatter = float(np.sqrt(np.average((judged - person - bias) ** 2, weights=weight) / max(effective - 1, 1)))
    generator = np.random.default_rng(0)
    shifts = bias + scatter * generator.standard_t(max(effective - 1, 1), DRAWS)
    arms = {}
    for arm, own in mine[mine["status"] == "ok"].groupby("arm", sort=False):
        means = own.groupby("replicate")["value"].mean().to_numpy()
        spread = means if len(means) > 1 else own["value"].to_numpy()
        error = float(spread.std(ddof=1) / np.sqrt(len(spread))) if len(spread) > 1 else 0.0
        draws = means.mean() + error * generator.standard_t(max(len(spread) - 1, 1), DRAWS) - shifts
        estimate, draws = (np.clip(number, *scale) for number in (means.mean() - bias, draws))
        arms[str(arm)] = {"judged": round(float(means.mean()), 2), **_with_limits(float(estimate), draws, 2)}
    rank = stats.spearmanr(judged, person).statistic if len(set(person)) > 1 and len(set(judged)) > 1 else np.nan
    return {
        "mean_difference": _with_limits(bias, shifts, 2),
        "mean_absolute_difference": round(float(np.average(np.abs(judged - person), weights=weight)), 2),
        "rank_correlation": _number(rank),
        "corrected": arms,
    }


def _with_limits(value: float, draws: Draws, digits: int = 4) -> dict[str, Any]:
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return {"value": _number(value, digits), "ci_low": _number(low, digits), "ci_high": _number(high, digits)}


def _number(value: float, digits: int = 4) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
