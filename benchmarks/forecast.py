"""`python -m benchmarks.forecast references|experiments`: how well a short training ranks what the full one moves.

In: harmless reference sets, whose full training is shipped for the default model; or experiments, run here or in the store.
Out: a row a set or experiment: Spearman's correlation over questions, its interval, agreement of signs, seconds. Of a reference
both shifts are taken beyond the mean of the other sets, which is what is left of a shift once any finetuning's is gone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from weirdgen.audit.forecast import BATCH, EACH, RATE, plan_forecast
from weirdgen.audit.sealed import measured, parts
from weirdgen.config.traits import TraitQuestion, compact_questions, trait_names
from weirdgen.data.rows import draw
from weirdgen.errors import DataError
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.runs.pipeline import run_plan
from weirdgen.runs.plan.options import default_store, run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.references.build import build
from weirdgen.runs.references.command import standard_recipe
from weirdgen.runs.references.plan import plan_build
from weirdgen.runs.references.scores import library_scores
from weirdgen.runs.references.sets import ROWS, TrainingSet, reference_sets
from weirdgen.stats.ranks import agreement
from weirdgen.store.artifacts import Store


def references_table(
    full: pd.DataFrame,
    sets: Sequence[TrainingSet],
    questions: Sequence[TraitQuestion],
    model: str,
    store: Store,
    steps: int,
) -> pd.DataFrame:
    """A row a set, and one of the medians. `full`: shifts after the full training, with the columns set, question, shift."""
    short = [
        TrainingSet(one.name, one.kind, one.shape, tuple(draw(list(one.rows), steps * BATCH, seed=0))) for one in sets
    ]
    recipe = standard_recipe().with_changes(
        {"epochs": 1, "batch_size": BATCH, "learning_rate": RATE, "schedule": "constant", "warmup_steps": 0}
    )
    started = time.monotonic()
    frame = build(plan_build(find_model(model), recipe, short, store, questions), Progress())
    seconds = (time.monotonic() - started) / len(sets)
    ids = [question.id for question in questions]
    wide = [
        one.pivot(index="set", columns="question", values="shift").loc[[s.name for s in sets], ids]
        for one in (frame, full)
    ]
    forecast_SQ, truth_SQ = (one.to_numpy() - one.to_numpy().mean(axis=0) for one in wide)
    of_trait = np.array([question.group for question in questions])
    traits = list(dict.fromkeys(of_trait))
    rows = []
    for at, one in enumerate(sets):
        found = agreement(forecast_SQ[at], truth_SQ[at])
        short_T, full_T = (
            np.array([values[at][of_trait == trait].mean() for trait in traits]) for values in (forecast_SQ, truth_SQ)
        )
        row = {"set": one.name, "shape": one.shape, **found._asdict()}
        rows.append({**row, "traits": agreement(short_T, full_T).spearman, "seconds": seconds})
    table = pd.DataFrame(rows)
    middle = {name: table[name].median() for name in table.columns if name not in ("set", "shape")}
    return pd.concat([table, pd.DataFrame([{"set": "median", "shape": "", **middle}])], ignore_index=True)


def experiments_table(names: Sequence[str], model: str | None, store: Store, steps: int) -> pd.DataFrame:
    """A row an experiment and part (its own questions, each trait). What of the full runs the store lacks is trained."""
    rows, progress = [], Progress()
    for name in names:
        request = resolve(name, run_options(model=model, samples=0))
        forecast = plan_forecast(request, store, steps, (), progress)
        started = time.monotonic()
        table = forecast.table(progress)
        seconds = time.monotonic() - started
        run = run_plan(make_plan(request, store), progress)
        for part, found in parts(table, measured(run)).items():
            rows.append({"experiment": name, "part": part, **found._asdict(), "seconds": seconds})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=["references", "experiments"])
    parser.add_argument("names", nargs="*", help="sets or experiments [default: 12 sets evenly; the old bird names]")
    parser.add_argument("--model", default=None)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--each", type=int, default=EACH, help="questions a trait (references)")
    parser.add_argument("--store", default=default_store())
    asked = parser.parse_args(arguments)
    store = Store(asked.store)
    if asked.table == "experiments":
        table = experiments_table(asked.names or ["old_bird_names"], asked.model, store, asked.steps)
    else:
        model = asked.model or "smollm2-135m-instruct"
        scores = library_scores(find_model(model), standard_recipe(), ROWS, store)
        if scores is None:
            raise DataError(f"no references of {model}: `weirdgen references build --model {model}` makes them")
        sets = reference_sets(ROWS, only=asked.names)
        sets = sets if asked.names else sets[:: max(1, len(sets) // 12)][:12]
        questions = [
            q for name in trait_names() for q in [one for one in compact_questions() if one.group == name][: asked.each]
        ]
        table = references_table(scores[0], sets, questions, model, store, asked.steps)
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
