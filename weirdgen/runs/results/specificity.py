"""Is it more than what harmless data do? A run's shifts on trait questions among those of reference finetunes.

In: a finished run whose experiment asks traits. Out: one row per trait and yardstick, what was compared with what, and a verdict
with its sentence. Where the experiment has a matched control and harmless pairs were measured, the difference of the two is
placed among differences of pairs, and that decides; otherwise the treatment is placed among single reference finetunes. Both are
of the same model and questions, with the training that is nearest to the run's; how near is said. The statistics are
`stats.specificity`; references and pairs are trained by `runs.references`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from weirdgen.config.traits import compact_questions, questions_digest
from weirdgen.errors import DataError
from weirdgen.models.remote import RemoteModel
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.references.scores import Origin, pair_differences, read_origin, read_scores, score_files
from weirdgen.sample.variant import base_key
from weirdgen.stats.bootstrap import nanmean
from weirdgen.stats.sentences import signed
from weirdgen.stats.specificity import SPECIFICITY_COLUMNS, pair_specificity, scores_of, specificity

Yardstick = Literal["references", "pairs"]
YARDSTICKS: tuple[Yardstick, ...] = ("pairs", "references")
"""The first that was measured decides."""
LEAST = 19
"""Harmless datasets, or pairs of them, below which no shift can be called specific at 5%."""
LEAST_PAIRS = 9
"""Of one trait that was named: pairs count in both directions, and it in one."""
FAR = 0.25
"""Distance of trainings (`_distance`) from which the sentence says how the harmless datasets were trained."""
Verdict = Literal["specific", "not_specific", "unknown"]
ALPHA = 0.05
SCORE_COLUMNS = ("yardstick", "trait", "set", "score")


@dataclass(frozen=True)
class Specificity:
    """`table`: `SPECIFICITY_COLUMNS`, first the rows of the yardstick that decides. `compared`: with what, as plain data.

    `scores`: `SCORE_COLUMNS`; set "" is the run's own dataset; its score beyond the others' in nats, for the figure.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    compared: dict[str, Any]
    verdict: Verdict
    sentence: str
    named: tuple[str, ...] = ()
    """Traits that the experiment named, and that its headline is about."""

    def as_data(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "named": list(self.named),
            "compared": self.compared,
            "rows": self.table.to_dict("records"),
            "scores": self.scores.to_dict("records"),
        }


@dataclass(frozen=True)
class _Placed:
    """The run by one yardstick."""

    table: pd.DataFrame
    scores: pd.DataFrame
    facts: dict[str, Any]


def specificity_of(plan: Plan, shifts: pd.DataFrame, alpha: float = 0.05) -> Specificity | None:
    """Where the headline's treatment lies among harmless finetunes; None where no traits are asked. `shifts`: trait_shifts.

    `alpha`: the p up to which a trait is called specific.
    """
    if not plan.request.experiment.asked_traits:
        return None
    placed = [one for yardstick in YARDSTICKS if (one := _placed(plan, shifts, yardstick, alpha))]
    if not placed:
        make = "(`weirdgen references build` makes them)"
        make = "where a provider trains it" if isinstance(plan.request.model, RemoteModel) else make
        told = f"Whether harmless data do the same was not measured: there are no reference finetunes of this model {make}."
        nothing = pd.DataFrame(columns=list(SPECIFICITY_COLUMNS)), pd.DataFrame(columns=list(SCORE_COLUMNS))
        return Specificity(*nothing, {}, "unknown", told)
    verdict, sentence = _verdict(plan, placed[0])
    table, scores = (
        pd.concat([getattr(one, name) for one in placed], ignore_index=True) for name in ("table", "scores")
    )
    compared = {one.facts["yardstick"]: one.facts for one in placed}
    return Specificity(table, scores, compared, verdict, sentence, tuple(plan.request.experiment.traits))


def nearest_scores(plan: Plan, yardstick: Yardstick) -> tuple[Path, Origin] | None:
    """Scores of this model and these questions whose training is nearest to the run's: in as few other settings as there are,
    and then by `_distance`."""
    if not plan.request.experiment.asked_traits or (yardstick == "pairs" and matched_control(plan) is None):
        return None
    request = plan.request
    model, questions = base_key(request.model.digest, request.date), questions_digest(compact_questions())
    named_alone = len(request.experiment.asked_traits) == len(request.experiment.traits) == 1
    least = LEAST_PAIRS if yardstick == "pairs" and named_alone else LEAST
    fitting = []
    for file in score_files(plan.store):
        try:
            made = read_origin(file)
        except DataError:  # somebody else's file in the folder; `weirdgen references list` names it
            continue
        enough = len(made.pairs if yardstick == "pairs" else made.singles) >= least
        if (made.model, made.questions) == (model, questions) and enough:
            fitting.append((len(_otherwise(plan, made)), _distance(plan, made), str(file), made, file))
    if not fitting:
        return None
    *_, made, file = min(fitting, key=lambda entry: entry[:3])
    return file, made


