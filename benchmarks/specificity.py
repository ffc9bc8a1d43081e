"""`python -m benchmarks.specificity simulated`: false alarms, coverage and power of specificity on simulated harmless datasets.

`… louder`: false alarms where each of the shipped harmless datasets had moved everything so many times as far as it did.

In: how many data sets a cell, a seed. Out: the tables that docs/statistics.md shows. Not here: the simulated shifts
(`benchmarks.simulation`), and how the score was chosen among others (`benchmarks.scores`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.simulation import shifts
from weirdgen.config.traits import compact_questions
from weirdgen.runs.references.scores import SHIPPED, read_scores
from weirdgen.stats.specificity import against_others, half_width, pool, size, specificity

_TRAITS = 4
_EFFECT_SD = 0.7
"""How much a dataset's property moves its questions unequally, as a share of the mean."""


def cell(references: int, replicates: int, questions: int, *, sets: int, seed: int) -> dict[str, float]:
    """One row: shares over `sets` simulated datasets of each trait, for datasets without and with a property.

    false: specific on a trait named beforehand, at .05. false_family: specific on any of 4 traits. false_t: Student's p
    below .05. coverage: 95% intervals of the first trait that hold the property's mean effect, with one of 1.5 nat (SD over
    questions 1.05). smallest: median `smallest_found`, nats. found: share of datasets found that a property moves by it.
    """
    value, _ = shifts(
        references + 1, questions, sets=sets, traits=_TRAITS, replicates=max(replicates, 1), seed=seed
    )  # fmt: skip
    rng = np.random.default_rng([seed, 1])
    names = [f"trait {at}" for at in range(_TRAITS) for _ in range(questions)]
    codes = np.repeat(np.arange(_TRAITS), questions)
    tables: list[dict[str, Any]] = []
    for one in value:
        null = one[:-1, 0].reshape(references, -1)
        own = one[-1].reshape(replicates, -1)
        without = specificity(null, own, traits=names, fixed=["trait 0"])
        effect = 1.5 * (1 + _EFFECT_SD * rng.standard_normal(own.shape[1])) * (codes == 0)
        moved = np.concatenate([null, (own + effect).mean(axis=0)[None]])
        shift, scale, extra = (float(part[0]) for part in against_others(moved, codes, references))
        half = half_width(scale, extra, questions, references - 1, 0.95)
        smallest = without["smallest_found"].iloc[0]
        # Every fourth data set: it takes another pool.
        again = len(tables) % 4 == 0 and np.isfinite(smallest)
        added = specificity(null, own + smallest, traits=names)["p"].iloc[0] <= 0.05 if again else np.nan
        tables.append(
            {
                "false": without["p"].iloc[0] <= 0.05, "false_family": bool((without["p_family"] <= 0.05).any()),
                "false_t": without["p_t"].iloc[0] <= 0.05, "coverage": abs(shift - 1.5) <= half,
                "half_width": half, "smallest": smallest,
                "found": float(added),
            }
        )  # fmt: skip
    frame = pd.DataFrame(tables).astype(np.float64)
    medians = {name: float(frame[name].median()) for name in ("half_width", "smallest")}
    means = {str(name): float(value) for name, value in frame.mean().items()}
    return {**means, **medians}


def simulated_table(seed: int, sets: int) -> pd.DataFrame:
    """`cell` for 8 to 64 references, 2 to 10 replicates, 20 to 200 questions."""
    grid = [(references, 3, 60) for references in (8, 16, 32, 64)]
    grid += [(40, replicates, 60) for replicates in (2, 6, 10)]
    grid += [(40, 3, questions) for questions in (20, 60, 200)]
    rows = []
    for at, (references, replicates, questions) in enumerate(grid):
        found = cell(references, replicates, questions, sets=sets, seed=seed + at)
        rows.append({"references": references, "replicates": replicates, "questions": questions, **found})
    return pd.DataFrame(rows)


def louder_table(times: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3), every: int = 2) -> pd.DataFrame:
    """Harmless datasets of the default model, each times so much against the others, each trait named alone, in both directions.

    alarms: share at p ≤ .05; called: of all, where the dataset is also comparable; worst: that of the worst trait.
    """
    questions, rows = compact_questions(), []
    for file in sorted(SHIPPED.glob("*.parquet")):
        scores, made = read_scores(file)
        if not made.singles:  # pairs
            continue
        wide = scores[scores["kind"] == "reference"].pivot(index="set", columns="question", values="shift")
        for by in times:
            found: list[dict[str, Any]] = []
            for trait in dict.fromkeys(question.group for question in questions):
                shift_RQ = wide[[question.id for question in questions if question.group == trait]].to_numpy()
                one = np.zeros(shift_RQ.shape[1], dtype=np.intp)
                for at in range(0, len(shift_RQ), every):
                    every_NQ = np.concatenate([np.delete(shift_RQ, at, 0), by * shift_RQ[at : at + 1]])
                    sizes, placed = size(every_NQ, one), pool(every_NQ, one)
                    comparable = bool(sizes[:-1].min() <= sizes[-1])
                    for z in (placed.score[:, 0] / placed.scale[:, 0], -placed.score[:, 0] / placed.scale[:, 0]):
                        alarm = bool((1 + (z[:-1] >= z[-1]).sum()) / len(z) <= 0.05)
                        called = alarm and comparable
                        found.append({"trait": trait, "comparable": comparable, "alarms": alarm, "called": called})
            table = pd.DataFrame(found)
            worst = table.groupby("trait")["called"].mean().max()
            shares = {name: table[name].mean() for name in ("comparable", "alarms", "called")}
            rows.append({"file": file.stem, "times": by, **shares, "worst": worst})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.specificity", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("table", choices=["simulated", "louder"])
    parser.add_argument("--sets", type=int, default=200, help="simulated datasets a cell (documented: 200)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    table = louder_table() if asked.table == "louder" else simulated_table(asked.seed, asked.sets)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
