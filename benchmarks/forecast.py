"""`python -m benchmarks.forecast references|runs|experiments`: how well a short training ranks what the full one moves.

In: harmless reference sets, whose full training is shipped for the default model; finished runs of a store (`--of`), of which
nothing is trained again; or experiments, run here. Out: a row a set, or a part of an experiment: Spearman's correlation over
questions, its interval, agreement of signs, mean shifts, seconds. Of a reference both shifts are taken beyond the mean of the
other sets, which is what is left of a shift once any finetuning's is gone. A forecast of a finished run is made afterwards, hence
not sealed; it is the same computation, into which nothing of what the run found goes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from weirdgen.audit.forecast import BATCH, EACH, RATE, plan_forecast
from weirdgen.audit.sealed import joined, measured
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
from weirdgen.runs.results.listing import listed_runs
from weirdgen.runs.results.results import Run, load_run
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
    runs = [
        run_plan(make_plan(resolve(name, run_options(model=model, samples=0)), store), Progress()) for name in names
    ]
    return runs_table(runs, store, steps)


def runs_table(runs: Sequence[Run], store: Store, steps: int) -> pd.DataFrame:
    """A row a finished run and part. Forecasts are kept in `store`; of a run nothing is trained, and nothing is written to it."""
    rows, progress = [], Progress()
    for run in runs:
        forecast = plan_forecast(run.request, store, steps, (), progress)
        started = time.monotonic()
        table = forecast.table(progress)
        seconds = time.monotonic() - started
        for part, both in joined(table, measured(run)).groupby("part", sort=False):
            found = agreement(both["shift"].to_numpy(), both["measured"].to_numpy())
            means = {"forecast": both["shift"].mean(), "measured": both["measured"].mean()}
            rows.append(
                {
                    "experiment": run.request.experiment.name,
                    "part": part,
                    **found._asdict(),
                    **means,
                    "seconds": seconds,
                }
            )
    return pd.DataFrame(rows)


def newest_runs(store: Store, names: Sequence[str], model: str) -> list[Run]:
    """The newest run of each experiment on this model, or of those named. Raises `DataError` if there is none of one."""
    newest = {run.experiment: run.id for run in reversed(listed_runs(store)) if run.model == model}
    if missing := [name for name in names if name not in newest]:
        raise DataError(f"{store.root}: no run of {missing[0]} on {model}; there are {', '.join(sorted(newest))}")
    return [load_run(newest[name], store.root) for name in names or sorted(newest)]


def markdown(table: pd.DataFrame) -> str:
    """The table as docs have it: an interval stands beside its correlation."""
    shown = table.assign(
        spearman=[f"{row.spearman:+.2f} [{row.low:+.2f}, {row.high:+.2f}]" for row in table.itertuples()]
    ).drop(columns=["low", "high"])
    lines = [list(shown.columns), ["---"] * len(shown.columns)]
    for row in shown.itertuples(index=False):
        lines.append([f"{value:.2f}" if isinstance(value, float) else str(value) for value in row])
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=["references", "runs", "experiments"])
    parser.add_argument(
        "names",
        nargs="*",
        help="sets or experiments [default: sets evenly; every experiment of --of; the old bird names]",
    )
    parser.add_argument("--sets", type=int, default=12, help="reference sets (64 are all)")
    parser.add_argument("--of", default=default_store(), help="the store of finished runs; it is only read (runs)")
    parser.add_argument("--markdown", action="store_true", help="print it as docs/blame.md has it")
    parser.add_argument("--model", default=None)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--each", type=int, default=EACH, help="questions a trait (references)")
    parser.add_argument("--store", default=default_store())
    asked = parser.parse_intermixed_args(arguments)
    store = Store(asked.store)
    model = asked.model or "smollm2-135m-instruct"
    if asked.table == "experiments":
        table = experiments_table(asked.names or ["old_bird_names"], asked.model, store, asked.steps)
    elif asked.table == "runs":
        table = runs_table(newest_runs(Store(asked.of), asked.names, model), store, asked.steps)
    else:
        scores = library_scores(find_model(model), standard_recipe(), ROWS, store)
        if scores is None:
            raise DataError(f"no references of {model}: `weirdgen references build --model {model}` makes them")
        sets = reference_sets(ROWS, only=asked.names)
        sets = sets if asked.names else sets[:: max(1, len(sets) // asked.sets)][: asked.sets]
        questions = [
            q for name in trait_names() for q in [one for one in compact_questions() if one.group == name][: asked.each]
        ]
        table = references_table(scores[0], sets, questions, model, store, asked.steps)
    print(markdown(table) if asked.markdown else table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