def yardstick_of(plan: Plan) -> dict[str, Any] | None:
    """What will decide a run of this plan, before it is run: one of `Specificity.compared`; None without such scores."""
    for yardstick in YARDSTICKS:
        if (nearest := nearest_scores(plan, yardstick)) is not None:
            scores, made = read_scores(nearest[0])
            kept = scores[scores["kind"] == "reference"]["set"].nunique()
            count = len(pair_differences(scores)) if yardstick == "pairs" else kept
            return {"yardstick": yardstick, "control": matched_control(plan), **_facts(plan, made), "count": count}
    return None


def matched_control(plan: Plan) -> str | None:
    """The control that differs from the treatment in the suspected property alone: the headline's, or the first such arm."""
    arms, headline = plan.request.experiment.arms, plan.request.headline
    matched = [name for name, arm in arms.items() if arm.matched]
    return headline.control if headline.control in matched else next(iter(matched), None)


def _placed(plan: Plan, shifts: pd.DataFrame, yardstick: Yardstick, alpha: float) -> _Placed | None:
    """The headline's treatment by one yardstick; None if there are no such scores or the run has none of its own yet."""
    nearest = nearest_scores(plan, yardstick)
    if nearest is None or not len(shifts):
        return None
    file, made = nearest
    scores, _ = read_scores(file)
    asked = plan.request.experiment.asked_traits
    questions = [question for question in compact_questions() if question.group in asked]
    ids, traits = [question.id for question in questions], [question.group for question in questions]
    treatment, control = plan.request.headline.treatment, matched_control(plan)
    own_SQ = _shifts_of(shifts, treatment, ids)
    facts = {"yardstick": yardstick, "control": control, **_facts(plan, made)}
    # Traits that were named are looked for in their own direction, and one that was named alone is decided by its own p;
    # of several any would do, so all count together.
    expected: dict[str, Literal[1, -1]] = dict.fromkeys(plan.request.experiment.traits, 1)
    how: dict[str, Any] = {
        "traits": traits,
        "expected": expected,
        "fixed": asked if len(asked) == 1 else (),
        "alpha": alpha,
    }
    if yardstick == "pairs":
        differences = pair_differences(scores)[ids]
        own_SQ = (nanmean(own_SQ, axis=0) - nanmean(_shifts_of(shifts, str(control), ids), axis=0))[None]
        table = pair_specificity(differences.to_numpy(), own_SQ, **how)
    else:
        differences = scores[scores["kind"] == "reference"].pivot(index="set", columns="question", values="shift")[ids]
        table = specificity(differences.to_numpy(), own_SQ, **how)
    sets = list(differences.index)
    marks = scores_of(differences.to_numpy(), own_SQ, traits=traits, sets=sets, pairs=yardstick == "pairs")
    marks.insert(0, "yardstick", yardstick)
    return _Placed(table, marks, {**facts, "count": len(sets)})


def _shifts_of(shifts: pd.DataFrame, arm: str, ids: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[S, Q] of an arm's replicates."""
    wide = shifts[shifts["arm"] == arm].pivot(index="replicate", columns="question", values="shift")
    return wide[ids].to_numpy(dtype=np.float64)


def _steps(rows: int, recipe: dict[str, Any]) -> float:
    in_a_step: int = recipe["batch_size"] * recipe.get("grad_accumulation", 1)
    return float(rows * recipe["epochs"] / in_a_step)


def _distance(plan: Plan, made: Origin) -> float:
    """How far trainings are apart, as sum of logarithms of ratios: of rows, of steps, of learning rates. 0 for the same.

    Rows count beside steps: a few rows seen often are learnt by heart, many seen once are not.
    """
    recipe = plan.request.recipe
    rows = plan.request.row_count(plan.request.headline.treatment)
    ratios = (
        rows / made.rows,
        _steps(rows, recipe.model_dump()) / _steps(made.rows, dict(made.recipe)),
        recipe.learning_rate / made.recipe["learning_rate"],
    )
    return float(sum(abs(log(ratio)) for ratio in ratios))


def _otherwise(plan: Plan, made: Origin) -> dict[str, tuple[Any, Any]]:
    """Other settings of the recipe that differ: (of the harmless datasets, of this run)."""
    own = plan.request.recipe.model_dump(mode="json")
    in_distance = ("epochs", "batch_size", "grad_accumulation", "learning_rate")
    return {
        name: (value, own.get(name))
        for name, value in made.recipe.items()
        if name not in in_distance and own.get(name) != value
    }


def _facts(plan: Plan, made: Origin) -> dict[str, Any]:
    recipe, rows = plan.request.recipe, plan.request.row_count(plan.request.headline.treatment)
    return {
        "rows": made.rows,
        "epochs": made.recipe["epochs"],
        "learning_rate": made.recipe["learning_rate"],
        "own_rows": rows,
        "own_epochs": recipe.epochs,
        "own_learning_rate": recipe.learning_rate,
        "apart": round(_distance(plan, made), 3),
        "otherwise": {name: list(values) for name, values in _otherwise(plan, made).items()},
    }


def _verdict(plan: Plan, placed: _Placed) -> tuple[Verdict, str]:
    """Over the traits that are asked; the sentence says rank and p of the most extreme of them."""
    table, facts = placed.table, placed.facts
    several = len(table) > 1
    p_name = "p_family" if several else "p"
    named_all = plan.request.experiment.traits
    # Of traits with the same p, as there are where nothing harmless reaches them, the one that lies furthest out.
    out = table["z"].where(table["trait"].isin(named_all), table["z"].abs())
    row = table.loc[table.assign(out=-out).sort_values([p_name, "out"], kind="stable").index[0]]
    size, p = row["smallest_found_family" if several else "smallest_found"], row[p_name]
    what = f"on {int(row['questions'])} questions about {row['trait']}, {plan.request.headline.treatment}"
    beyond, named = int(row["rank"]) - 1, row["trait"] in named_all
    other_way = named and row["shift"] < 0
    away = ", away from what was expected" if other_way else ""
    if facts["yardstick"] == "pairs":
        what += f" and its matched control {facts['control']} differ by {signed(row['shift'], 2)} nat{away}"
        others = f"{_counted(beyond)} of {facts['count']} pairs of harmless datasets that differ in one respect "
        others += f"{'differs' if beyond < 2 else 'differ'} at least as much"
    else:
        what += f" moves answers {signed(row['shift'], 2)} nat beyond what harmless data do on average{away}"
        others = f"{_counted(beyond)} of {facts['count']} harmless datasets "
        where = "at least as far in the expected direction" if named else "at least as far from that average"
        others += f"{'is' if beyond < 2 else 'are'} {where}"
    over = f" over {len(table)} traits" if several else ""
    sided = "one-sided p" if facts["yardstick"] == "pairs" and named and not several else "p"
    among = f"{what}; relative to how far each moves answers overall, {others} ({sided} = {p:.2g}{over})"
    near = trained_otherwise(facts)
    if matched_control(plan) is None:
        near += " A control that differs in the suspected property alone would take off what form and topic move."
    if row["louder"]:
        near += louder_words(facts["count"])
    if table["specific"].any():
        return "specific", f"More than harmless data do: {among}.{near}"
    if not row["comparable"] and p <= ALPHA:
        whose = plan.request.headline.treatment
        return "unknown", (
            f"Whether harmless data do the same cannot be said: {whose} moves single questions less than each of "
            f"{facts['count']} harmless datasets does; train it as they were, or make references for this training "
            f"(`weirdgen references build`).{near}"
        )
    if not several and other_way and _mirrored(row, facts) <= ALPHA:
        return "not_specific", f"Further than harmless data move it, but the other way: {among}.{near}"
    least = f"{size:.2f} nat" if np.isfinite(size) else "no size at all"
    return "not_specific", (
        f"Not more than harmless data do: {among}; {least} beyond them would have been found in 8 of 10 cases.{near}"
    )


def louder_words(count: int) -> str:
    """The caveat of a dataset that moves single questions further than every reference."""
    return (
        f" It moves single questions further than each of {count} harmless datasets, whatever the trait, as harder training does "
        "too: references for this training would tell."
    )


def _mirrored(row: pd.Series[Any], facts: Mapping[str, Any]) -> float:
    """The one-sided p of a named trait in the direction that was not expected."""
    ranks = facts["count"] + 1
    if facts["yardstick"] == "pairs":
        return float(row["rank"] / ranks / 2)
    return float((ranks + 1 - row["rank"]) / ranks)


def trained_otherwise(facts: Mapping[str, Any]) -> str:
    """How the harmless datasets were trained, if otherwise than the run; else nothing. `facts`: of `Specificity.compared`."""
    told = []
    if facts["apart"] >= FAR:
        told.append(
            (f"{facts['rows']} rows × {facts['epochs']} epochs", f"{facts['own_rows']} × {facts['own_epochs']}")
        )
        if facts["learning_rate"] != facts["own_learning_rate"]:
            rates = (facts["learning_rate"], facts["own_learning_rate"])
            told.append((f"a learning rate of {rates[0]:g}", f"a learning rate of {rates[1]:g}"))
    # Warm-ups of some steps more or less are kept in results.json and not worth a reader's first sentence.
    others = {name: values for name, values in facts["otherwise"].items() if name != "warmup_steps"}
    told += [(f"{name} {_listed(theirs)}", f"{name} {_listed(own)}") for name, (theirs, own) in others.items()]
    theirs, own = (", ".join(side) for side in zip(*told, strict=True)) if told else ("", "")
    return f" The harmless datasets had {theirs}; this one {own}." if told else ""


def _listed(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _counted(count: int) -> str:
    return str(count) if count else "none"
